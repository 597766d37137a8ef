//! What crosses the socket of the guests: the answer to [`super::protocol::Call::Guests`].
//!
//! Invariant: only what the controller needs crosses. Nothing of a configuration is passed on as it is written: no
//! description, no cloud-init password, no line that is not known here.

use pinion_proto::{hwaddr::HwAddr, id::Vmid};
use serde::{Deserialize, Serialize};

use crate::inventory::{GuestInfo, GuestKind, Node, proxmox::InventoryProblem};

/// Which listing the controller has: another one of the same root process, or of another, counts on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// Tells two root processes apart, of which one has taken the other's place.
    pub run: u64,
    /// Counts up with each change.
    pub number: u64,
}

/// The guests as they are known now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Which listing this is.
    pub revision: Revision,
    /// Every guest of the cluster; none while Proxmox's files have not been read since the root process began.
    pub guests: Option<Vec<ListedGuest>>,
    /// Why they are not known as they are now.
    pub problem: Option<InventoryProblem>,
    /// Why it is not known which of them run.
    pub states_unknown: Option<String>,
}

/// A guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedGuest {
    /// Its number.
    pub vmid: Vmid,
    /// Container or virtual machine; none for a kind that is not known here.
    pub kind: Option<GuestKind>,
    /// The node that it is on, when that is not this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Box<str>>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What Proxmox is doing with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// Whether guests are made from it.
    #[serde(default)]
    pub template: bool,
    /// Whether it runs; none for a guest of another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// Whether Proxmox expects a QEMU guest agent in it.
    #[serde(default)]
    pub agent: bool,
    /// A virtual machine's generation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vmgenid: Option<String>,
    /// Its network cards' addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hwaddrs: Vec<HwAddr>,
}

impl ListedGuest {
    /// Of what the root process knows.
    #[must_use]
    pub fn of(vmid: Vmid, info: &GuestInfo) -> Self {
        let GuestInfo { kind, node, name, tags, template, lock, running, agent, vmgenid, hwaddrs, .. } = info.clone();
        let node = match node {
            Node::Here => None,
            Node::Elsewhere(node) => Some(node),
        };
        Self { vmid, kind, node, name, tags, lock, template, running, agent, vmgenid, hwaddrs }
    }

    /// As the controller keeps it.
    #[must_use]
    pub fn info(self) -> (Vmid, GuestInfo) {
        let Self { vmid, kind, node, name, tags, lock, template, running, agent, vmgenid, hwaddrs } = self;
        let node = node.map_or(Node::Here, Node::Elsewhere);
        let more = GuestInfo::default();
        (vmid, GuestInfo { kind, node, name, tags, template, lock, running, agent, vmgenid, hwaddrs, ..more })
    }
}
