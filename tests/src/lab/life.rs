//! What an operator does to guests, with what Proxmox's files then say.
//!
//! Invariant: as Proxmox has it. A clone gets new hardware addresses, a cloned or rolled back VM a new
//! `vmgenid`; a container's rollback shows in nothing but `parent`. A guest's configuration is in the folder
//! of the node that it is on.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};

use super::{
    Lab, base,
    conf::Conf,
    guest_conf::fresh_uuid,
    pmxcfs::trouble,
    pve::{Kind, NODE, OTHER_NODE},
    services,
    spec::{Spec, hwaddr},
};

impl Lab {
    /// Starts a guest and waits until its services are up.
    ///
    /// # Errors
    /// There is no such guest here, or it does not come up.
    pub fn start(&self, vmid: u32) -> Result<()> {
        ensure!(self.files.node(vmid) == Some(NODE), "guest {vmid} is not on {NODE}");
        let guest = self.guest(vmid)?;
        self.hook(vmid, "pre-start")?;
        guest.start(&self.namespace)?;
        self.hook(vmid, "post-start")?;
        guest.wait_up(&self.namespace)
    }

    /// Starts a guest as an operator does, with `pct start` or `qm start`, and waits until its services are up.
    ///
    /// # Errors
    /// The tool refuses, or the guest does not come up.
    pub fn start_by_tool(&self, vmid: u32) -> Result<()> {
        let guest = self.guest(vmid)?;
        let tool = if guest.spec.kind == Kind::Container { "pct" } else { "qm" };
        self.namespace.run(&[tool, "start", &vmid.to_string()])?;
        guest.wait_up(&self.namespace)
    }

    /// Shuts a guest down.
    ///
    /// # Errors
    /// There is no such guest, or it does not run.
    pub fn stop(&self, vmid: u32) -> Result<()> {
        let guest = self.guest(vmid)?;
        self.hook(vmid, "pre-stop")?;
        guest.stop(&self.namespace)?;
        self.hook(vmid, "post-stop")
    }

    /// Freezes a running container: it is `running`, and nothing in it answers, as in a backup of the mode
    /// `suspend`.
    ///
    /// # Errors
    /// There is no such guest, or it does not run.
    pub fn freeze(&self, vmid: u32) -> Result<()> {
        self.namespace.run(&["lxc-freeze", "-n", &self.guest(vmid)?.spec.vmid.to_string()]).map(drop)
    }

    /// Thaws it.
    ///
    /// # Errors
    /// There is no such guest, or it does not run.
    pub fn thaw(&self, vmid: u32) -> Result<()> {
        self.namespace.run(&["lxc-unfreeze", "-n", &self.guest(vmid)?.spec.vmid.to_string()]).map(drop)
    }

    /// The cluster loses or finds its quorum, at once: without it nothing on the host can write below `/etc/pve`.
    ///
    /// # Errors
    /// The server's switch cannot be turned.
    pub fn set_quorate(&self, quorate: bool) -> Result<()> {
        let switch = self.files.switch();
        if quorate { switch.heal(Duration::ZERO) } else { switch.cut(Duration::ZERO) }
    }

    /// This node is cut off from its cluster: what writes below `/etc/pve` hangs for 8 s before it fails.
    ///
    /// # Errors
    /// The server's switch cannot be turned.
    pub fn cut_off(&self) -> Result<()> {
        self.files.switch().cut(trouble::HANG)
    }

    /// `systemctl stop pve-cluster`: nothing is mounted at `/etc/pve`.
    ///
    /// # Errors
    /// The server does not end by itself.
    pub fn stop_pve_cluster(&mut self) -> Result<()> {
        self.files.stop()
    }

