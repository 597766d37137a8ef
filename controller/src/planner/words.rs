//! Why a placement comes no further, in words for whoever reads them.

use pinion_proto::{
    clock::Timestamp,
    id::Guest,
    stage::{Halt, Trouble},
};

use super::decide::Subject;
use crate::reports::{Link, PlacementEntry};

impl Subject<'_> {
    pub(super) fn unlinked(&self) -> Option<Trouble> {
        let (cause, remedy) = match (self.link, self.guest) {
            (Link::Linked { .. }, _) => return None,
            (Link::Away { since }, Guest::Host) => (
                format!("the agent on the host is not linked since {since}"),
                "Pinion goes on as soon as it is back; is pinion-agent running here?".to_owned(),
            ),
            (Link::Away { since }, Guest::Vmid(vmid)) => (
                format!("the agent of guest {vmid} is not linked since {since}"),
                if self.has_channel() {
                    format!(
                        "Pinion goes on as soon as it is back; `pinion guest enroll {vmid}` looks into the guest and mends its agent"
                    )
                } else {
                    "Pinion goes on as soon as it is back; is the guest running, and pinion-agent in it?".to_owned()
                },
            ),
            (Link::NeverSeen, guest) => {
                let by_hand = format!("`pinion token create --guest {guest}` and `pinion-agent join` bring it in");
                let (whose, how) = match guest {
                    Guest::Host => ("on the host".to_owned(), by_hand),
                    Guest::Vmid(vmid) if self.has_channel() => (
                        format!("of guest {vmid}"),
                        format!("`pinion guest enroll {vmid}` brings it in; by hand {by_hand}"),
                    ),
                    Guest::Vmid(vmid) => (format!("of guest {vmid}"), by_hand),
                };
                (format!("no agent {whose} has linked yet"), format!("{how}; Pinion goes on as soon as it links"))
            }
        };
        Some(Trouble { halt: Halt::Waiting, attempt: self.renewing(), cause, remedy, retry_at: None })
    }

    /// Whether the hypervisor has a way into the guest.
    pub(super) fn has_channel(&self) -> bool {
        let Guest::Vmid(vmid) = self.guest else { return false };
        self.inventory.guest(vmid).is_some_and(|info| info.kind.is_some())
    }

    pub(super) fn misfit(&self, until: Timestamp) -> Trouble {
        let cause = match self.entry.and_then(PlacementEntry::request) {
            Some(Err(error)) => format!("the guest's request is unreadable: {error}"),
            _ => "the guest's request has not the names or the key that the manifest asks for".to_owned(),
        };
        Trouble {
            halt: Halt::Waiting,
            attempt: self.renewing(),
            cause,
            remedy: "Pinion asks again; if it stays so, look at the agent's log and version".to_owned(),
            retry_at: Some(until),
        }
    }

    pub(super) fn out_of_generations(&self) -> Trouble {
        Trouble {
            halt: Halt::Blocked,
            attempt: self.renewing(),
            cause: "the guest says that it has used the last generation number there is".to_owned(),
            remedy: "its ledger is damaged: purge the placement, then place it again".to_owned(),
            retry_at: None,
        }
    }

    pub(super) fn renewing(&self) -> String {
        format!("renew {}", self.label())
    }

    pub(super) fn label(&self) -> String {
        format!("{}@{}", self.certificate.name, self.guest)
    }
}
