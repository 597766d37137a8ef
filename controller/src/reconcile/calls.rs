//! Calls to issuers, each in a task of its own, beside the loop.
//!
//! Invariant: what is signed is recorded and written before its guest can have it. The outcome comes back to the loop,
//! which is gone only at shutdown.

use std::{sync::Arc, time::Duration};

use pinion_proto::{clock::Timestamp, id::PlacementId, message::Delivery};
use tokio::{sync::mpsc, time::Instant};
use tracing::{Instrument, info_span};

use super::{
    delivery::{self, Documents, Undelivered},
    effects::{RevokeCall, SignCall},
    resources::Resources,
    revocation::RevocationOutcome,
    signing::{Fresh, SigningOutcome},
    timing::SigningTime,
};
use crate::{
    events::{Event, PlacementEvent, What},
    issuer::{Issuers, Signed, gain::serves_longer},
    store::Store,
};

/// The ways back to the loop.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) signed: mpsc::UnboundedSender<SigningOutcome>,
    pub(super) revoked: mpsc::UnboundedSender<RevocationOutcome>,
}

impl Calls {
    /// Has a certificate signed.
    pub(super) fn sign(&self, call: SignCall, asked: Timestamp, resources: &Resources) {
        let SignCall { id, generation, issuer, request, expires, must_exceed, common_name, shared_key, is_kept } = call;
        let (issuers, events, clock) = (resources.issuers.clone(), resources.events.clone(), resources.clock.clone());
        let documents = is_kept.then(|| Documents::new(resources.store.clone()));
        let outcomes = self.signed.clone();
        let span = info_span!("issue", guest = %id.guest, certificate = %id.certificate, generation);
        let task = async move {
            let began = Instant::now();
            let (signed, queued) = issuers.sign_timed(&issuer, request, expires).await;
            let called = began.elapsed().saturating_sub(queued);
            let signed = signed.and_then(|signed| match must_exceed {
                Some(held) => serves_longer(&id, &issuer, &signed, held).map(|()| signed),
                None => Ok(signed),
            });
            let result = match signed {
                Ok(Signed { chain, root, shortened_to }) => {
                    let (certificate, issuer) = (id.certificate.clone(), issuer.clone());
                    let delivery = Delivery { certificate, generation, chain, root, issuer, shared_key };
                    // Recorded before it is written: what a kill in between costs is recorded too.
                    events.record(issued(&id, &delivery, shortened_to, clock.now()));
                    let undelivered = Undelivered { delivery, common_name };
                    if let Some(documents) = documents {
                        documents.write(&id, &undelivered).await;
                    }
                    Ok(Fresh { undelivered, shortened_to })
                }
                Err(error) => Err(error),
            };
            let took = SigningTime { queued, called, whole: began.elapsed() };
            outcomes.send(SigningOutcome { id, generation, issuer, asked, result, took }).ok();
        };
        tokio::spawn(task.instrument(span));
    }

    /// Has a certificate revoked.
    pub(super) fn revoke(&self, call: RevokeCall, issuers: &Arc<Issuers>) {
        let RevokeCall { id, serial, issuer, why, not_after } = call;
        let (issuers, outcomes) = (issuers.clone(), self.revoked.clone());
        tokio::spawn(async move {
            let result = issuers.revoke(&issuer, &serial, why, not_after).await;
            // Without an answer it is asked for once more after the next start.
            outcomes.send(RevocationOutcome { id, serial, result }).ok();
        });
    }

    /// Removes the document of a certificate that is on its way no longer, without waiting for it.
    pub(super) fn discard(&self, id: PlacementId, generation: u64, store: &Arc<Store>) {
        let store = store.clone();
        tokio::task::spawn_blocking(move || delivery::remove(&store, &id, generation));
    }
}

/// That a certificate was signed, for people.
fn issued(id: &PlacementId, delivery: &Delivery, shortened_to: Option<Duration>, now: Timestamp) -> Event {
    let leaf = delivery.chain.leaf();
    let issued = PlacementEvent::Issued {
        issuer: delivery.issuer.clone(),
        generation: delivery.generation,
        serial: leaf.serial().to_owned(),
        not_after: delivery.chain.expires(),
        shortened_to,
    };
    What::Placement(id.clone(), issued).at(now)
}