    /// The server is killed: what is mounted at `/etc/pve` answers nobody.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill_pve_cluster(&mut self) -> Result<()> {
        self.files.kill()
    }

    /// The server stands still, or goes on: whoever looks below `/etc/pve` waits meanwhile.
    ///
    /// # Errors
    /// It does not run.
    pub fn hang_pve_cluster(&mut self, hangs: bool) -> Result<()> {
        self.files.hang(hangs)
    }

    /// `systemctl start pve-cluster`; a dead mount is taken away first.
    ///
    /// # Errors
    /// The server does not mount, with its words: above all when something was made below `/etc/pve` in the meantime.
    pub fn start_pve_cluster(&mut self) -> Result<()> {
        self.files.start()
    }

    /// Calls the guest's hook script (`hookscript: local:snippets/NAME`), if it has one.
    fn hook(&self, vmid: u32, phase: &str) -> Result<()> {
        let conf = self.files.read(vmid)?;
        let Some(name) = conf.current.get("hookscript").and_then(|volume| volume.strip_prefix("local:snippets/"))
        else {
            return Ok(());
        };
        let script = format!("/var/lib/vz/snippets/{name}");
        self.namespace.run(&[&script, &vmid.to_string(), phase]).map(drop)
    }

    /// Ends a guest as a power cut does.
    ///
    /// # Errors
    /// There is no such guest, or it does not run.
    pub fn kill(&self, vmid: u32) -> Result<()> {
        self.guest(vmid)?.kill(&self.namespace)
    }

    /// Shuts a guest down and starts it again.
    ///
    /// # Errors
    /// As [`Self::stop`] and [`Self::start`].
    pub fn reboot(&self, vmid: u32) -> Result<()> {
        self.stop(vmid)?;
        self.start(vmid)
    }

    /// Whether a guest runs here.
    ///
    /// # Errors
    /// There is no such guest.
    pub fn runs(&self, vmid: u32) -> Result<bool> {
        self.guest(vmid)?.runs(&self.namespace)
    }

    /// Makes a snapshot of a guest, running or not.
    ///
    /// # Errors
    /// There is no such guest, or it has a snapshot of that name.
    pub fn snapshot(&self, vmid: u32, name: &str) -> Result<()> {
        let guest = self.guest(vmid)?;
        let mut conf = self.files.read(vmid)?;
        ensure!(conf.snapshot(name).is_none(), "guest {vmid} has a snapshot {name}");
        guest.save(&self.namespace, &guest.home(&self.namespace).join("snapshots").join(name))?;
        let mut section = conf.current.clone();
        section.set("snaptime", seconds().to_string());
        conf.current.set("parent", name);
        conf.snapshots.push((name.to_owned(), section));
        self.files.write(vmid, &conf)
    }

    /// Takes a guest back to a snapshot, and leaves it stopped, as Proxmox does.
    ///
    /// # Errors
    /// There is no such guest or snapshot.
    pub fn rollback(&self, vmid: u32, name: &str) -> Result<()> {
        let guest = self.guest(vmid)?;
        let mut conf = self.files.read(vmid)?;
        let section = conf.snapshot(name).with_context(|| format!("guest {vmid} has no snapshot {name}"))?;
        let mut current = section.clone();
        current.remove("snaptime");
        current.set("parent", name);
        if guest.spec.kind == Kind::Machine {
            current.set("vmgenid", fresh_uuid()?);
        }
        if guest.runs(&self.namespace)? {
            guest.kill(&self.namespace)?;
        }
        guest.restore(&self.namespace, &guest.home(&self.namespace).join("snapshots").join(name))?;
        conf.current = current;
        self.files.write(vmid, &conf)
    }

    /// Makes a full clone of a guest as it is now, stopped, with an address of its own.
    ///
    /// # Errors
    /// There is no such guest, or the number is taken.
    pub fn clone_guest(&mut self, vmid: u32, new: u32, name: &str, address: &str) -> Result<()> {
        ensure!(!self.guests.contains_key(&new), "there is a guest {new}");
        let guest = self.guest(vmid)?;
        let hookscript = self.files.read(vmid)?.current.get("hookscript").map(str::to_owned);
        let mut spec = Spec { vmid: new, name: name.to_owned(), ..guest.spec.clone() };
        for (index, net) in spec.nets.iter_mut().enumerate() {
            net.hwaddr = hwaddr(new, index);
        }
        // One interface: a second one's address would be the original's.
        spec.nets.truncate(1);
        spec.nets.first_mut().context("a guest has an interface")?.address = address.to_owned();
        let copied = self.namespace.live().join("clone");
        guest.save(&self.namespace, &copied)?;
        self.add(spec, Some(&copied))?;
        // A clone has its original's.
        self.configure(new, "hookscript", hookscript.as_deref())?;
        base::remove(&copied)
    }

    /// Makes a guest a template, which is never started again.
    ///
    /// # Errors
    /// There is no such guest, or it runs.
    pub fn make_template(&self, vmid: u32) -> Result<()> {
        ensure!(!self.runs(vmid)?, "guest {vmid} runs");
        self.configure(vmid, "template", Some("1"))
    }

    /// Stops a guest and removes it with all it had.
    ///
    /// # Errors
    /// There is no such guest.
    pub fn destroy(&mut self, vmid: u32) -> Result<()> {
        let guest = self.guests.remove(&vmid).with_context(|| format!("the lab has no guest {vmid}"))?;
        if guest.runs(&self.namespace)? {
            guest.kill(&self.namespace)?;
        }
        self.files.remove(vmid)?;
        guest.unmount(&self.namespace)?;
        base::remove(&guest.home(&self.namespace))
    }

    /// Moves a guest to the other node, which exists in the files only: here it has stopped.
    ///
    /// # Errors
    /// There is no such guest.
    pub fn migrate_away(&mut self, vmid: u32) -> Result<()> {
        let runs = self.runs(vmid)?;
        if runs {
            self.stop(vmid)?;
        }
        let told = self.path("/run/pinion-lab/elsewhere").join(vmid.to_string());
        fs::write(&told, if runs { "running" } else { "stopped" })
            .with_context(|| format!("write {}", told.display()))?;
        self.files.move_to(vmid, OTHER_NODE)
    }

    /// Moves it back, and starts it.
    ///
    /// # Errors
    /// There is no such guest, or it does not come up.
    pub fn migrate_back(&mut self, vmid: u32) -> Result<()> {
        self.files.move_to(vmid, NODE)?;
        self.start(vmid)
    }

    /// Sets or takes away a guest's lock: `backup`, `snapshot`, `migrate`.
    ///
    /// # Errors
    /// There is no such guest.
    pub fn lock(&self, vmid: u32, lock: Option<&str>) -> Result<()> {
        self.configure(vmid, "lock", lock)
    }

    /// Sets or takes away a value of a guest's configuration.
    ///
    /// # Errors
    /// There is no such guest.
    pub fn configure(&self, vmid: u32, key: &str, value: Option<&str>) -> Result<()> {
        let mut conf = self.files.read(vmid)?;
        match value {
            Some(value) => conf.current.set(key, value),
            None => conf.current.remove(key),
        }
        self.files.write(vmid, &conf)
    }

    /// A guest's configuration.
    ///
    /// # Errors
    /// There is no such guest.
    pub fn conf(&self, vmid: u32) -> Result<Conf> {
        self.files.read(vmid)
    }

    /// Makes a guest, stopped, with what its service needs and nothing of an earlier guest.
    ///
    /// # Errors
    /// The number is taken.
    pub fn create(&mut self, spec: Spec) -> Result<()> {
        ensure!(!self.guests.contains_key(&spec.vmid), "there is a guest {}", spec.vmid);
        let vmid = spec.vmid;
        self.add(spec, None)?;
        services::prepare(&self.namespace, self.guest(vmid)?)
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
