//! Proxmox's tools, and its replicated file system.

use std::path::PathBuf;

use super::report::{Area, Findings};
use crate::{
    config::{Config, Proxmox},
    inventory::proxmox::{ClusterHealth, cluster_health},
    system_program::find,
};

const AREA: Area = Area::Proxmox;

/// The tools with which Pinion reaches into guests, and the one by which people ask Proxmox; each with its package.
const TOOLS: [(&str, &str); 3] = [("pct", "pve-container"), ("qm", "qemu-server"), ("pvesh", "pve-manager")];

pub(super) fn check(config: &Config, proxmox: &Proxmox, found: &mut Findings) {
    let place = |tool: &str| -> Option<PathBuf> {
        match &config.channel.tools {
            Some(directory) => Some(directory.join(tool)).filter(|path| path.is_file()),
            None => find(tool),
        }
    };
    let missing: Vec<_> = TOOLS.iter().filter(|(tool, _)| place(tool).is_none()).collect();
    for (tool, package) in &missing {
        let without = match *tool {
            "pct" => "no container can be reached",
            "qm" => "no VM can be reached",
            _ => "nobody can ask Proxmox by it",
        };
        let (message, remedy) = match &config.channel.tools {
            Some(directory) => (
                format!("{tool} is not in {}: {without}.", directory.display()),
                "correct `channel.tools` in controller.toml, or take it out".to_owned(),
            ),
            None => (format!("{tool} cannot be found: {without}."), format!("run `apt install --reinstall {package}`")),
        };
        found.problem(AREA, message, remedy);
    }
    if missing.is_empty() {
        found.good(AREA, "pct, qm and pvesh are installed.");
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
            let remedy = "run `systemctl restart pve-cluster`; `journalctl -u pve-cluster -n 50` shows why it ended";
            found.problem(AREA, format!("{directory} is not as it should be: {error}."), remedy);
        }
    }
}
