//! Proxmox's tools, and its replicated file system.

use std::path::PathBuf;

use super::report::{Area, Findings};
use crate::{
    config::{Config, Proxmox},
    inventory::proxmox::{ClusterHealth, cluster_health},
    system_program::find,
};

const AREA: Area = Area::Proxmox;

/// The tools with which Pinion reaches into guests, and the one by which people ask Proxmox.
const TOOLS: [&str; 3] = ["pct", "qm", "pvesh"];

pub(super) fn check(config: &Config, proxmox: &Proxmox, found: &mut Findings) {
    let place = |tool: &&str| -> Option<PathBuf> {
        match &config.channel.tools {
            Some(directory) => Some(directory.join(tool)).filter(|path| path.is_file()),
            None => find(tool),
        }
    };
    let missing: Vec<_> = TOOLS.iter().filter(|tool| place(tool).is_none()).copied().collect();
    match missing.as_slice() {
        [] => found.good(AREA, "pct, qm and pvesh are installed."),
        missing => {
            let remedy = "install Proxmox's packages pve-container and qemu-server; or set `channel.tools` in \
                          controller.toml to the directory that they are in";
            found.problem(AREA, format!("{} cannot be found: no guest can be reached.", missing.join(" and ")), remedy);
        }
    }
    let directory = proxmox.directory.display();
    match cluster_health(&proxmox.directory) {
        Ok(ClusterHealth::Alone) => found.good(AREA, format!("{directory} is mounted; this node is not in a cluster.")),
        Ok(ClusterHealth::Quorate) => found.good(AREA, format!("{directory} is mounted, and the cluster has quorum.")),
        Ok(ClusterHealth::WithoutQuorum) => {
            let remedy = "look at `pvecm status`: bring the other nodes back. Certificates are renewed meanwhile";
            found.problem(AREA, format!("The cluster has no quorum: nothing can be written to {directory}."), remedy);
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            found.skipped(AREA, format!("{directory} cannot be read by this user: run `pinion doctor` as root."));
        }
        Err(error) => {
            let remedy = "run `systemctl status pve-cluster`, and restart it if it does not run";
            found.problem(AREA, format!("{directory} is not as it should be: {error}."), remedy);
        }
    }
}
