//! The guests' root file systems before anything has happened in them, built once by debootstrap.
//!
//! Answers: where is the tree that this guest's overlay lies on? Invariant: a tree is complete or not there,
//! and its directory's name says what it was made from, so that another recipe is another tree. Nobody
//! writes into a finished tree.

use std::{
    fs::{self, File, Permissions},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

use crate::process;

/// What an unprivileged container's root is on the host: Proxmox's own mapping.
pub(super) const SHIFT: u32 = 100_000;

/// The kinds of trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// systemd, nginx and openssl; owned by the users of an unprivileged container.
    Plain,
    /// As that, with dockerd and the guest agent, for privileged ones.
    Docker,
    /// As [`Self::Docker`], with a kernel and what a machine of its own needs to boot it.
    Machine,
    /// nginx and openssl under OpenRC and the init of System V; owned as [`Self::Plain`].
    WithoutSystemd,
    /// systemd, HAProxy, Caddy and PostgreSQL; owned as [`Self::Plain`].
    Services,
    /// What Proxmox VE 8 is based on, with nginx; for a privileged one.
    Bookworm,
    /// What Proxmox VE 9 is based on, likewise.
    Trixie,
    /// As [`Self::Bookworm`], with sshd, what Ansible needs where it works, and cloud-init, which does nothing without a seed.
    Managed,
}

impl Tree {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Plain,
        Self::Docker,
        Self::Machine,
        Self::WithoutSystemd,
        Self::Services,
        Self::Bookworm,
        Self::Trixie,
        Self::Managed,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Docker => "docker",
            Self::Machine => "machine",
            Self::WithoutSystemd => "without-systemd",
            Self::Services => "services",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Managed => "managed",
        }
    }

    /// By how much its owners are shifted.
    #[must_use]
    pub fn shift(self) -> u32 {
        match self {
            Self::Plain | Self::WithoutSystemd | Self::Services => SHIFT,
            Self::Docker | Self::Machine | Self::Bookworm | Self::Trixie | Self::Managed => 0,
        }
    }

    fn packages(self) -> String {
        let more = match self {
            Self::Plain => "systemd,systemd-sysv,dbus,nftables,nginx-light",
            Self::Docker => "systemd,systemd-sysv,dbus,nftables,docker.io,qemu-guest-agent,curl",
            Self::Machine => {
                "systemd,systemd-sysv,dbus,udev,docker.io,qemu-guest-agent,linux-image-cloud-amd64,initramfs-tools"
            }
            Self::WithoutSystemd => "nginx-light",
            Self::Services => "systemd,systemd-sysv,dbus",
            Self::Bookworm | Self::Trixie => "systemd,systemd-sysv,dbus,nginx-light",
            Self::Managed => "systemd,systemd-sysv,dbus,nginx-light,openssh-server,python3,python3-apt",
        };
        format!("iproute2,procps,openssl,ca-certificates,{more}")
    }

    /// What only apt gets right: debootstrap takes the first of two alternatives, which is sysv-rc and not OpenRC, and
    /// knows nothing of the virtual packages of PostgreSQL and Python.
    fn added(self) -> &'static [&'static str] {
        match self {
            Self::Plain | Self::Docker | Self::Machine | Self::Bookworm | Self::Trixie => &[],
            Self::Managed => &["cloud-init"],
            Self::WithoutSystemd => &["sysvinit-core", "openrc"],
            Self::Services => &["haproxy", "caddy", "postgresql"],
        }
    }

    /// The finished tree; builds it when it is not there, which takes a minute or two.
    ///
    /// # Errors
    /// debootstrap fails, with the end of its log.
    pub fn ensure(self) -> Result<PathBuf> {
        let cache = directory().join("cache");
        fs::create_dir_all(&cache).with_context(|| format!("make {}", cache.display()))?;
        let tree = cache.join(format!("{}-{:016x}", self.name(), self.recipe()));
        // Someone else may be building it: then this waits.
        let lock = File::create(cache.join(format!("{}.lock", self.name()))).context("make the tree's lock")?;
        flock(&lock, FlockOperation::LockExclusive).context("lock the tree")?;
        if !tree.is_dir() {
            self.build(&cache, &tree).with_context(|| format!("build the guests' tree {}", tree.display()))?;
            self.remove_older(&cache, &tree)?;
        }
        Ok(tree)
    }

    /// The packages that this tree was built from, for tests that serve some of them to other guests.
    ///
    /// # Errors
    /// The tree cannot be built.
    pub fn debs(self) -> Result<PathBuf> {
        self.ensure()?;
        Ok(directory().join(format!("cache/packages.{}", self.name())))
    }

    fn masked(self) -> Vec<&'static str> {
        match self {
            Self::Plain | Self::Docker | Self::Services | Self::Bookworm | Self::Trixie | Self::Managed => {
                [MASKED, DEVICES].concat()
            }
            // It has devices of its own.
            Self::Machine => MASKED.to_owned(),
            Self::WithoutSystemd => Vec::new(),
        }
    }

    /// Debian's name of what it is made from.
    fn suite(self) -> &'static str {
        match self {
            Self::Trixie => "trixie",
            // What Proxmox VE 8 and its guests in the field are.
            _ => "bookworm",
        }
    }

    fn recipe(self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let packages = [&[&*self.packages()], self.added()].concat().join(" ");
        (self.suite(), packages, self.masked(), self.shift(), STEPS).hash(&mut hasher);
        hasher.finish()
    }

    fn build(self, cache: &Path, tree: &Path) -> Result<()> {
        let (fresh, packages) =
            (cache.join(format!("unfinished.{}", self.name())), cache.join(format!("packages.{}", self.name())));
        remove(&fresh)?;
        fs::create_dir_all(&packages).with_context(|| format!("make {}", packages.display()))?;
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.arg("--variant=minbase").arg(format!("--include={}", self.packages()));
        debootstrap.arg(format!("--cache-dir={}", packages.display())).arg(self.suite()).arg(&fresh);
        // Where this machine gets its own packages from; debootstrap knows a place itself when there is none.
        debootstrap.args(mirror());
        process::run(&mut debootstrap, b"", MAX)?.succeeded()?;
        remove(&fresh.join("debootstrap"))?;
        if !self.added().is_empty() {
            // Debian's own switch (invoke-rc.d(8)): nothing is started in a tree that is being built.
            let policy = fresh.join("usr/sbin/policy-rc.d");
            fs::write(&policy, "#!/bin/sh\nexit 101\n")
                .and_then(|()| fs::set_permissions(&policy, Permissions::from_mode(0o755)))
                .with_context(|| format!("write {}", policy.display()))?;
            let mut apt = Command::new("chroot");
            apt.arg(&fresh).args(["apt-get", "-q", "-y", "install", "--no-install-recommends"]).args(self.added());
            apt.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
            process::run(&mut apt, b"", MAX)?.succeeded()?;
            fs::remove_file(&policy).with_context(|| format!("remove {}", policy.display()))?;
        }
        for archive in fs::read_dir(fresh.join("var/cache/apt/archives")).into_iter().flatten().flatten() {
            if archive.path().extension().is_some_and(|extension| extension == "deb") {
                fs::remove_file(archive.path()).context("remove a package's archive")?;
            }
        }
        let units = fresh.join("etc/systemd/system");
        for unit in self.masked() {
            symlink("/dev/null", units.join(unit)).with_context(|| format!("mask {unit}"))?;
        }
        // Empty: every guest gets its own at its first boot (machine-id(5)).
        fs::write(fresh.join("etc/machine-id"), "").context("empty the machine id")?;
        if self.shift() > 0 {
            shift(&fresh, self.shift())?;
        }
        fs::rename(&fresh, tree).with_context(|| format!("move {} to its name", fresh.display()))
    }

    /// Trees of this kind from other recipes: nobody will want them again.
    fn remove_older(self, cache: &Path, tree: &Path) -> Result<()> {
        for entry in fs::read_dir(cache).context("list the cache")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&format!("{}-", self.name())) && entry.path() != tree {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Everything of the lab's is below this: `target/lab`.
#[must_use]
pub(super) fn directory() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"));
    project.join("target/lab")
}

