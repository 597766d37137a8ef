//! A file of Proxmox's that cannot be read: when that is reported, and in which words.

use std::{io, path::Path};

use super::super::InventoryProblem;

/// So many looks in a row have to fail before that is reported: a file is often looked at while it is replaced.
pub(super) const FAILURES_TOLD: u32 = 3;

/// Why a file cannot be read, and what to do about it.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> InventoryProblem {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => {
            "start pve-cluster, which mounts them there (`systemctl start pve-cluster`); if they are not in \
             /etc/pve, set `directory` in [proxmox] of controller.toml"
        }
        _ => "run `systemctl status pve-cluster`",
    };
    InventoryProblem { cause: format!("cannot read {}: {error}", path.display()), remedy: remedy.to_owned() }
}
