//! From a guest's request to a delivery: the requests that are being signed, and the certificates on their way.
//!
//! Invariant: names, key kind and duration come from the manifest; the request gives the key and nothing else.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use pinion_proto::{
    clock::Timestamp,
    content::Content,
    id::PlacementId,
    message::Delivery,
    report::Progress,
    spec::PlainName,
    stage::{Halt, Trouble},
};
use tokio::sync::mpsc;
use tracing::{Instrument, info_span};

use super::{
    Reconciler,
    session::Sent,
    set_back::SKEW,
    shared,
    undelivered::{Documents, Undelivered},
};
use crate::{
    events::{Event, PlacementEvent, What},
    issuer::{IssuerError, Signed, SigningRequest},
    planner::{Order, Plan, Planned, Why},
    rate_limit::{RateLimit, TokenBucket},
    reports::{Link, Reports},
    store::Store,
};

/// How many certificates a placement may have without a person asking: a guest that is built anew over and over needs
/// fewer, and one that throws each away and asks for the next must not use up the CA.
const SIGNED: RateLimit = RateLimit { burst: 10, every: Duration::from_secs(60) };

/// What is being signed and what is on its way.
#[derive(Debug)]
pub(super) struct Signing {
    under_way: HashSet<PlacementId>,
    ready: HashMap<PlacementId, Undelivered>,
    documents: Documents,
    /// What is left to placements that had some signed lately.
    allowed: HashMap<PlacementId, TokenBucket>,
    outcomes: mpsc::UnboundedSender<Outcome>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) id: PlacementId,
    pub(super) generation: u64,
    pub(super) issuer: PlainName,
    /// When the issuer was asked.
    pub(super) asked: Timestamp,
    pub(super) result: Result<Fresh, IssuerError>,
}

/// A certificate that has just been signed.
#[derive(Debug)]
pub(super) struct Fresh {
    undelivered: Undelivered,
    shortened_to: Option<Duration>,
}

impl Signing {
    /// Nothing yet, and where the outcomes come. Their number is bounded by that of the placements.
    pub(super) fn new(store: Arc<Store>) -> (Self, mpsc::UnboundedReceiver<Outcome>) {
        let (outcomes, receiver) = mpsc::unbounded_channel();
        let documents = Documents::new(store);
        let (under_way, ready, allowed) = (HashSet::new(), HashMap::new(), HashMap::new());
        (Self { under_way, ready, documents, allowed, outcomes }, receiver)
    }

    /// These were on their way when the controller stopped.
    pub(super) fn restore(&mut self, undelivered: HashMap<PlacementId, Undelivered>) {
        self.ready = undelivered;
    }

    /// Uses one of the placement's signatures; the moment of the next, when none is left.
    fn allow(&mut self, id: &PlacementId, now: Timestamp) -> Result<(), Timestamp> {
        let left = match self.allowed.entry(id.clone()) {
            Entry::Occupied(left) => left.into_mut(),
            Entry::Vacant(place) => place.insert(SIGNED.full(now)),
        };
        if left.take(now) { Ok(()) } else { Err(left.next()) }
    }

    /// Whether the issuer is still to answer about anything.
    pub(super) fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Whether a certificate is there already that is what the guest asks for, as the manifest is now.
    fn has(&self, id: &PlacementId, planned: &Planned<'_>, reports: &Reports) -> bool {
        self.ready.get(id).is_some_and(|ready| ready.answers(reports.placement(id)) && ready.fits(planned))
    }

    /// Forgets a placement's certificate, here and on disk.
    fn forget(&mut self, id: &PlacementId) {
        let gone = self.ready.remove(id).map(|gone| (id.clone(), gone.delivery.generation));
        self.documents.discard(gone.into_iter().collect());
    }

    /// Forgets certificates of which this does not hold, here and on disk.
    pub(super) fn retain(&mut self, holds: impl Fn(&PlacementId, &Undelivered) -> bool) {
        let mut gone = Vec::new();
        self.ready.retain(|id, ready| {
            let stays = holds(id, ready);
            if !stays {
                gone.push((id.clone(), ready.delivery.generation));
            }
            stays
        });
        self.documents.discard(gone);
    }

