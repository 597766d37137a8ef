//! `/etc/pve/.vmlist`: every guest of the cluster, which pmxcfs makes from the files it holds.
//!
//! Invariant: a list is taken wholly or not at all, since a guest that is missing in a list is a guest that was
//! destroyed. This is the only reader of it.
//!
//! `cfs_create_vmlist_msg` in pve-cluster's `status.c` writes it. Without any guest it has a `version` and no `ids`.

use std::collections::BTreeMap;

use pinion_proto::id::Vmid;
use serde::Deserialize;
use thiserror::Error;

use crate::inventory::GuestKind;

/// Some 60 bytes a guest: far more than any cluster has.
pub(super) const MAX_LIST: u64 = 8 * 1024 * 1024;

/// The most guests (count): Proxmox's own documentation stops at thousands, and this many fit in one answer
/// of the root process.
pub const MAX_GUESTS: usize = 20_000;

/// A host name has at most 253 characters, and Proxmox's nodes the first part of one.
const MAX_NODE: usize = 63;

/// Every guest of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VmList {
    /// Counts up with each change of a guest's configuration, as `vmlist` in `.version` does; none where it is missing.
    pub version: Option<u64>,
    /// The guests, by number.
    pub guests: BTreeMap<Vmid, Entry>,
}

/// A guest in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is; none for a kind that is not known here.
    pub kind: Option<GuestKind>,
    /// The node that has its configuration: plain letters, digits, `-`, `.` and `_`, so that it is safe in a path.
    pub node: Box<str>,
    /// Counts up at each write of its configuration (`vmlist_register_vm` in pve-cluster's `status.c`), and begins
    /// anew with each start of pmxcfs.
    pub version: u64,
}

#[derive(Deserialize)]
struct Written {
    version: Option<u64>,
    ids: Option<BTreeMap<String, WrittenEntry>>,
}

#[derive(Deserialize)]
struct WrittenEntry {
    node: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    version: u64,
}

impl VmList {
    /// Reads the list. Fields and kinds that are not known here are passed over.
    ///
    /// # Errors
    /// It is no such list, or is cut off.
    pub fn parse(bytes: &[u8]) -> Result<Self, VmListError> {
        let Written { version, ids } = serde_json::from_slice(bytes)?;
        // A version alone is a cluster without guests; nothing at all is no list.
        let ids = match (ids, version) {
            (Some(ids), _) => ids,
            (None, Some(_)) => BTreeMap::new(),
            (None, None) => return Err(VmListError::Nothing),
        };
        if ids.len() > MAX_GUESTS {
            return Err(VmListError::TooMany(ids.len()));
        }
        let mut guests = BTreeMap::new();
        for (id, entry) in ids {
            let node = entry.node;
            let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            let begins = node.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
            if !begins || node.len() > MAX_NODE || !node.bytes().all(legal) {
                return Err(VmListError::Node(pinion_proto::id::shown(&node)));
            }
            // A number that Proxmox itself would not give is none that a manifest can name.
            let Some(vmid) = id.parse().ok().and_then(|number: u32| Vmid::try_from(number).ok()) else { continue };
            let kind = match entry.kind.as_str() {
                "lxc" => Some(GuestKind::Lxc),
                "qemu" => Some(GuestKind::Qemu),
                _ => None,
            };
            guests.insert(vmid, Entry { kind, node: node.into(), version: entry.version });
        }
        Ok(Self { version, guests })
    }
}

/// Why a list is none.
#[derive(Debug, Error)]
pub enum VmListError {
    /// It is not JSON of the expected form.
    #[error("it is not a list of guests")]
    Json(#[from] serde_json::Error),
    /// Neither guests nor a version.
    #[error("it has neither `ids` nor a `version`")]
    Nothing,
    /// More than any cluster has.
    #[error("it has {0} guests, more than the {MAX_GUESTS} that Pinion reads")]
    TooMany(usize),
    /// A node's name that is none.
    #[error("`{0}` is not the name of a node")]
    Node(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &str = r#"{
"version": 7,
"ids": {
"101": { "node": "pve1", "type": "lxc", "version": 3 },
"1001": { "node": "pve-2.lan", "type": "qemu", "version": 12, "new": [] },
"1003": { "node": "pve1", "type": "microvm", "version": 13 },
"7": { "node": "pve1", "type": "lxc", "version": 1 }}

}
"#;

    #[test]
    fn the_list_of_a_real_cluster_is_read() {
        let list = VmList::parse(LIST.as_bytes()).expect("a list");
        assert_eq!(list.version, Some(7));
        let found: Vec<_> = list.guests.iter().map(|(id, e)| (id.number(), e.kind, &*e.node, e.version)).collect();
        let (lxc, qemu) = (Some(GuestKind::Lxc), Some(GuestKind::Qemu));
        assert_eq!(found, [(101, lxc, "pve1", 3), (1001, qemu, "pve-2.lan", 12), (1003, None, "pve1", 13)]);
    }

    #[test]
    fn a_cluster_without_guests_has_an_empty_list() {
        let list = VmList::parse(b"{\n\"version\": 8\n}\n").expect("a list");
        assert_eq!((list.version, list.guests.len()), (Some(8), 0));
        for nothing in ["{}", "{\"ids\":null}", "{\"version\":null}", "{\"guests\":{}}"] {
            assert!(matches!(VmList::parse(nothing.as_bytes()), Err(VmListError::Nothing)), "{nothing}");
        }
    }

    #[test]
    fn a_node_leads_to_no_other_directory() {
        for node in ["", "..", "../../root", "a/b", "-x", "a b", "a\\u0000"] {
            let text = format!(r#"{{"version":1,"ids":{{"101":{{"node":"{node}","type":"lxc","version":1}}}}}}"#);
            assert!(matches!(VmList::parse(text.as_bytes()), Err(VmListError::Node(_))), "{node:?}");
        }
    }

    #[test]
    fn a_list_that_is_cut_off_anywhere_is_none() {
        let end = LIST.rfind('}').expect("its end");
        for cut in 0..=end {
            assert!(VmList::parse(&LIST.as_bytes()[..cut]).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            VmList::parse(&bytes).ok();
        }
    }
}
