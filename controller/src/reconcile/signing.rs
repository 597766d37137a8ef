//! From a guest's request to a delivery: the requests that are being signed, and the certificates on their way.
//!
//! Invariant: names, key kind and duration come from the manifest; the request gives the key and nothing else.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use pinion_proto::{
    clock::Timestamp,
    id::{Guest, PlacementId},
    message::Delivery,
    report::Progress,
    spec::PlainName,
    stage::{Halt, Trouble},
};
use tokio::sync::mpsc;
use tracing::{Instrument, info_span};
use zeroize::Zeroizing;

use super::{Reconciler, session::Sent, shared};
use crate::{
    allowance::{Allowance, Left},
    events::{Event, Kind},
    issuer::{IssuerError, Signed, SigningRequest},
    planner::{Order, Planned, Why},
};

/// How many certificates a placement may have without a person asking: a guest that is built anew over and over needs
/// fewer, and one that throws each away and asks for the next must not use up the CA.
const SIGNED: Allowance = Allowance { most: 10, every: Duration::from_secs(60) };

/// What is being signed and what is on its way.
#[derive(Debug)]
pub(super) struct Signing {
    under_way: HashMap<PlacementId, u64>,
    ready: HashMap<PlacementId, Delivery>,
    /// What is left to placements that had some signed lately.
    allowed: HashMap<PlacementId, Left>,
    outcomes: mpsc::UnboundedSender<Outcome>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) id: PlacementId,
    pub(super) generation: u64,
    pub(super) issuer: PlainName,
    pub(super) shared_key: Option<Zeroizing<Vec<u8>>>,
    pub(super) result: Result<Signed, IssuerError>,
}

impl Signing {
    /// Nothing yet, and where the outcomes come. Their number is bounded by that of the placements.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Outcome>) {
        let (outcomes, receiver) = mpsc::unbounded_channel();
        (Self { under_way: HashMap::new(), ready: HashMap::new(), allowed: HashMap::new(), outcomes }, receiver)
    }

    /// Whether something is being signed or waits to be delivered for this generation.
    pub(super) fn knows(&self, id: &PlacementId, generation: u64) -> bool {
        self.under_way.contains_key(id) || self.ready.get(id).is_some_and(|ready| ready.generation == generation)
    }

    /// Uses one of the placement's signatures; the moment of the next, when none is left.
    fn allow(&mut self, id: &PlacementId, now: Timestamp) -> Result<(), Timestamp> {
        let left = match self.allowed.entry(id.clone()) {
            Entry::Occupied(left) => left.into_mut(),
            Entry::Vacant(place) => place.insert(SIGNED.whole(now)),
        };
        if left.take(now) { Ok(()) } else { Err(left.next()) }
    }

    /// A certificate is ready to be delivered.
    pub(super) fn ready(&mut self, id: PlacementId, delivery: Delivery) {
        self.ready.insert(id, delivery);
    }

    /// Forgets deliveries of a guest of which `arrived` holds.
    pub(super) fn forget_arrived(&mut self, guest: Guest, arrived: impl Fn(&PlacementId, u64) -> bool) {
        self.ready.retain(|id, delivery| id.guest != guest || !arrived(id, delivery.generation));
    }

    /// Whether the issuer has been asked for this certificate and has not answered.
    pub(super) fn is_under_way(&self, id: &PlacementId) -> bool {
        self.under_way.contains_key(id)
    }

    /// Whether a certificate is signed for it that the guest has not taken yet.
    pub(super) fn is_ready(&self, id: &PlacementId) -> bool {
        self.ready.contains_key(id)
    }
}

