//! What can happen to the lab's network.

use std::{fs::File, os::fd::AsFd as _, path::PathBuf, process::Command};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Lab;

/// A network of the lab's, for threads of the test's own.
#[derive(Debug)]
pub struct Network(File, PathBuf);

impl Network {
    /// The one of this lab.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn of(lab: &Lab) -> Result<Self> {
        Self::of_process(&lab.init().to_string())
    }

    /// The one that a guest has for itself.
    ///
    /// # Errors
    /// It does not run.
    pub fn of_guest(lab: &Lab, vmid: u32) -> Result<Self> {
        let init = lab.namespace.run(&["lxc-info", "-n", &vmid.to_string(), "-p", "-H"])?.stdout;
        Self::of_process(init.trim())
    }

    fn of_process(pid: &str) -> Result<Self> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        File::open(&path).with_context(|| format!("open {}", path.display())).map(|file| Self(file, path))
    }

    /// A program of this machine in it, not started yet. It becomes the process itself.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.1.display())).args(["--", name]);
        command
    }

    /// From now on this thread is in it, until its end.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn enter(&self) -> Result<()> {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).context("enter the lab's network")
    }
}

/// Takes a guest's first cable out of its bridge.
///
/// # Errors
/// There is no such guest, or it does not run.
pub fn unplug(lab: &Lab, vmid: u32) -> Result<()> {
    let end = lab.guest(vmid)?.spec.host_end(0);
    lab.namespace.run(&["ip", "link", "set", &end, "nomaster"]).map(drop)
}

/// Puts it in again.
///
/// # Errors
/// As [`unplug`].
pub fn plug(lab: &Lab, vmid: u32) -> Result<()> {
    let spec = &lab.guest(vmid)?.spec;
    let bridge = spec.nets.first().context("a guest has an interface")?.bridge;
    lab.namespace.run(&["ip", "link", "set", &spec.host_end(0), "master", bridge]).map(drop)
}

/// Cuts a bridge: nobody on it reaches anybody.
///
/// # Errors
/// There is no such bridge.
pub fn cut(lab: &Lab, bridge: &str) -> Result<()> {
    lab.namespace.run(&["ip", "link", "set", bridge, "down"]).map(drop)
}

/// Heals it.
///
/// # Errors
/// There is no such bridge.
pub fn heal(lab: &Lab, bridge: &str) -> Result<()> {
    lab.namespace.run(&["ip", "link", "set", bridge, "up"]).map(drop)
}

/// Gives a running guest's first interface another address, as a DHCP server that changed its mind, for
/// now and for its next starts: `10.0.0.150/24`. Proxmox's files do not tell.
///
/// # Errors
/// There is no such guest, or it does not run.
pub fn change_address(lab: &mut Lab, vmid: u32, address: &str) -> Result<()> {
    let guest = lab.guest(vmid)?;
    for words in [
        ["ip", "address", "flush", "dev", "eth0", "scope", "global"].as_slice(),
        &["ip", "address", "add", address, "dev", "eth0"],
        &["ip", "route", "replace", "default", "via", "10.0.0.13"],
    ] {
        guest.exec(&lab.namespace, words)?.succeeded()?;
    }
    let guest = lab.guests.get_mut(&vmid).with_context(|| format!("the lab has no guest {vmid}"))?;
    guest.spec.nets.first_mut().context("a guest has an interface")?.address = address.to_owned();
    guest.write_config(&lab.namespace)
}

/// Has a running container's firewall drop what it did not ask for, on every interface but its own.
///
/// # Errors
/// There is no such guest, or it does not run.
pub fn drop_by_default(lab: &Lab, vmid: u32) -> Result<()> {
    let rules = "add table inet lab\n\
                 add chain inet lab input { type filter hook input priority 0; policy drop; }\n\
                 add rule inet lab input ct state established,related accept\n\
                 add rule inet lab input iif lo accept\n";
    lab.exec(vmid, &["nft", rules])?.succeeded().map(drop)
}

/// Takes that away again.
///
/// # Errors
/// As [`drop_by_default`].
pub fn accept_by_default(lab: &Lab, vmid: u32) -> Result<()> {
    lab.exec(vmid, &["nft", "delete", "table", "inet", "lab"])?.succeeded().map(drop)
}
