//! Whether a guest can take anything now, by what Proxmox says and by its agent's link.
//!
//! Asked only when something is to be done: a guest that is stopped while all is well with its certificates is no
//! trouble.

use pinion_proto::{
    id::{Guest, Vmid},
    stage::{Halt, Trouble},
};

use crate::{
    inventory::{GuestInfo, GuestKind, Inventory, Node},
    world::Link,
};

/// What is known of the way to a guest.
#[derive(Clone, Copy)]
pub(super) struct Reach<'s> {
    pub(super) guest: Guest,
    pub(super) inventory: &'s Inventory,
    pub(super) link: Link,
    /// What keeps the hypervisor from bringing an agent into the guest.
    pub(super) enrolment: Option<&'s Trouble>,
}

/// Why a guest takes nothing now, in words.
pub(super) struct Unreachable {
    pub(super) trouble: Trouble,
    /// The guest is not to keep anything ready either.
    pub(super) lets_go: bool,
}

impl Reach<'_> {
    /// Why the guest takes nothing now, in the words of what is attempted; none when it can.
    pub(super) fn unreachable(&self, attempt: String) -> Option<Unreachable> {
        if let (Guest::Vmid(vmid), Some(absence)) = (self.guest, self.absence()) {
            return Some(Unreachable { trouble: absence.trouble(attempt, vmid), lets_go: absence.lets_go() });
        }
        let unlinked = self.unlinked(attempt)?;
        let trouble = match self.enrolment {
            Some(enrolment) => Trouble { attempt: unlinked.attempt, ..enrolment.clone() },
            None => unlinked,
        };
        Some(Unreachable { trouble, lets_go: false })
    }

    /// Whether Proxmox says that there is no such guest.
    pub(super) fn is_no_guest(&self) -> bool {
        self.absence() == Some(Absence::NoSuchGuest)
    }

    fn absence(&self) -> Option<Absence<'_>> {
        absence(self.inventory, self.guest, self.link)
    }

    fn unlinked(&self, attempt: String) -> Option<Trouble> {
        let (cause, remedy) = match (self.link, self.guest) {
            (Link::Linked { .. }, _) => return None,
            (Link::Away { since }, Guest::Host) => (
                format!("the agent on the host is not linked since {since}"),
                "start it (`systemctl start pinion-agent` on this host); Pinion continues as soon as it links"
                    .to_owned(),
            ),
            (Link::Away { since }, Guest::Vmid(vmid)) => (
                format!("the agent of guest {vmid} is not linked since {since}"),
                if self.has_channel() {
                    format!(
                        "Pinion continues as soon as it links; to check the guest and repair its agent, run `pinion \
                         guest enroll {vmid}`"
                    )
                } else {
                    "start the guest, and pinion-agent in it (`systemctl start pinion-agent`); Pinion continues as \
                     soon as it links"
                        .to_owned()
                },
            ),
            (Link::NeverSeen, guest) => {
                let by_hand = format!(
                    "run `pinion token create --guest {guest}` here and `pinion-agent join` in the \
                    guest"
                );
                let (whose, how) = match guest {
                    Guest::Host => ("on the host".to_owned(), by_hand),
                    Guest::Vmid(vmid) if self.has_channel() => {
                        (format!("of guest {vmid}"), format!("run `pinion guest enroll {vmid}`; or by hand {by_hand}"))
                    }
                    Guest::Vmid(vmid) => (format!("of guest {vmid}"), by_hand),
                };
                (format!("no agent {whose} has linked yet"), format!("{how}; Pinion continues as soon as it links"))
            }
        };
        Some(Trouble { halt: Halt::Waiting, attempt, cause, remedy, retry_at: None })
    }

    /// Whether the hypervisor has a way into the guest.
    fn has_channel(&self) -> bool {
        let Guest::Vmid(vmid) = self.guest else { return false };
        self.inventory.guest(vmid).is_some_and(|info| info.kind.is_some())
    }
}

/// Why a guest takes nothing now, as Proxmox says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence<'i> {
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
fn absence<'i>(inventory: &'i Inventory, guest: Guest, link: Link) -> Option<Absence<'i>> {
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
    fn lets_go(self) -> bool {
        matches!(self, Self::NoSuchGuest | Self::Elsewhere(_) | Self::Template)
    }

    /// As the trouble of what was attempted.
    fn trouble(self, attempt: String, vmid: Vmid) -> Trouble {
        let (halt, cause, remedy) = match self {
            Self::NoSuchGuest => (
                Halt::Blocked,
                format!("no guest {vmid} on this cluster"),
                format!("correct the manifest, or create the guest; Pinion continues as soon as Proxmox lists {vmid}"),
            ),
            Self::Elsewhere(node) => (
                Halt::Waiting,
                format!("guest {vmid} is on node {node}"),
                "nothing: the controller of that node serves it; Pinion continues here when it returns".to_owned(),
            ),
            Self::Template => (
                Halt::Blocked,
                format!("guest {vmid} is a template, which never runs"),
                "remove the placement from the manifest, or name the guests that are cloned from the template"
                    .to_owned(),
            ),
            Self::Locked { lock, kind } => {
                let tool = kind.map_or("pct or qm", GuestKind::tool);
                (
                    Halt::Waiting,
                    format!("Proxmox has guest {vmid} locked: {lock}"),
                    format!(
                        "nothing: Pinion continues as soon as that is over; if the lock was left behind, remove it \
                         with `{tool} unlock {vmid}`"
                    ),
                )
            }
            Self::Stopped => (
                Halt::Waiting,
                format!("guest {vmid} is stopped"),
                "start it; Pinion continues as soon as its agent links".to_owned(),
            ),
        };
        Trouble { halt, attempt, cause, remedy, retry_at: None }
    }
}
