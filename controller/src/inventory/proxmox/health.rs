//! How Proxmox's replicated file system is: is it mounted, and has this node quorum?

use std::{io, path::Path};

use super::read;

/// Of how many nodes the cluster is, in a few hundred bytes each (bytes).
const MAX_MEMBERS: u64 = 256 * 1024;

/// How pmxcfs is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterHealth {
    /// There is one node, which needs nobody.
    Alone,
    /// There are several nodes, and enough of them agree.
    Quorate,
    /// There are several nodes, and too few of them: nothing can be written.
    WithoutQuorum,
}

/// Reads how pmxcfs is, mounted at `directory`.
///
/// # Errors
/// It is not mounted, or what it says makes no sense.
pub fn cluster_health(directory: &Path) -> io::Result<ClusterHealth> {
    let bytes = read::limited(&directory.join(".members"), MAX_MEMBERS)?;
    let members: serde_json::Value = serde_json::from_slice(&bytes)?;
    let Some(cluster) = members.get("cluster") else { return Ok(ClusterHealth::Alone) };
    match cluster.get("quorate").and_then(serde_json::Value::as_u64) {
        Some(0) => Ok(ClusterHealth::WithoutQuorum),
        Some(_) => Ok(ClusterHealth::Quorate),
        None => Err(io::Error::other("`.members` does not tell whether there is quorum")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn quorum_is_what_members_says() {
        let directory = tempfile::tempdir().expect("a directory");
        let told = |text: &str| {
            fs::write(directory.path().join(".members"), text).expect("written");
            cluster_health(directory.path()).ok()
        };
        assert_eq!(told(r#"{"nodename": "pve1", "version": 0}"#), Some(ClusterHealth::Alone));
        assert_eq!(told(r#"{"cluster": {"nodes": 3, "quorate": 1}}"#), Some(ClusterHealth::Quorate));
        assert_eq!(told(r#"{"cluster": {"nodes": 3, "quorate": 0}}"#), Some(ClusterHealth::WithoutQuorum));
        assert_eq!(told(r#"{"cluster": {"nodes": 3}}"#), None);
        assert_eq!(told("{"), None);
        fs::remove_file(directory.path().join(".members")).expect("removed");
        assert_eq!(cluster_health(directory.path()).expect_err("not mounted").kind(), io::ErrorKind::NotFound);
    }
}
