//! Signing: the requests that the plan found good go to their issuers, and no guest uses up a CA.
//!
//! Answers: which certificates is an issuer asked for now?
//! Invariant: names, key kind and duration come from the manifest; the request gives the key and nothing else.

mod shared_key;

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use pinion_proto::{
    clock::Timestamp,
    content::Content,
    id::PlacementId,
    report::Progress,
    spec::{PlainName, Usage},
};

use super::{
    clock_watch::SKEW,
    delivery::{Deliveries, Undelivered},
    effects::{Effects, SignCall},
    timing::SigningTime,
    troubles,
};
use crate::{
    events::{PlacementEvent, What},
    issuer::{IssuerError, SigningRequest},
    manifest::PlacedLeaf,
    planner::{Order, Plan, Planned, Step, Why},
    rate_limit::{RateLimit, TokenBucket},
    store::Store,
    world::{Change, PlacementEntry, World},
};

/// How many certificates a placement may have without a person asking: a guest that is built anew over and over needs
/// fewer, and one that throws each away and asks for the next must not use up the CA.
const SIGNED: RateLimit = RateLimit { burst: 10, every: Duration::from_secs(60) };

/// What is being signed.
#[derive(Debug, Default)]
pub(super) struct Signing {
    /// Each with how often failed attempts had been forgotten when the issuer was asked.
    under_way: HashMap<PlacementId, u64>,
    /// What is left to placements that had some signed lately.
    allowed: HashMap<PlacementId, TokenBucket>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct SigningOutcome {
    pub(super) id: PlacementId,
    pub(super) generation: u64,
    pub(super) issuer: PlainName,
    /// When the issuer was asked.
    pub(super) asked: Timestamp,
    pub(super) result: Result<Fresh, IssuerError>,
    pub(super) took: SigningTime,
}

/// A certificate that has just been signed.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) undelivered: Undelivered,
    pub(super) shortened_to: Option<Duration>,
}

impl Signing {
    /// Asks for what the plan orders. True when some issuer is not asked, which is noted as a failed attempt: then
    /// there is another plan.
    #[must_use]
    pub(super) fn step(
        &mut self,
        world: &World,
        plan: &Plan<'_>,
        deliveries: &mut Deliveries,
        store: &Store,
        effects: &mut Effects,
    ) -> bool {
        let mut outdated = false;
        for (planned, order) in plan.orders() {
            let Some(id) = planned.id().filter(|_| order.step == Step::Sign) else { continue };
            if self.under_way.contains_key(&id) || deliveries.has(&id, planned, world) {
                continue;
            }
            // Only a certificate is ordered.
            let Content::Leaf(leaf) = planned.content() else { continue };
            deliveries.forget(&id, effects);
            if order.why != Why::Requested
                && let Err(next) = self.allow(&id, effects.now())
            {
                effects.trouble(&id, None, troubles::too_many_signed(&id, SIGNED.burst, next));
                self.forget_full(effects.now());
                outdated = true;
                continue;
            }
            match prepare(world, &id, leaf, usage(world, &id, planned), order, store, effects) {
                Prepared::Call(mut call) => {
                    let is_first = world.placement(&id).is_none_or(|entry| entry.attempt().is_none());
                    if let (Why::NotAdopted { because }, true) = (&order.why, is_first) {
                        let what = PlacementEvent::NotAdopted(because.clone());
                        effects.limited_event(Some(id.guest), What::Placement(id.clone(), what));
                    }
                    call.is_kept = deliveries.has_room(self.under_way.len());
                    self.under_way.insert(id.clone(), attempts_forgotten(world, &id));
                    effects.sign(*call);
                }
                Prepared::NothingRequested => {}
                Prepared::Failed => outdated = true,
            }
        }
        outdated
    }

