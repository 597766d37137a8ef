//! The lab's network: two bridges, and what can happen to them.

use anyhow::{Context, Result};

use super::{Lab, namespace::Namespace};

/// The host's bridges and its addresses on them.
const BRIDGES: [(&str, &str); 2] = [("vmbr0", "10.0.0.13/24"), ("vmbr100", "172.16.100.1/24")];

pub(super) fn create(namespace: &Namespace) -> Result<()> {
    namespace.run(&["ip", "link", "set", "lo", "up"])?;
    for (bridge, address) in BRIDGES {
        namespace.run(&["ip", "link", "add", bridge, "type", "bridge"])?;
        namespace.run(&["ip", "address", "add", address, "dev", bridge])?;
        namespace.run(&["ip", "link", "set", bridge, "up"])?;
    }
    Ok(())
}

impl Lab {
    /// Takes a guest's first cable out of its bridge.
    ///
    /// # Errors
    /// There is no such guest, or it does not run.
    pub fn unplug(&self, vmid: u32) -> Result<()> {
        let end = self.guest(vmid)?.spec.host_end(0);
        self.namespace.run(&["ip", "link", "set", &end, "nomaster"]).map(drop)
    }

    /// Puts it in again.
    ///
    /// # Errors
    /// As [`Self::unplug`].
    pub fn plug(&self, vmid: u32) -> Result<()> {
        let spec = &self.guest(vmid)?.spec;
        let bridge = spec.nets.first().context("a guest has an interface")?.bridge;
        self.namespace.run(&["ip", "link", "set", &spec.host_end(0), "master", bridge]).map(drop)
    }

    /// Cuts a bridge: nobody on it reaches anybody.
    ///
    /// # Errors
    /// There is no such bridge.
    pub fn cut(&self, bridge: &str) -> Result<()> {
        self.namespace.run(&["ip", "link", "set", bridge, "down"]).map(drop)
    }

    /// Heals it.
    ///
    /// # Errors
    /// There is no such bridge.
    pub fn heal(&self, bridge: &str) -> Result<()> {
        self.namespace.run(&["ip", "link", "set", bridge, "up"]).map(drop)
    }

    /// Gives a running guest's first interface another address, as a DHCP server that changed its mind, for
    /// now and for its next starts: `10.0.0.150/24`. Proxmox's files do not tell.
    ///
    /// # Errors
    /// There is no such guest, or it does not run.
    pub fn change_address(&mut self, vmid: u32, address: &str) -> Result<()> {
        let guest = self.guest(vmid)?;
        for words in [
            ["ip", "address", "flush", "dev", "eth0", "scope", "global"].as_slice(),
            &["ip", "address", "add", address, "dev", "eth0"],
            &["ip", "route", "replace", "default", "via", "10.0.0.13"],
        ] {
            guest.exec(&self.namespace, words)?.succeeded()?;
        }
        let guest = self.guests.get_mut(&vmid).with_context(|| format!("the lab has no guest {vmid}"))?;
        guest.spec.nets.first_mut().context("a guest has an interface")?.address = address.to_owned();
        guest.write_config(&self.namespace)
    }

    /// Has a running container's firewall drop what it did not ask for, on every interface but its own.
    ///
    /// # Errors
    /// There is no such guest, or it does not run.
    pub fn drop_by_default(&self, vmid: u32) -> Result<()> {
        let rules = "add table inet lab\n\
                     add chain inet lab input { type filter hook input priority 0; policy drop; }\n\
                     add rule inet lab input ct state established,related accept\n\
                     add rule inet lab input iif lo accept\n";
        self.exec(vmid, &["nft", rules])?.succeeded().map(drop)
    }

    /// Takes that away again.
    ///
    /// # Errors
    /// As [`Self::drop_by_default`].
    pub fn accept_by_default(&self, vmid: u32) -> Result<()> {
        self.exec(vmid, &["nft", "delete", "table", "inet", "lab"])?.succeeded().map(drop)
    }
}
