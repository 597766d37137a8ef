//! One guest of the lab: its overlay, its container, and commands in it.
//!
//! Invariant: what it changes is in its own upper directory, so a snapshot of it is a copy of that, and its
//! tree stays as it was built.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    base,
    namespace::Namespace,
    pve::Kind,
    qemu, remains,
    spec::{Body, Init, Spec},
};
use crate::{
    process::{self, Finished, copy_program},
    wait,
};

/// A guest's container; it says nothing about whether it runs.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) spec: Spec,
}

impl Container {
    /// A guest from its tree, or from what another one's upper directory holds; it does not run yet.
    pub(super) fn create(namespace: &Namespace, spec: Spec, from: Option<&Path>) -> Result<Self> {
        let container = Self { spec };
        let home = container.home(namespace);
        for directory in ["work", "rootfs", "snapshots"] {
            fs::create_dir_all(home.join(directory)).with_context(|| format!("make {}", home.display()))?;
        }
        match from {
            Some(upper) => copy(upper, &home.join("upper"))?,
            None => {
                let upper = home.join("upper");
                fs::create_dir(&upper).with_context(|| format!("make {}", upper.display()))?;
                // The upper directory's owner is what the guest's `/` has.
                let owner = Some(container.spec.tree().shift());
                chown(&upper, owner, owner).with_context(|| format!("change the owner of {}", upper.display()))?;
            }
        }
        container.write_config(namespace)?;
        container.mount(namespace)?;
        // Proxmox writes a container's name into it; a cloned VM keeps the one it had.
        if from.is_none() || container.spec.kind == Kind::Container {
            let name = format!("{}\n", container.spec.name);
            container.write(namespace, "/etc/hostname", 0o644, 0, name.as_bytes())?;
        }
        Ok(container)
    }

    /// Its directory, outside.
    pub(super) fn home(&self, namespace: &Namespace) -> PathBuf {
        namespace.home_of(self.spec.vmid)
    }

    /// Its root directory as it is reached from outside, running or not.
    pub(super) fn root(&self, namespace: &Namespace) -> PathBuf {
        namespace.path(&format!("/var/lib/lxc/{}/rootfs", self.spec.vmid))
    }

