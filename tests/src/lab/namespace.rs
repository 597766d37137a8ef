//! The lab's own host: network, mounts and name are its own, the kernel and the programs are the machine's.
//!
//! Answers: where do the guests, the tools and the controller run, and how is that gone afterwards?
//! Invariant: `/etc`, `/usr` and `/var` are overlays whose changes are in the lab's directory, `/run` is
//! memory, `/etc/pve` is a mount point; 10.0.0.0/24 exists in here and nowhere else.
//!
//! Two processes hold it. The *guard* is outside; it waits for its standard input to end, which it does
//! when the lab's value is dropped or its process dies in any way, and clears up. The *init* is inside and
//! does nothing; it ends with the guard.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use super::{place::Place, remains};
use crate::{
    process::{self, Finished, copy_program},
    program,
    wait::{self, PATIENCE},
};

/// The node that the lab is.
pub const NODE: &str = "pve1";

/// A namespace that is there as long as this value.
#[derive(Debug)]
pub struct Namespace {
    live: PathBuf,
    guard: Child,
    init: u32,
}

impl Namespace {
    /// Makes the namespaces at a place, with everything mounted.
    ///
    /// # Errors
    /// Not root, or a step fails, with what it said.
    pub fn open(place: Place) -> Result<Self> {
        if !geteuid().is_root() {
            bail!("the lab needs root: it makes namespaces, mounts and containers");
        }
        let Place { live, lock } = place;
        fs::create_dir_all(&live).with_context(|| format!("make {}", live.display()))?;
        let log = File::create(live.with_extension("log")).context("make the guard's log")?;
        let guard = Command::new(program::own("lab")?)
            .arg("guard")
            .arg(&live)
            .stdin(Stdio::piped())
            // The lock is free when this copy is closed too: when the guard has done its work.
            .stdout(lock)
            .stderr(log)
            // Nobody's Ctrl-C takes it before it has cleared up.
            .process_group(0)
            .spawn()
            .context("start the lab's guard")?;
        let mut namespace = Self { live, guard, init: 0 };
        namespace.init = wait::until("the lab's namespaces", PATIENCE, || init(&namespace.live))?;
        namespace.mount().context("mount the lab's file systems")?;
        Ok(namespace)
    }