/// Changed when the steps of [`Tree::build`] change.
const STEPS: u32 = 1;

/// A minute where nothing else runs; several trees are built at once.
const MAX: Duration = Duration::from_secs(3600);

/// What costs time at boot and is nothing to a guest without disks of its own.
const MASKED: &[&str] = &[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "sys-kernel-debug.mount",
    "systemd-logind.service",
];

/// A container has the host's.
const DEVICES: &[&str] = &["systemd-udevd.service", "systemd-udev-trigger.service"];

/// The first place that apt gets the suite's main packages from.
fn mirror() -> Option<String> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"]);
    let told = process::run(&mut apt, b"", Duration::from_secs(30)).ok()?.succeeded().ok()?;
    // One place has all suites.
    let fits = |line: &&str| line.ends_with(" bookworm main");
    told.stdout.lines().find(fits)?.split(' ').next().map(str::to_owned)
}

/// Moves the owners of everything by this much.
fn shift(path: &Path, by: u32) -> Result<()> {
    let found = fs::symlink_metadata(path).with_context(|| format!("look at {}", path.display()))?;
    lchown(path, Some(found.uid() + by), Some(found.gid() + by))
        .with_context(|| format!("change the owner of {}", path.display()))?;
    // Changing the owner takes these bits away (chown(2)).
    if found.is_file() && found.mode() & 0o6000 != 0 {
        fs::set_permissions(path, Permissions::from_mode(found.mode()))
            .with_context(|| format!("give {} its mode again", path.display()))?;
    }
    if found.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("list {}", path.display()))? {
            shift(&entry.with_context(|| format!("list {}", path.display()))?.path(), by)?;
        }
    }
    Ok(())
}

/// Removes a directory with everything in it, if it is there.
pub(super) fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            bail!("remove {}: {error}", directory.display())
        }
        _ => Ok(()),
    }
}
