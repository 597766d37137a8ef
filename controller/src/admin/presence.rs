//! What Proxmox says of a guest, for the command line.

use pinion_proto::id::Guest;
use serde::{Deserialize, Serialize};

use crate::inventory::{GuestKind, Inventory, Node};

/// What Proxmox says of a guest; nothing where it does not tell of guests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Container or virtual machine.
    pub kind: Option<GuestKind>,
    /// The node that it is on, when that is not this one.
    pub node: Option<String>,
    /// Whether it runs.
    pub running: Option<bool>,
    /// What Proxmox is doing with it.
    pub lock: Option<String>,
    /// Whether guests are made from it.
    #[serde(default)]
    pub template: bool,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether the cluster has no such guest.
    #[serde(default)]
    pub missing: bool,
}

impl Presence {
    /// What the inventory says.
    #[must_use]
    pub fn of(inventory: &Inventory, guest: Guest) -> Self {
        let Guest::Vmid(vmid) = guest else { return Self::default() };
        let Some(info) = inventory.guest(vmid) else {
            return Self { missing: inventory.is_complete(), ..Self::default() };
        };
        Self {
            kind: info.kind,
            node: match &info.node {
                Node::Here => None,
                Node::Elsewhere(node) => Some(node.to_string()),
            },
            running: info.running,
            lock: info.lock.clone(),
            template: info.template,
            tags: info.tags.clone(),
            missing: false,
        }
    }

    /// In a few words: what matters most of it.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        match self.running {
            _ if self.missing => words.push("no such guest".to_owned()),
            _ if self.template => words.push("template".to_owned()),
            Some(true) => words.push("running".to_owned()),
            Some(false) => words.push("stopped".to_owned()),
            None => {}
        }
        words.extend(self.node.iter().map(|node| format!("on {node}")));
        words.extend(self.lock.iter().map(|lock| format!("locked: {lock}")));
        words.join(", ")
    }
}
