//! What a path's name means to pmxcfs.
//!
//! Answers: who may read it, is it a lock, is it a guest's configuration? As in pve-cluster's `cfs-utils.c` and `memdb.c`.

/// Where a guest's configuration is: whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GuestPath<'p> {
    pub(super) node: &'p str,
    /// As `.vmlist` has it: `lxc` or `qemu`.
    pub(super) kind: &'static str,
    pub(super) vmid: u32,
}

/// `nodes/NODE/(lxc|qemu-server)/VMID.conf`, if it is that.
pub(super) fn guest(path: &str) -> Option<GuestPath<'_>> {
    let mut parts = path.split('/');
    let (Some("nodes"), Some(node), Some(folder), Some(name), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let kind = match folder {
        "lxc" => "lxc",
        "qemu-server" => "qemu",
        _ => return None,
    };
    let number = name.strip_suffix(".conf")?;
    let plain = number.starts_with(|first: char| ('1'..='9').contains(&first));
    let vmid = number.parse().ok().filter(|_| plain && is_node(node))?;
    Some(GuestPath { node, kind, vmid })
}

/// Letters, digits, and hyphens inside.
fn is_node(name: &str) -> bool {
    let allowed = |character: char| character.is_ascii_alphanumeric() || character == '-';
    !name.is_empty() && name.chars().all(allowed) && !name.starts_with('-') && !name.ends_with('-')
}

/// Whether root alone may look: `priv`, `nodes/NODE/priv`, and what is below them.
pub(super) fn is_private(path: &str) -> bool {
    is_or_below(path, "priv") || in_node(path).is_some_and(|rest| is_or_below(rest, "priv"))
}

/// Whether everybody may read it: containers are started by others than root, too.
pub(super) fn is_container(path: &str) -> bool {
    in_node(path).is_some_and(|rest| is_or_below(rest, "lxc"))
}

/// Whether a directory of this name is a lock.
pub(super) fn is_lock(path: &str) -> bool {
    path.strip_prefix("priv/lock/").is_some_and(|name| !name.is_empty())
}

/// The directory that a path is in, and its name there.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn in_node(path: &str) -> Option<&str> {
    path.strip_prefix("nodes/")?.split_once('/').map(|(_, rest)| rest)
}

fn is_or_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_where_their_configuration_is() {
        let there = |path| guest(path).map(|found| (found.node, found.kind, found.vmid));
        assert_eq!(there("nodes/pve1/lxc/101.conf"), Some(("pve1", "lxc", 101)));
        assert_eq!(there("nodes/pve-2/qemu-server/1001.conf"), Some(("pve-2", "qemu", 1001)));
        for other in [
            "nodes/pve1/lxc/101.conf.tmp.7",
            "nodes/pve1/lxc/0101.conf",
            "nodes/pve1/lxc/99999999999.conf",
            "nodes/pve1/openvz/101.conf",
            "nodes/pve1/101.conf",
            "nodes/-pve/lxc/101.conf",
            "lxc/101.conf",
        ] {
            assert_eq!(there(other), None, "{other}");
        }
    }

    #[test]
    fn who_may_read_goes_by_the_path() {
        for private in ["priv", "priv/lock", "nodes/pve1/priv", "nodes/pve1/priv/ssl.key"] {
            assert!(is_private(private), "{private}");
        }
        for open in ["", "private", "nodes/priv", "nodes/pve1/private/x", "nodes/pve1/lxc/priv"] {
            assert!(!is_private(open), "{open}");
        }
        assert!(is_container("nodes/pve1/lxc") && is_container("nodes/pve1/lxc/101.conf"));
        assert!(!is_container("nodes/pve1/qemu-server/101.conf") && !is_container("nodes/lxc"));
        assert!(is_lock("priv/lock/one") && !is_lock("priv/lock/") && !is_lock("priv/lock"));
    }
}
