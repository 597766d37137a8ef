//! What Proxmox says of a guest, for the command line.

use pinion_proto::id::Guest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::inventory::{GuestKind, Inventory, Node};

/// What Proxmox says of a guest; nothing where it does not tell of guests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Presence {
    /// Container or virtual machine.
    pub kind: Option<GuestKind>,
    /// The node that it is on, when that is not this one.
    pub node: Option<String>,
    /// Whether it runs.
    pub running: Option<bool>,
    /// The lock that Proxmox has on it, such as `backup`; null if none.
    pub lock: Option<String>,
    /// Whether it is a template.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pinion_proto::id::Vmid;

    use super::*;
    use crate::inventory::GuestInfo;

    fn of(info: GuestInfo) -> Presence {
        let vmid = Vmid::try_from(101).expect("a VMID");
        Presence::of(&Inventory::complete(BTreeMap::from([(vmid, info)]), &BTreeMap::new()), Guest::Vmid(vmid))
    }

    #[test]
    fn what_matters_most_of_a_guest_comes_first() {
        let running = GuestInfo { running: Some(true), ..GuestInfo::default() };
        for (info, words) in [
            (GuestInfo::default(), ""),
            (running.clone(), "running"),
            (GuestInfo { running: Some(false), ..GuestInfo::default() }, "stopped"),
            // A template never runs, whatever is said.
            (GuestInfo { template: true, ..running.clone() }, "template"),
            (GuestInfo { lock: Some("backup".into()), ..running.clone() }, "running, locked: backup"),
            (
                GuestInfo { node: Node::Elsewhere("pve2".into()), lock: Some("migrate".into()), ..running },
                "running, on pve2, locked: migrate",
            ),
        ] {
            assert_eq!(of(info.clone()).words(), words, "{info:?}");
        }
    }

    #[test]
    fn a_guest_is_missing_only_from_a_list_of_all() {
        let other = "102".parse().expect("a guest");
        let of = |inventory: Inventory| Presence::of(&inventory, other).missing;
        assert!(of(Inventory::complete(BTreeMap::new(), &BTreeMap::new())));
        assert!(!of(Inventory::from_names(BTreeMap::new())));
        assert_eq!(
            Presence::of(&Inventory::complete(BTreeMap::new(), &BTreeMap::new()), Guest::Host),
            Presence::default()
        );
        let missing = Presence { missing: true, ..Presence::default() };
        assert_eq!(missing.words(), "no such guest");
    }
}