    /// Whether the issuer has been asked for this certificate and has not answered.
    pub(super) fn is_under_way(&self, id: &PlacementId) -> bool {
        self.under_way.contains(id)
    }

    /// Whether a certificate is signed for it that the guest has not taken yet.
    pub(super) fn is_ready(&self, id: &PlacementId) -> bool {
        self.ready.contains_key(id)
    }
}

impl Reconciler {
    /// Has a request signed that the plan found good, unless that is happening already. False when the issuer is not
    /// asked, which is noted as a failed attempt: then there is another plan.
    #[must_use]
    pub(super) fn sign(&mut self, id: &PlacementId, planned: &Planned<'_>, order: &Order, now: Timestamp) -> bool {
        if self.signing.is_under_way(id) || self.signing.has(id, planned, &self.reports) {
            return true;
        }
        // Only a certificate is ordered.
        let Content::Leaf(leaf) = planned.content() else { return true };
        self.signing.forget(id);
        if order.why != Why::Requested
            && let Err(next) = self.signing.allow(id, now)
        {
            self.too_many(id, next, now);
            return false;
        }
        let (csr, shared_key) = if leaf.policy.shared {
            match shared::prepare(self, id, leaf, order, now) {
                Some(prepared) => (prepared.csr, Some(prepared.key)),
                None => return false,
            }
        } else {
            let report = self.reports.placement(id).and_then(|entry| entry.report());
            match report.and_then(|report| report.incoming.as_ref()).map(|incoming| &incoming.progress) {
                Some(Progress::Requested(csr)) => (csr.clone(), None),
                _ => return true,
            }
        };
        let request = SigningRequest {
            placement: id.clone(),
            csr,
            common_name: leaf.policy.common_name.clone(),
            names: leaf.names.clone(),
            duration: leaf.policy.duration,
        };
        let kept = self.signing.ready.len() + self.signing.under_way.len();
        let documents = Documents::has_room(kept).then(|| self.signing.documents.clone());
        self.signing.under_way.insert(id.clone());
        let (issuers, issuer) = (self.parts.issuers.clone(), leaf.issuer.clone());
        let (outcomes, id, generation, expires) =
            (self.signing.outcomes.clone(), id.clone(), order.generation, order.expires);
        let (events, clock) = (self.parts.events.clone(), self.parts.clock.clone());
        let common_name = leaf.policy.common_name.clone();
        let span = info_span!("issue", guest = %id.guest, certificate = %id.certificate, generation);
        tokio::spawn(
            async move {
                let result = match issuers.sign(&issuer, request, expires).await {
                    Ok(Signed { chain, root, shortened_to }) => {
                        let (certificate, issuer) = (id.certificate.clone(), issuer.clone());
                        let delivery = Delivery { certificate, generation, chain, root, issuer, shared_key };
                        // Told before it is written down: what a kill in between costs is told too.
                        events.record(issued(&id, &delivery, shortened_to, clock.now()));
                        let undelivered = Undelivered { delivery, common_name };
                        if let Some(documents) = documents {
                            documents.keep(&id, &undelivered).await;
                        }
                        Ok(Fresh { undelivered, shortened_to })
                    }
                    Err(error) => Err(error),
                };
                // The loop is gone only at shutdown.
                outcomes.send(Outcome { id, generation, issuer, asked: now, result }).ok();
            }
            .instrument(span),
        );
        true
    }

    /// A guest that has had one certificate after the other is left alone for a while.
    fn too_many(&mut self, id: &PlacementId, next: Timestamp, now: Timestamp) {
        let trouble = Trouble {
            halt: Halt::Waiting,
            attempt: format!("have {id} signed"),
            cause: format!("the guest had {} certificates signed one after the other and kept none", SIGNED.burst),
            remedy: format!("look at the agent's log in the guest; `pinion ensure {id} --renew` does not wait"),
            retry_at: Some(next),
        };
        let failed = PlacementEvent::NotIssued { generation: None, trouble: trouble.clone() };
        self.event(What::Placement(id.clone(), failed), now);
        let backoff = self.parts.backoff;
        self.reports.attempt_failed(id, trouble, &backoff, now);
        self.signing.allowed.retain(|_, left| !left.is_full(now));
    }