impl Reconciler {
    /// Has a request signed that the plan found good, unless that is happening already.
    pub(super) fn sign(&mut self, id: &PlacementId, planned: &Planned<'_>, order: &Order, now: Timestamp) {
        if self.signing.knows(id, order.generation) {
            return;
        }
        if order.why != Why::Requested
            && let Err(next) = self.signing.allow(id, now)
        {
            return self.too_many(id, next, now);
        }
        let certificate = planned.certificate;
        let (csr, shared_key) = if certificate.shared {
            match shared::prepare(self, id, planned, order, now) {
                Some(prepared) => (prepared.csr, Some(prepared.key)),
                None => return,
            }
        } else {
            let report = self.reports.placement(id).and_then(|entry| entry.report());
            match report.and_then(|report| report.incoming.as_ref()).map(|incoming| &incoming.progress) {
                Some(Progress::Requested(csr)) => (csr.clone(), None),
                _ => return,
            }
        };
        let request = SigningRequest {
            placement: id.clone(),
            csr,
            common_name: certificate.common_name.clone(),
            names: planned.placement.names.clone(),
            duration: certificate.duration,
        };
        self.signing.under_way.insert(id.clone(), order.generation);
        let (issuers, issuer) = (self.parts.issuers.clone(), certificate.issuer.clone());
        let (outcomes, id, generation, expires) =
            (self.signing.outcomes.clone(), id.clone(), order.generation, order.expires);
        let span = info_span!("issue", guest = %id.guest, certificate = %id.certificate, generation);
        tokio::spawn(
            async move {
                let result = issuers.sign(&issuer, request, expires).await;
                // The loop is gone only at shutdown.
                outcomes.send(Outcome { id, generation, issuer, shared_key, result }).ok();
            }
            .instrument(span),
        );
    }

    /// A guest that has had one certificate after the other is left alone for a while.
    fn too_many(&mut self, id: &PlacementId, next: Timestamp, now: Timestamp) {
        let trouble = Trouble {
            halt: Halt::Waiting,
            attempt: format!("have {id} signed"),
            cause: format!("the guest had {} certificates signed one after the other and kept none", SIGNED.most),
            remedy: format!("look at the agent's log in the guest; `pinion ensure {id} --renew` does not wait"),
            retry_at: Some(next),
        };
        let text = format!("{id}: {trouble}");
        self.event(Event::new(now, Kind::Failed, text).guest(id.guest).certificate(&id.certificate));
        let backoff = self.parts.backoff;
        self.reports.attempt_failed(id, trouble, &backoff, now);
        self.signing.allowed.retain(|_, left| !left.is_whole(now));
    }

    /// Sends what is ready to guests that are linked and have not been sent it. True when a queue was full.
    pub(super) fn deliver(&mut self, now: Timestamp) -> bool {
        let mut full = false;
        for (id, delivery) in &self.signing.ready {
            let on_its_way = self
                .reports
                .placement(id)
                .and_then(|entry| entry.delivery())
                .is_some_and(|note| note.generation == delivery.generation);
            if on_its_way || self.inventory.hands_off(id.guest) {
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
    let Outcome { id, generation, issuer, shared_key, result } = outcome;
    reconciler.signing.under_way.remove(&id);
    match result {
        Ok(signed) => {
            reconciler.reports.attempt_succeeded(&id);
            let leaf = signed.chain.leaf();
            let mut text = format!("{issuer} signed {id}, valid until {}", leaf.not_after());
            if let Some(most) = signed.shortened_to {
                reconciler.shortened.insert(issuer.clone(), most);
                text += &format!(", shortened to the {} that it allows", humantime::format_duration(whole(most)));
            }
            // A longer life than the limit that was met before: it has been lifted.
            let life = leaf.not_after().since(now);
            if signed.shortened_to.is_none() && reconciler.shortened.get(&issuer).is_some_and(|most| life > *most) {
                reconciler.shortened.remove(&issuer);
            }
            let event = Event::new(now, Kind::Issued, text).guest(id.guest).certificate(&id.certificate);
            reconciler.event(event.generation(generation).serial(leaf.serial()));
            let delivery = Delivery {
                certificate: id.certificate.clone(),
                generation,
                chain: signed.chain,
                root: signed.root,
                issuer,
                shared_key,
            };
            reconciler.signing.ready(id, delivery);
        }
        Err(error) => {
            let trouble = error.trouble(format!("have {id} signed by {issuer}"), None);
            let backoff = reconciler.parts.backoff;
            reconciler.reports.attempt_failed(&id, trouble.clone(), &backoff, now);
            let text = format!("{id}: {trouble}");
            let event = Event::new(now, Kind::Failed, text).guest(id.guest).certificate(&id.certificate);
            reconciler.event(event.generation(generation));
            reconciler.touch(id.guest);
        }
    }
}

/// Whole seconds, for people.
fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}
