//! One placement and everything that is known about it: what a policy decides by.

use pinion_proto::{
    bundle::CertificateRequest,
    clock::Timestamp,
    report::{Held, Incoming, PlacementReport, Progress},
    stage::{Halt, Trouble},
};

use super::{
    decision::{Decision, Why},
    misfit::misfit,
    presence::Reach,
    renewal,
    rollover::Trust,
};
use crate::{
    manifest::{Certificate, PlacedLeaf, Placement},
    reports::{PlacementEntry, SharedKey},
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
    /// What is to be trusted of its issuer, where that is known.
    pub(super) trust: Option<&'s Trust>,
    pub(super) now: Timestamp,
}

/// A placement of a certificate, and what follows from its guest's report.
pub(super) struct LeafCase<'c, 's> {
    pub(super) case: &'c Case<'s>,
    pub(super) leaf: PlacedLeaf<'s>,
    pub(super) held: Option<&'s Held>,
    /// When what is held is renewed.
    pub(super) renew_at: Option<Timestamp>,
    /// Why a new generation is needed, if one is.
    pub(super) why: Option<Why>,
    /// The generation of the guest's request, where that can be signed as the manifest is now.
    pub(super) requested: Option<u64>,
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

impl<'c, 's> LeafCase<'c, 's> {
    pub(super) fn new(case: &'c Case<'s>, leaf: PlacedLeaf<'s>) -> Self {
        let held = case.held();
        let renew_at =
            held.map(|held| renewal::renew_at(&case.certificate.name, leaf.policy, case.reach.guest, &held.leaf));
        let why = renewal::why(case, leaf, held, renew_at);
        let mut leaf_case = Self { case, leaf, held, renew_at, why, requested: None };
        leaf_case.requested = leaf_case.fitting_request();
        leaf_case
    }

    /// What is on its way, unless it is older than what is held.
    pub(super) fn incoming(&self) -> Option<&'s Incoming> {
        let incoming = self.case.report()?.incoming.as_ref()?;
        self.held.is_none_or(|held| incoming.generation > held.generation).then_some(incoming)
    }

    fn fitting_request(&self) -> Option<u64> {
        let incoming = self.incoming()?;
        let Progress::Requested(der) = &incoming.progress else { return None };
        let fits = |request: &CertificateRequest| misfit(request, self.leaf).is_none();
        let good = match (self.leaf.policy.shared, self.case.entry?.request()) {
            (true, None) => der.is_empty(),
            (false, Some(Ok(request))) => fits(request),
            _ => false,
        };
        good.then_some(incoming.generation)
    }

    /// The generation that the last delivery was of, whether or not it has come.
    pub(super) fn delivered(&self) -> Option<u64> {
        self.case.entry.and_then(PlacementEntry::delivery).map(|delivery| delivery.generation)
    }

    /// The generation that must be exceeded, when a renewal was asked for.
    pub(super) fn renew_above(&self) -> Option<u64> {
        self.case.entry.and_then(PlacementEntry::renew_above)
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