    /// Sends what is ready to guests that are linked, ask for it and have not been sent it. True when a queue was full.
    pub(super) fn deliver(&mut self, plan: &Plan<'_>, now: Timestamp) -> bool {
        if self.signing.ready.is_empty() {
            return false;
        }
        // Signed under a root that only turned out to be a new one when it came.
        let waiting: HashSet<_> =
            plan.placements.iter().filter(|planned| planned.waits_for_root).filter_map(Planned::id).collect();
        let reports = &self.reports;
        // Who is linked is sent it all the same, and says what is wrong with it: a clock may be.
        let linked = |id: &PlacementId| matches!(reports.link(id.guest), Link::Linked { .. });
        self.signing.retain(|id, ready| linked(id) || !ready.is_expired(now));
        let mut full = false;
        for (id, ready) in &self.signing.ready {
            let (entry, delivery) = (self.reports.placement(id), &ready.delivery);
            let on_its_way =
                entry.and_then(|entry| entry.delivery()).is_some_and(|note| note.generation == delivery.generation);
            let held_back = waiting.contains(id) || self.inventory.hands_off(id.guest);
            if on_its_way || !ready.answers(entry) || held_back {
                continue;
            }
            match self.sessions.deliver(id.guest, delivery) {
                Sent::Queued => self.reports.delivery_sent(id, delivery.generation, now),
                Sent::Full => full = true,
                Sent::NotLinked => {}
            }
        }
        full
    }
}

/// Takes the issuer's answer.
pub(super) fn take(reconciler: &mut Reconciler, outcome: Outcome, now: Timestamp) {
    let Outcome { id, generation, issuer, asked, result } = outcome;
    reconciler.signing.under_way.remove(&id);
    match result {
        Ok(Fresh { undelivered, shortened_to }) => {
            reconciler.reports.attempt_succeeded(&id);
            if let Some(most) = shortened_to {
                reconciler.shortened.insert(issuer.clone(), most);
            }
            // A longer life than the limit that was met before: it has been lifted.
            let life = undelivered.delivery.chain.leaf().not_after().since(now);
            if shortened_to.is_none() && reconciler.shortened.get(&issuer).is_some_and(|most| life > *most) {
                reconciler.shortened.remove(&issuer);
            }
            reconciler.note_signed(&id, generation, &issuer, undelivered.delivery.chain.leaf());
            reconciler.signed_under(&issuer, undelivered.delivery.root.fingerprint());
            let guest = id.guest;
            let early = undelivered.delivery.chain.leaf().not_before() > now + SKEW;
            reconciler.signing.ready.insert(id.clone(), undelivered);
            // Signed by a clock that was set back meanwhile: it is of no use to anybody, and there will be another.
            if early && asked > now + SKEW {
                reconciler.signing.forget(&id);
            }
            reconciler.settle(guest);
        }
        // What failed by a clock that was set back meanwhile says nothing about now.
        Err(_) if asked > now + SKEW => reconciler.touch(id.guest),
        Err(error) => {
            let trouble = error.trouble(format!("have {id} signed by {issuer}"), None);
            let backoff = reconciler.parts.backoff;
            reconciler.reports.attempt_failed(&id, trouble.clone(), &backoff, now);
            reconciler.touch(id.guest);
            let failed = PlacementEvent::NotIssued { generation: Some(generation), trouble };
            reconciler.event(What::Placement(id, failed), now);
        }
    }
}

/// That a certificate was signed, for people.
fn issued(id: &PlacementId, delivery: &Delivery, shortened_to: Option<Duration>, now: Timestamp) -> Event {
    let leaf = delivery.chain.leaf();
    let issued = PlacementEvent::Issued {
        issuer: delivery.issuer.clone(),
        generation: delivery.generation,
        serial: leaf.serial().to_owned(),
        not_after: leaf.not_after(),
        shortened_to,
    };
    What::Placement(id.clone(), issued).at(now)
}