    /// Takes the issuer's answer. Returns the certificate that was signed.
    pub(super) fn take(
        &mut self,
        outcome: SigningOutcome,
        world: &World,
        effects: &mut Effects,
    ) -> Option<Undelivered> {
        let now = effects.now();
        let SigningOutcome { id, generation, issuer, asked, result, took: _ } = outcome;
        let before = self.under_way.remove(&id);
        match result {
            Ok(Fresh { undelivered, shortened_to }) => {
                effects.change(Change::AttemptSucceeded(id));
                // A longer life than the limit that was met before: it has been lifted.
                let life = undelivered.delivery.chain.leaf().not_after().since(now);
                if shortened_to.is_some() || world.shortened().get(&issuer).is_some_and(|limit| life > *limit) {
                    effects.change(Change::Shortened(issuer, shortened_to));
                }
                Some(undelivered)
            }
            // It says nothing about now: the clock was set back meanwhile, or somebody has asked for another try, and what was
            // mended before that may have been the reason.
            Err(_) if asked > now + SKEW || before.is_some_and(|before| before != attempts_forgotten(world, &id)) => {
                effects.save(id.guest);
                None
            }
            Err(error) => {
                let rarely = || error.is_costly().then(|| now + world.backoff().delay(u32::MAX, &id));
                let retry_at = error.retry_at(now, &id).or_else(rarely);
                let trouble = error.trouble(format!("have {id} signed by {issuer}"), retry_at);
                effects.trouble(&id, Some(generation), trouble);
                effects.save(id.guest);
                None
            }
        }
    }

    /// Whether an issuer is still to answer about anything.
    pub(super) fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Whether the issuer has been asked for this certificate and has not answered.
    pub(super) fn is_under_way(&self, id: &PlacementId) -> bool {
        self.under_way.contains_key(id)
    }

    /// Uses one of the placement's signatures; the moment of the next, when none is left.
    fn allow(&mut self, id: &PlacementId, now: Timestamp) -> Result<(), Timestamp> {
        let left = match self.allowed.entry(id.clone()) {
            Entry::Occupied(left) => left.into_mut(),
            Entry::Vacant(place) => place.insert(SIGNED.full(now)),
        };
        if left.take(now) { Ok(()) } else { Err(left.next()) }
    }

    /// Forgets placements to which everything is left.
    fn forget_full(&mut self, now: Timestamp) {
        self.allowed.retain(|_, left| !left.is_full(now));
    }
}

fn attempts_forgotten(world: &World, id: &PlacementId) -> u64 {
    world.placement(id).map_or(0, PlacementEntry::attempts_forgotten)
}

/// What is to be done about an order.
enum Prepared {
    /// The issuer is asked for this.
    Call(Box<SignCall>),
    /// The guest has nothing to be signed.
    NothingRequested,
    /// There is no request; why is noted as a failed attempt.
    Failed,
}

/// Which side of a connection shows the certificate: as the manifest says, or the guest, which has the recipe.
fn usage(world: &World, id: &PlacementId, planned: &Planned<'_>) -> Option<Usage> {
    planned.placement.usage.or_else(|| world.report(id).and_then(|report| report.usage))
}

fn prepare(
    world: &World,
    id: &PlacementId,
    leaf: PlacedLeaf<'_>,
    usage: Option<Usage>,
    order: &Order,
    store: &Store,
    effects: &mut Effects,
) -> Prepared {
    let policy = leaf.policy;
    let (csr, shared_key) = if policy.shared {
        match shared_key::prepare(world, id, leaf, store, effects) {
            Ok(request) => (request.csr, Some(request.key)),
            Err(not_made) => {
                effects.trouble(id, None, not_made.trouble(&id.certificate, order.generation));
                return Prepared::Failed;
            }
        }
    } else {
        match world.report(id).and_then(|report| report.incoming.as_ref()).map(|incoming| &incoming.progress) {
            Some(Progress::Requested(csr)) => (csr.clone(), None),
            _ => return Prepared::NothingRequested,
        }
    };
    let request = SigningRequest {
        placement: id.clone(),
        csr,
        common_name: policy.common_name.clone(),
        names: leaf.names.clone(),
        usage,
        duration: policy.duration,
    };
    Prepared::Call(Box::new(SignCall {
        id: id.clone(),
        generation: order.generation,
        issuer: leaf.policy.issuer.clone(),
        request,
        expires: order.expires,
        must_exceed: order.expires.filter(|_| matches!(order.why, Why::Due { .. })),
        common_name: policy.common_name.clone(),
        shared_key,
        is_kept: false,
    }))
}

#[cfg(test)]
mod tests;
