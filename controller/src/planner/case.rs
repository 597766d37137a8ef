//! One placement and everything that is known about it: what a policy decides by.

use pinion_proto::{
    clock::Timestamp,
    report::{Held, PlacementReport},
    stage::{Halt, Trouble},
};

use super::{decision::Decision, keys::KeyPlaces, presence::Reach, rollover::Trust};
use crate::{
    manifest::{Certificate, Placement},
    world::{PlacementEntry, SharedKey},
};

/// A placement and everything that is known about it.
pub(super) struct Case<'s> {
    pub(super) certificate: &'s Certificate,
    pub(super) placement: &'s Placement,
    /// Where it is, and the way to there.
    pub(super) reach: Reach<'s>,
    pub(super) entry: Option<&'s PlacementEntry>,
    pub(super) shared_key: Option<&'s SharedKey>,
    /// The certificate is shared, and its placements hold different keys of their own.
    pub(super) keys_differ: bool,
    /// Where the keys are that were there before Pinion.
    pub(super) keys: &'s KeyPlaces<'s>,
    /// What is to be trusted of its issuer, where that is known.
    pub(super) trust: Option<&'s Trust>,
    pub(super) now: Timestamp,
}

/// What a policy decides, and what else the plan says about the placement.
pub(super) struct Verdict {
    pub(super) decision: Decision,
    /// The generation that the guest is to prepare, or to keep preparing.
    pub(super) ordered: Option<u64>,
    /// When to look again if nothing happens; the past means now.
    pub(super) wake_at: Option<Timestamp>,
}

impl Verdict {
    /// A decision for which nothing is ordered and that only an event changes.
    pub(super) fn of(decision: Decision) -> Self {
        Self { decision, ordered: None, wake_at: None }
    }
}

impl<'s> Case<'s> {
    pub(super) fn report(&self) -> Option<&'s PlacementReport> {
        self.entry.and_then(PlacementEntry::report)
    }

    pub(super) fn held(&self) -> Option<&'s Held> {
        self.report()?.held.as_ref()
    }

    pub(super) fn label(&self) -> String {
        format!("{}@{}", self.certificate.name, self.reach.guest)
    }

    /// What is attempted, in a trouble's words.
    pub(super) fn renewing(&self) -> String {
        format!("renew {}", self.label())
    }
}

/// A trouble as a decision.
pub(super) fn held_up(trouble: Trouble) -> Decision {
    match trouble.halt {
        Halt::Waiting => Decision::Wait(trouble),
        Halt::Blocked => Decision::Block(trouble),
    }
}

/// A trouble as a decision, with the moment of the next try.
pub(super) fn held_up_until(trouble: Trouble, retry_at: Timestamp) -> Decision {
    held_up(Trouble { retry_at: Some(retry_at), ..trouble })
}
