//! Whether a pair that was there before Pinion is as good as one that Pinion would order.
//!
//! Answers: what becomes of the pair that a guest has found, and why?
//! Invariant: the guest has judged what only it can see (owners, modes, the service); here it is judged by the manifest and
//! by what the other guests say.

use std::time::Duration;

use pinion_proto::{
    clock::Timestamp,
    length::Length,
    report::{Found, FoundPair, Held},
    spec::AdoptionDecision,
};

use super::{
    case::Case,
    decision::{Decision, Why},
    renewal,
};
use crate::{manifest::PlacedLeaf, world::PlacementEntry};

/// A CA begins a certificate a little before now, and ends it as long after it as was asked for: step-ca by a minute
/// (`backdate`), others by an hour.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// What is known of a pair that was there before Pinion, in a placement that holds nothing.
pub(super) enum Standing<'s> {
    /// Nothing is there, or its guest has not said yet.
    Unknown,
    /// It is as good as one that Pinion would order; when it would be renewed.
    Good(&'s FoundPair, Timestamp),
    /// Why it is replaced.
    Replaced(String),
}

impl<'s> Standing<'s> {
    pub(super) fn of(case: &Case<'s>, leaf: PlacedLeaf<'s>) -> Self {
        if case.held().is_some() || leaf.policy.shared {
            return Self::Unknown;
        }
        let pair = match case.report().and_then(|report| report.found.as_deref()) {
            None => return Self::Unknown,
            Some(Found::Unfit(why)) => return Self::Replaced(why.clone()),
            Some(Found::Good(pair)) => pair,
        };
        match unfit(case, leaf, pair) {
            Ok(renew_at) => Self::Good(pair, renew_at),
            Err(why) => Self::Replaced(why),
        }
    }

    /// Why a certificate is needed, where nothing is held.
    pub(super) fn why(&self) -> Why {
        match self {
            Self::Replaced(because) => Why::NotAdopted { because: because.clone() },
            Self::Unknown | Self::Good(..) => Why::Missing,
        }
    }
}

/// When a pair would be renewed, or why it is not adopted.
fn unfit(case: &Case<'_>, leaf: PlacedLeaf<'_>, pair: &FoundPair) -> Result<Timestamp, String> {
    if !case.placement.adopt {
        return Err("the manifest says `\"adopt\": false`".to_owned());
    }
    if is_renewal_asked(case) {
        return Err("a renewal was requested".to_owned());
    }
    if case.trust.is_some_and(|trust| trust.roots.iter().all(|root| root.fingerprint() != pair.root)) {
        return Err(format!("its root is none of {}'s", leaf.policy.issuer));
    }
    let held = Held {
        generation: 0,
        leaf: pair.leaf.clone(),
        issuer: leaf.policy.issuer.clone(),
        common_name: None,
        root: Some(pair.root),
        chain_ends: Some(pair.chain_ends),
        adopted: true,
    };
    if let Some(changed) = renewal::changed(leaf, &held) {
        return Err(changed.to_string());
    }
    let life = pair.leaf.not_after().since(pair.leaf.not_before());
    if life > leaf.policy.duration + BACKDATED {
        let (life, duration) = (Length(life), Length(leaf.policy.duration));
        return Err(format!("it is valid for {life}, longer than the duration of {duration} in the manifest"));
    }
    if let Some(other) = case.keys.elsewhere(held.leaf.key(), case.reach.guest, &case.certificate.name) {
        return Err(format!("its private key is also at {other}"));
    }
    let renew_at = renewal::renew_at(&case.certificate.name, leaf.policy, case.reach.guest, &held);
    if renew_at <= case.now {
        return Err(format!("it is due for renewal since {renew_at}"));
    }
    Ok(renew_at)
}

/// Whether a good pair may be adopted: the placement holds nothing, has a key of its own, and nobody wants it replaced.
pub(super) fn is_open(case: &Case<'_>, leaf: PlacedLeaf<'_>) -> bool {
    case.held().is_none() && !leaf.policy.shared && case.placement.adopt && !is_renewal_asked(case)
}

fn is_renewal_asked(case: &Case<'_>) -> bool {
    case.entry.and_then(PlacementEntry::renew_above).is_some()
}

/// What to tell the guest; none if the placement holds something already, or its key is shared.
pub(super) fn told(
    case: &Case<'_>,
    leaf: PlacedLeaf<'_>,
    standing: &Standing<'_>,
    decision: &Decision,
) -> Option<AdoptionDecision> {
    if case.held().is_some() || leaf.policy.shared {
        return None;
    }
    Some(match (decision, standing) {
        (Decision::Adopt(adopt), _) => AdoptionDecision::Adopt(adopt.leaf),
        (_, Standing::Replaced(_)) => AdoptionDecision::Replace,
        _ if !is_open(case, leaf) => AdoptionDecision::Replace,
        _ => AdoptionDecision::Undecided,
    })
}