    /// A command inside; it becomes the process itself, so signals reach it.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        command(self.init, name)
    }

    /// Runs a command inside to its end, and expects success.
    ///
    /// # Errors
    /// It fails, with what it said.
    pub fn run(&self, words: &[&str]) -> Result<Finished> {
        self.try_run(words)?.succeeded()
    }

    /// Runs a command inside to its end.
    ///
    /// # Errors
    /// It cannot be started or does not end.
    pub fn try_run(&self, words: &[&str]) -> Result<Finished> {
        let (name, arguments) = words.split_first().context("a command has a name")?;
        process::run(self.command(name).args(arguments), b"", MAX)
    }

    /// The process that is inside for nothing but being there.
    #[must_use]
    pub fn init(&self) -> u32 {
        self.init
    }

    /// A path inside, as it is reached from outside.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        path(self.init, inside)
    }

    /// The lab's directory, outside.
    #[must_use]
    pub fn live(&self) -> &Path {
        &self.live
    }

    /// A guest's directory, outside.
    pub(super) fn home_of(&self, vmid: u32) -> PathBuf {
        self.live.join("lxc").join(vmid.to_string())
    }

    fn mount(&self) -> Result<()> {
        let live = self.live.to_str().context("the lab's path is text")?;
        for directory in ["etc", "usr", "var"] {
            let (upper, work) = (format!("{live}/host/{directory}"), format!("{live}/host/{directory}.work"));
            for made in [&upper, &work] {
                fs::create_dir_all(made).with_context(|| format!("make {made}"))?;
            }
            let options = format!("lowerdir=/{directory},upperdir={upper},workdir={work}");
            self.run(&["mount", "-t", "overlay", "overlay", "-o", &options, &format!("/{directory}")])?;
        }
        // LXC looks for bridges in /sys/class/net, which shows the network of whoever mounted it; the
        // control groups below it must stay what they are.
        let cgroup = format!("{live}/cgroup");
        fs::create_dir_all(&cgroup).context("make a place for the control groups")?;
        self.run(&["mount", "--rbind", "/sys/fs/cgroup", &cgroup])?;
        self.run(&["mount", "-t", "sysfs", "sysfs", "/sys"])?;
        self.run(&["mount", "--rbind", &cgroup, "/sys/fs/cgroup"])?;
        self.run(&["umount", "-l", &cgroup])?;
        self.run(&["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run"])?;
        self.run(&["mkdir", "-p", "/run/lock", "/run/lxc", "/run/qemu-server", "/run/pinion-lab/mischief"])?;
        self.run(&["mkdir", "-p", "/run/pinion-lab/elsewhere", "/etc/pve", "/var/lib/lxc", "/var/log/lxc"])?;
        let guests = format!("{live}/lxc");
        fs::create_dir_all(&guests).with_context(|| format!("make {guests}"))?;
        self.run(&["mount", "--bind", &guests, "/var/lib/lxc"])?;
        self.run(&["hostname", NODE])?;
        fs::write(self.path("/etc/hosts"), format!("127.0.0.1 localhost\n10.0.0.13 {}\n", NODE))
            .context("write the lab's /etc/hosts")?;
        for tool in ["pct", "qm", "pvesh"] {
            let place = self.path("/usr/sbin").join(tool);
            copy_program(&program::own(tool)?, &place).with_context(|| format!("put {tool} into the lab"))?;
        }
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        if !self.guard.wait().is_ok_and(|status| status.success()) {
            let log = fs::read_to_string(self.live.with_extension("log")).unwrap_or_default();
            tracing::error!(live = %self.live.display(), log, "The lab was not cleared up");
        } else if fs::remove_file(self.live.with_extension("log")).is_err() {
            // It was empty anyway.
        }
    }
}

/// A command in the namespace of this process.
#[must_use]
pub fn command(init: u32, name: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--target", &init.to_string(), "--mount", "--net", "--uts", "--", name]);
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// A path in the namespace of this process, as it is reached from outside.
#[must_use]
pub fn path(init: u32, inside: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{init}/root")).join(inside.trim_start_matches('/'))
}

/// The init of the lab in this directory, while it runs.
///
/// # Errors
/// There is none: what was found instead.
pub fn init(live: &Path) -> Result<u32, String> {
    let told = fs::read_to_string(live.join("init")).map_err(|error| error.to_string())?;
    let pid: u32 = told.trim().parse().map_err(|_| format!("{told:?} is no process id"))?;
    // It is inside as soon as it is `cat`: `unshare` becomes it when it has done its work.
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) if name.trim() == "cat" => Ok(pid),
        Ok(name) => Err(format!("process {pid} is {}", name.trim())),
        Err(error) => Err(error.to_string()),
    }
}

/// The guard's whole work.
///
/// # Errors
/// The namespaces cannot be made, or not everything of the lab goes.
pub fn guard(live: &Path) -> Result<()> {
    let mut init = Command::new("unshare")
        .args(["--net", "--mount", "--uts", "--propagation", "private", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("make the lab's namespaces with unshare")?;
    let told = live.join("init");
    fs::write(live.join("init.new"), init.id().to_string())
        .and_then(|()| fs::rename(live.join("init.new"), &told))
        .with_context(|| format!("write {}", told.display()))?;
    let waited = remains::wait_for_end(io::stdin().lock());
    drop(init.stdin.take());
    init.kill().and_then(|()| init.wait()).context("end the lab's init")?;
    waited.and_then(|()| remains::clear(live))
}

/// For what hangs. The slowest is a clean stop of a guest with dockerd, or an `ensure` while an emulated VM boots.
const MAX: Duration = Duration::from_secs(400);