    /// Puts its file system together.
    pub(super) fn mount(&self, namespace: &Namespace) -> Result<()> {
        let (tree, home) = (self.spec.tree().ensure()?, self.home(namespace));
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            tree.display(),
            home.join("upper").display(),
            home.join("work").display()
        );
        let place = format!("/var/lib/lxc/{}/rootfs", self.spec.vmid);
        namespace.run(&["mount", "-t", "overlay", "overlay", "-o", &options, &place]).map(drop)
    }

    /// Takes its file system apart; it must not run.
    pub(super) fn unmount(&self, namespace: &Namespace) -> Result<()> {
        namespace.run(&["umount", &format!("/var/lib/lxc/{}/rootfs", self.spec.vmid)]).map(drop)
    }

    /// Starts it; returns when its init runs, which is long before its services do.
    pub(super) fn start(&self, namespace: &Namespace) -> Result<()> {
        if self.spec.body == Body::Machine {
            return qemu::start(namespace, &self.spec);
        }
        let vmid = self.spec.vmid.to_string();
        if self.spec.kind == Kind::Machine {
            namespace.run(&["mkdir", "-p", &format!("/run/qemu-server/{vmid}")])?;
        }
        let log = format!("/var/log/lxc/{vmid}.log");
        let started = namespace.run(&["lxc-start", "-n", &vmid, "-l", "INFO", "-o", &log]);
        let log = || fs::read_to_string(namespace.path(&log)).unwrap_or_default();
        started.map(drop).with_context(|| format!("start guest {vmid}; its log: {}", log()))?;
        if self.spec.kind == Kind::Machine {
            // As qm has QEMU write it. This one's process is the container's init.
            let init = namespace.run(&["lxc-info", "-n", &vmid, "-p", "-H"])?.stdout;
            let place = namespace.path(&format!("/run/qemu-server/{vmid}.pid"));
            fs::write(&place, init).with_context(|| format!("write {}", place.display()))?;
        }
        Ok(())
    }

    /// Waits until its services are up.
    pub(super) fn wait_up(&self, namespace: &Namespace) -> Result<()> {
        if self.spec.body == Body::Machine {
            return qemu::wait_up(namespace, &self.spec);
        }
        if self.spec.init != Init::Systemd {
            return wait::until(&format!("guest {} to be up", self.spec.vmid), UP, || {
                self.exec(namespace, self.spec.init.is_up())?.succeeded().map(drop)
            });
        }
        wait::until(&format!("guest {} to be up", self.spec.vmid), UP, || {
            let asked = self.exec(namespace, &["systemctl", "is-system-running"]);
            match asked.map(|finished| finished.stdout.trim().to_owned()) {
                Ok(state) if state == "running" => Ok(()),
                // One of its services failed; who minds asks for it.
                Ok(state) if state == "degraded" => Ok(()),
                Ok(state) => Err(state),
                Err(error) => Err(format!("{error:#}")),
            }
        })
    }

    /// Ends it in order, or at once when that takes too long.
    pub(super) fn stop(&self, namespace: &Namespace) -> Result<()> {
        if self.spec.body == Body::Machine {
            return qemu::stop(namespace, &self.spec);
        }
        let vmid = self.spec.vmid.to_string();
        namespace.run(&["lxc-stop", "-n", &vmid, "-t", "45"]).map(drop)
    }

    /// Ends it as a power cut does.
    pub(super) fn kill(&self, namespace: &Namespace) -> Result<()> {
        if self.spec.body == Body::Machine {
            return qemu::kill(namespace, &self.spec);
        }
        namespace.run(&["lxc-stop", "-n", &self.spec.vmid.to_string(), "-k"]).map(drop)
    }

    /// Whether it runs.
    pub(super) fn runs(&self, namespace: &Namespace) -> Result<bool> {
        if self.spec.body == Body::Machine {
            return Ok(qemu::runs(namespace, &self.spec));
        }
        let told = namespace.run(&["lxc-info", "-n", &self.spec.vmid.to_string(), "-s", "-H"])?;
        Ok(told.stdout.trim() != "STOPPED")
    }

    /// A command in it, not started yet.
    pub(super) fn command(&self, namespace: &Namespace, name: &str) -> Command {
        let mut command = namespace.command("lxc-attach");
        command.args(["-n", &self.spec.vmid.to_string(), "--clear-env", "--", name]);
        command
    }

    /// Runs a command in it to its end.
    pub(super) fn exec(&self, namespace: &Namespace, words: &[&str]) -> Result<Finished> {
        if self.spec.body == Body::Machine {
            return qemu::exec(namespace, &self.spec, words);
        }
        let (name, arguments) = words.split_first().context("a command has a name")?;
        process::run(self.command(namespace, name).args(arguments), b"", Duration::from_secs(180))
    }

    /// Whether its files are where the host does not see them.
    pub(super) fn is_on_its_disk(&self, namespace: &Namespace) -> bool {
        self.spec.body == Body::Machine && qemu::has_disk(namespace, &self.spec)
    }

    /// Has a unit start with it; it does not run yet.
    pub(super) fn enable(&self, namespace: &Namespace, unit: &str, text: &str) -> Result<()> {
        self.write(namespace, &format!("/etc/systemd/system/{unit}"), 0o644, 0, text.as_bytes())?;
        let wanted = self.root(namespace).join("etc/systemd/system/multi-user.target.wants").join(unit);
        symlink(Path::new("..").join(unit), &wanted).with_context(|| format!("enable {unit}"))
    }

    /// Writes a file in it, running or not, for its root and this group of its own.
    pub(super) fn write(&self, namespace: &Namespace, path: &str, mode: u32, group: u32, text: &[u8]) -> Result<()> {
        ensure!(!self.is_on_its_disk(namespace), "the files of VM {} are on its own disk", self.spec.vmid);
        let (root, shift) = (self.root(namespace), self.spec.tree().shift());
        let mut directory = root.clone();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (name, parents) = parts.split_last().context("a path has a name")?;
        for part in parents {
            directory.push(part);
            if !directory.exists() {
                fs::create_dir(&directory)
                    .and_then(|()| chown(&directory, Some(shift), Some(shift)))
                    .with_context(|| format!("make {}", directory.display()))?;
            }
        }
        let file = directory.join(name);
        fs::File::create(&file)
            .and_then(|mut made| made.write_all(text))
            .and_then(|()| chown(&file, Some(shift), Some(shift + group)))
            .and_then(|()| fs::set_permissions(&file, Permissions::from_mode(mode)))
            .with_context(|| format!("write {}", file.display()))
    }

    /// Puts a program of the machine into its `/usr/local/bin`.
    pub(super) fn bring(&self, namespace: &Namespace, from: &Path) -> Result<()> {
        ensure!(!self.is_on_its_disk(namespace), "the files of VM {} are on its own disk", self.spec.vmid);
        let name = from.file_name().context("a program has a name")?;
        let (place, owner) = (self.root(namespace).join("usr/local/bin").join(name), Some(self.spec.tree().shift()));
        copy_program(from, &place)
            .and_then(|()| Ok(chown(&place, owner, owner)?))
            .with_context(|| format!("put {} into guest {}", from.display(), self.spec.vmid))
    }

    /// The number of one of its groups.
    pub(super) fn group(&self, namespace: &Namespace, name: &str) -> Result<u32> {
        let path = self.root(namespace).join("etc/group");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut groups = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let number = groups.find(|words| words.first() == Some(&name)).and_then(|words| words.get(2)?.parse().ok());
        number.with_context(|| format!("guest {} has no group {name}", self.spec.vmid))
    }

    /// Copies what it changed so far to `place`; while it runs, between two of its steps.
    pub(super) fn save(&self, namespace: &Namespace, place: &Path) -> Result<()> {
        ensure!(!self.is_on_its_disk(namespace), "the lab copies no disks: VM {} has one", self.spec.vmid);
        let (vmid, runs) = (self.spec.vmid.to_string(), self.runs(namespace)?);
        if runs {
            namespace.run(&["lxc-freeze", "-n", &vmid])?;
        }
        let copied = copy(&self.home(namespace).join("upper"), place);
        if runs {
            namespace.run(&["lxc-unfreeze", "-n", &vmid])?;
        }
        copied
    }

    /// Replaces what it changed by what was saved; it must not run.
    pub(super) fn restore(&self, namespace: &Namespace, place: &Path) -> Result<()> {
        ensure!(!self.runs(namespace)?, "guest {} runs", self.spec.vmid);
        self.unmount(namespace)?;
        let home = self.home(namespace);
        base::remove(&home.join("upper"))?;
        base::remove(&home.join("work"))?;
        fs::create_dir(home.join("work")).with_context(|| format!("make {}", home.join("work").display()))?;
        copy(place, &home.join("upper"))?;
        self.mount(namespace)
    }

    /// Writes its LXC configuration anew, for its next start.
    pub(super) fn write_config(&self, namespace: &Namespace) -> Result<()> {
        let path = self.home(namespace).join("config");
        fs::write(&path, self.config(namespace)).with_context(|| format!("write {}", path.display()))
    }

    fn config(&self, namespace: &Namespace) -> String {
        let Spec { vmid, name, .. } = &self.spec;
        let mut lines = vec![
            "lxc.include = /usr/share/lxc/config/common.conf".to_owned(),
            format!("lxc.rootfs.path = dir:/var/lib/lxc/{vmid}/rootfs"),
            format!("lxc.uts.name = {name}"),
            "lxc.apparmor.profile = unconfined".to_owned(),
            "lxc.init.cmd = /sbin/init".to_owned(),
            "lxc.tty.max = 0".to_owned(),
            format!("lxc.cgroup.dir = {}/{vmid}", remains::group(namespace.live())),
        ];
        match self.spec.kind {
            Kind::Container => lines.extend([
                "lxc.include = /usr/share/lxc/config/userns.conf".to_owned(),
                format!("lxc.idmap = u 0 {} 65536", base::SHIFT),
                format!("lxc.idmap = g 0 {} 65536", base::SHIFT),
            ]),
            Kind::Machine => lines.extend([
                // dockerd wants nearly everything that a VM has.
                "lxc.cap.drop =".to_owned(),
                // LXC's filter refuses `umount --force`, with which pmxcfs begins.
                "lxc.seccomp.profile =".to_owned(),
                "lxc.mount.auto =".to_owned(),
                "lxc.mount.auto = proc:rw sys:rw cgroup:rw".to_owned(),
                // Forgotten again: runc gives a container devices that LXC keeps from its own.
                "lxc.cgroup.devices.deny =".to_owned(),
                "lxc.cgroup.devices.allow =".to_owned(),
                "lxc.cgroup2.devices.deny =".to_owned(),
                "lxc.cgroup2.devices.allow =".to_owned(),
                // Where a VM's guest agent has its port, and where the host has the other end of it.
                format!("lxc.mount.entry = /run/qemu-server/{vmid} dev/virtio-ports none bind,create=dir 0 0"),
            ]),
        }
        for (index, net) in self.spec.nets.iter().enumerate() {
            lines.extend([
                format!("lxc.net.{index}.type = veth"),
                format!("lxc.net.{index}.link = {}", net.bridge),
                format!("lxc.net.{index}.veth.pair = {}", self.spec.host_end(index)),
                format!("lxc.net.{index}.name = eth{index}"),
                format!("lxc.net.{index}.hwaddr = {}", net.hwaddr),
                format!("lxc.net.{index}.flags = up"),
                format!("lxc.net.{index}.ipv4.address = {}", net.address),
            ]);
        }
        lines.push("lxc.net.0.ipv4.gateway = 10.0.0.13".to_owned());
        lines.join("\n") + "\n"
    }
}

/// Two cores boot four guests at once.
const UP: Duration = Duration::from_secs(400);

/// With owners, modes, devices and overlay's own marks (`trusted.overlay.*`).
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("cp");
    command.args(["--archive", "--no-target-directory"]).arg(from).arg(to);
    process::run(&mut command, b"", Duration::from_secs(300))?.succeeded().map(drop)
}
