//! What is to be revoked, as it is written: a document for each placement.
//!
//! Invariant: a document that cannot be understood is told and passed over; what its issuer does not revoke any more is
//! forgotten.

use pinion_proto::{bundle::Fingerprint, causes::chain, clock::Timestamp, id::PlacementId};
use serde::{Deserialize, Serialize};

use super::{Issued, Revocations};
use crate::{
    events::{Document, Events, HostEvent, What},
    issuer::Issuers,
    store::{Area, Store},
};

const DIRECTORY: &str = "replaced";

/// What is written of a placement.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::reconcile) struct Record {
    pub(super) placement: PlacementId,
    pub(super) issued: Vec<Issued>,
}

impl Revocations {
    /// What was to be revoked when the controller stopped.
    pub(in crate::reconcile) fn restore(store: &Store, issuers: &Issuers, events: &Events, now: Timestamp) -> Self {
        let mut revocations = Self::default();
        let unreadable = |error: &dyn std::error::Error| {
            events.record(What::Host(HostEvent::Unreadable(Document::Revocations, chain(error))).at(now));
        };
        let documents = store.list(Area::Local, DIRECTORY).unwrap_or_else(|error| {
            unreadable(&error);
            Vec::new()
        });
        for document in documents {
            let document = format!("{DIRECTORY}/{document}");
            match store.read::<Record>(Area::Local, &document) {
                Ok(Some(Record { placement, issued })) if name(&placement) == document => {
                    // Also those without a certificate that is still of interest are written, which removes them.
                    revocations.unwritten.insert(placement.clone());
                    for mut one in issued.into_iter().filter(|one| issuers.can_revoke(&one.issuer)) {
                        // Somebody may have changed the configuration since.
                        one.when_replaced = one.compromised || issuers.revokes_replaced(&one.issuer);
                        revocations.note(&placement, one);
                    }
                }
                Ok(_) => {}
                Err(error) => unreadable(&error),
            }
        }
        revocations
    }

    /// What has changed since it was written: none stands for a document that is not needed any more.
    pub(in crate::reconcile) fn take_unwritten(&mut self) -> Vec<(String, Option<Record>)> {
        let changed = std::mem::take(&mut self.unwritten).into_iter();
        let document = |id: PlacementId| {
            let issued = self.issued.get(&id).cloned();
            (name(&id), issued.map(|issued| Record { placement: id, issued }))
        };
        changed.map(document).collect()
    }
}

/// Writes what has changed.
pub(in crate::reconcile) fn write(store: &Store, changed: Vec<(String, Option<Record>)>) {
    for (name, record) in changed {
        let done = match &record {
            Some(record) => store.write(Area::Local, &name, record),
            None => store.remove(Area::Local, &name),
        };
        if let Err(error) = done {
            tracing::warn!(error = chain(&error), "Cannot write which certificates were replaced");
        }
    }
}

/// A document's name. A certificate's own may be as long as a document's, so a hash of it stands here.
pub(super) fn name(id: &PlacementId) -> String {
    let certificate = Fingerprint::of(id.certificate.as_str().as_bytes()).short();
    format!("{DIRECTORY}/{}-{certificate:016x}", id.guest)
}
