//! What is known of a guest.
//!
//! Invariant: a guest that only a name is known of says nothing else; what Proxmox has not reported is none, not a guess.

use std::fmt;

use pinion_proto::hwaddr::HwAddr;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a guest is to Proxmox: which of its tools reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GuestKind {
    /// An LXC container, which `pct` manages.
    Lxc,
    /// A virtual machine: `qm`, and the QEMU guest agent in it.
    Qemu,
}

impl GuestKind {
    /// Proxmox's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lxc => "lxc",
            Self::Qemu => "qemu",
        }
    }

    /// The host's command for guests of this kind.
    #[must_use]
    pub fn tool(self) -> &'static str {
        match self {
            Self::Lxc => "pct",
            Self::Qemu => "qm",
        }
    }
}

impl fmt::Display for GuestKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// On which node of the cluster a guest is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Node {
    /// On this one, or nobody says otherwise.
    #[default]
    Here,
    /// On another, whose controller sees to it.
    Elsewhere(Box<str>),
}

/// What is known of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestInfo {
    /// Container or virtual machine.
    pub kind: Option<GuestKind>,
    /// The node of the cluster that the guest is on.
    pub node: Node,
    /// Its name in Proxmox, as it is written there.
    pub name: Option<String>,
    /// Its tags, as they are written.
    pub tags: Vec<String>,
    /// Whether guests are made from it, and it never runs.
    pub template: bool,
    /// What Proxmox is doing with it: `backup`, `snapshot`, `migrate`…
    pub lock: Option<String>,
    /// Whether it runs; none while nobody has said.
    pub running: Option<bool>,
    /// Whether its root is not the host's.
    pub unprivileged: bool,
    /// Whether Proxmox expects a QEMU guest agent in it.
    pub agent: bool,
    /// A virtual machine's generation id, another one after a clone or rollback; lower-case.
    pub vmgenid: Option<String>,
    /// Its network cards' addresses, in the order of the cards.
    pub hwaddrs: Vec<HwAddr>,
    /// What its configuration says of the system in it: `debian`, `l26`…
    pub ostype: Option<String>,
    /// Its processor, where it says: `amd64`, `aarch64`…
    pub arch: Option<String>,
}

impl GuestInfo {
    /// Whether it has a tag; Proxmox does not tell tags apart by their case.
    #[must_use]
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| own.eq_ignore_ascii_case(tag))
    }

    /// Whether it is on this node.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.node == Node::Here
    }

    /// Whether it may run now, as far as anybody knows.
    #[must_use]
    pub fn may_run(&self) -> bool {
        self.running != Some(false) && !self.template
    }

    /// Whether a backup of it is being made, during which nothing is changed in it.
    #[must_use]
    pub fn is_backed_up(&self) -> bool {
        self.lock.as_deref() == Some("backup")
    }
}
