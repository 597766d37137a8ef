//! The lab's network: two bridges.

use anyhow::Result;

use super::namespace::Namespace;

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
