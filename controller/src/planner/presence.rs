//! Whether a guest is there to take anything, as Proxmox tells it.
//!
//! Asked only when something is to be done: a guest that is stopped while all is well with its certificates is no
//! trouble.

use pinion_proto::{
    id::{Guest, Vmid},
    stage::{Halt, Trouble},
};

use crate::{
    inventory::{GuestInfo, GuestKind, Inventory, Node},
    reports::Link,
};

/// Why a guest takes nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absence<'i> {
    /// The cluster has no such guest.
    NoSuchGuest,
    /// Another node's controller sees to it.
    Elsewhere(&'i str),
    /// It never runs.
    Template,
    /// Proxmox is doing something with it.
    Locked { lock: &'i str, kind: Option<GuestKind> },
    /// It does not run.
    Stopped,
}

/// Why a guest takes nothing now, if Proxmox says so. An agent that is linked knows better what runs, but not where
/// it should be or that a backup is made of it.
pub(super) fn absence<'i>(inventory: &'i Inventory, guest: Guest, link: Link) -> Option<Absence<'i>> {
    let Guest::Vmid(vmid) = guest else { return None };
    let linked = matches!(link, Link::Linked { .. });
    let Some(info) = inventory.guest(vmid) else {
        return (inventory.is_complete() && !linked).then_some(Absence::NoSuchGuest);
    };
    if let Node::Elsewhere(node) = &info.node {
        return Some(Absence::Elsewhere(node));
    }
    let GuestInfo { kind, lock, template, running, .. } = info;
    match lock {
        Some(lock) if !linked || info.is_backed_up() => return Some(Absence::Locked { lock, kind: *kind }),
        _ => {}
    }
    match (linked, *template, *running) {
        (true, ..) => None,
        (false, true, _) => Some(Absence::Template),
        (false, false, Some(false)) => Some(Absence::Stopped),
        (false, false, _) => None,
    }
}

impl Absence<'_> {
    /// Whether the guest is not this controller's to order anything from.
    pub(super) fn lets_go(self) -> bool {
        matches!(self, Self::NoSuchGuest | Self::Elsewhere(_) | Self::Template)
    }

    /// As the trouble of what was attempted.
    pub(super) fn trouble(self, attempt: String, vmid: Vmid) -> Trouble {
        let (halt, cause, remedy) = match self {
            Self::NoSuchGuest => (
                Halt::Blocked,
                format!("no guest {vmid} on this cluster"),
                format!("correct the manifest, or make the guest; Pinion goes on as soon as Proxmox lists {vmid}"),
            ),
            Self::Elsewhere(node) => (
                Halt::Waiting,
                format!("guest {vmid} is on node {node}"),
                "the controller there sees to it; Pinion goes on here when it comes back".to_owned(),
            ),
            Self::Template => (
                Halt::Blocked,
                format!("guest {vmid} is a template, which never runs"),
                "take the placement out of the manifest, or name the guests that are made from it".to_owned(),
            ),
            Self::Locked { lock, kind } => {
                let tool = kind.map_or("pct or qm", GuestKind::tool);
                (
                    Halt::Waiting,
                    format!("Proxmox has guest {vmid} locked: {lock}"),
                    format!(
                        "Pinion goes on as soon as that is over; `{tool} unlock {vmid}` removes a lock that was left behind"
                    ),
                )
            }
            Self::Stopped => (
                Halt::Waiting,
                format!("guest {vmid} is stopped"),
                "Pinion goes on as soon as it is started and its agent links".to_owned(),
            ),
        };
        Trouble { halt, attempt, cause, remedy, retry_at: None }
    }
}
