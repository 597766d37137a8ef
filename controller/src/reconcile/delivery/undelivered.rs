//! A certificate on its way to its guest, kept over a restart.
//!
//! Answers: does it answer what the guest requests, and is it what the manifest asks for?
//! Invariant: each is written before its guest can have it. What stays: a controller that is killed between the
//! issuer's answer and the writing, and a power cut before the disk has it, cost one more signature.

use std::{collections::HashMap, sync::Arc};

use pinion_proto::{
    bundle::{Chain, RootCertificate, certificates_to_pem},
    causes::chain,
    clock::Timestamp,
    content::Content,
    id::PlacementId,
    message::Delivery,
    names::SubjectName,
    report::Progress,
    spec::PlainName,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    events::{Document, Events, HostEvent, What},
    planner::Planned,
    store::{Area, Store, StoreError},
    world::{PlacementEntry, shared_keys},
};

const DIRECTORY: &str = "undelivered";

/// No more are kept than this: more placements than the largest host has, in some tens of megabytes. What is not kept
/// is delivered all the same.
pub(super) const MAX_KEPT: usize = 10_000;

/// A certificate on its way to its guest.
#[derive(Debug, Clone)]
pub(in crate::reconcile) struct Undelivered {
    pub(in crate::reconcile) delivery: Delivery,
    /// What was ordered: an issuer may put another into the certificate.
    pub(in crate::reconcile) common_name: SubjectName,
}

/// What is written. A chain has at most eight certificates of 64 KiB, whatever a file says.
#[derive(Serialize, Deserialize)]
struct Kept {
    placement: PlacementId,
    generation: u64,
    issuer: PlainName,
    common_name: SubjectName,
    /// Its key is the one that the controller keeps for this certificate; no key is in here.
    shared: bool,
    chain: String,
    root: String,
}

impl Undelivered {
    /// Whether the guest asks for this: the same generation, by a request for the same key and names.
    pub(in crate::reconcile) fn answers(&self, entry: Option<&PlacementEntry>) -> bool {
        let Some(entry) = entry else { return false };
        let Some(incoming) = entry.report().and_then(|report| report.incoming.as_ref()) else { return false };
        let Progress::Requested(der) = &incoming.progress else { return false };
        let leaf = self.delivery.chain.leaf();
        let same_request = match (&self.delivery.shared_key, entry.request()) {
            (Some(_), None) => der.is_empty(),
            (None, Some(Ok(request))) => request.key == leaf.key() && request.names.as_ref() == Some(leaf.names()),
            _ => false,
        };
        same_request && incoming.generation == self.delivery.generation
    }

    /// Whether it is what the manifest asks for now.
    pub(in crate::reconcile) fn fits(&self, planned: &Planned<'_>) -> bool {
        let Content::Leaf(wanted) = planned.content() else { return false };
        let leaf = self.delivery.chain.leaf();
        leaf.names() == wanted.names
            && leaf.key_algorithm() == Some(wanted.policy.key.algorithm)
            && self.common_name == wanted.policy.common_name
            && self.delivery.issuer == wanted.policy.issuer
            && self.delivery.shared_key.is_some() == wanted.policy.shared
    }

    pub(in crate::reconcile) fn is_expired(&self, now: Timestamp) -> bool {
        self.delivery.chain.expires() < now
    }

    fn kept(&self, id: &PlacementId) -> Kept {
        let Delivery { generation, chain, root, issuer, shared_key, .. } = &self.delivery;
        Kept {
            placement: id.clone(),
            generation: *generation,
            issuer: issuer.clone(),
            common_name: self.common_name.clone(),
            shared: shared_key.is_some(),
            chain: certificates_to_pem(chain.certificates()),
            root: certificates_to_pem([root.der()]),
        }
    }
}

/// What they are written in.
#[derive(Debug, Clone)]
pub(in crate::reconcile) struct Documents(Arc<Store>);

impl Documents {
    pub(in crate::reconcile) fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// Writes one, before anybody can have it. When that fails it is delivered all the same.
    pub(in crate::reconcile) async fn write(&self, id: &PlacementId, undelivered: &Undelivered) {
        let (store, name, kept) = (self.0.clone(), name(id, undelivered.delivery.generation), undelivered.kept(id));
        let written = tokio::task::spawn_blocking(move || store.write_unsynced(&name, &kept)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(placement = %id, error = chain(&error), "A certificate is not kept while it is on its way");
        }
    }

    /// What was on its way when the controller stopped; what nobody can use any more is removed. A document that cannot
    /// be understood is told and passed over.
    pub(in crate::reconcile) fn restore(&self, events: &Events, now: Timestamp) -> HashMap<PlacementId, Undelivered> {
        let store = &*self.0;
        let unreadable = |error: &StoreError| {
            events.record(What::Host(HostEvent::Unreadable(Document::Undelivered, chain(error))).at(now));
        };
        let names = store.list(Area::Local, DIRECTORY).unwrap_or_else(|error| {
            unreadable(&error);
            Vec::new()
        });
        let mut found: HashMap<PlacementId, Undelivered> = HashMap::new();
        for (count, document) in names.into_iter().enumerate() {
            let document = format!("{DIRECTORY}/{document}");
            if count >= MAX_KEPT {
                remove_document(store, &document);
                continue;
            }
            let kept = match store.read::<Kept>(Area::Local, &document) {
                Ok(Some(kept)) => kept,
                Ok(None) => continue,
                Err(error) => {
                    unreadable(&error);
                    continue;
                }
            };
            let id = kept.placement.clone();
            let usable = usable(store, kept).filter(|usable| !usable.is_expired(now));
            let usable = usable.filter(|usable| name(&id, usable.delivery.generation) == document);
            let newer = |other: &Undelivered| {
                found.get(&id).is_none_or(|known| known.delivery.generation < other.delivery.generation)
            };
            match usable.filter(newer) {
                Some(usable) => {
                    if let Some(older) = found.insert(id.clone(), usable) {
                        remove(store, &id, older.delivery.generation);
                    }
                }
                None => remove_document(store, &document),
            }
        }
        if !found.is_empty() {
            tracing::info!(
                count = found.len(),
                "Certificates that were on their way are delivered when they are requested"
            );
        }
        found
    }
}

/// What was written as it can be delivered; none when it cannot.
fn usable(store: &Store, kept: Kept) -> Option<Undelivered> {
    let Kept { placement, generation, issuer, common_name, shared, chain, root } = kept;
    let chain = Chain::from_pem(&chain).ok()?;
    let root = RootCertificate::from_pem(&root).ok()?;
    let shared_key: Option<Zeroizing<Vec<u8>>> = if shared {
        // None when there is none that can be read, which is told elsewhere.
        let (key, _) = shared_keys::read(store, &placement.certificate).ok()??;
        Some(Some(key).filter(|key| key.public() == chain.leaf().key())?.to_pkcs8())
    } else {
        None
    };
    let certificate = placement.certificate;
    Some(Undelivered { delivery: Delivery { certificate, generation, chain, root, issuer, shared_key }, common_name })
}

/// A document's name. A certificate's own may be as long as a document's, so a hash of it stands here.
fn name(id: &PlacementId, generation: u64) -> String {
    let certificate = pinion_proto::bundle::Fingerprint::of(id.certificate.as_str().as_bytes()).short();
    format!("{DIRECTORY}/{}-{generation}-{certificate:016x}", id.guest)
}

/// Removes the document of a certificate that is not needed any more.
pub(in crate::reconcile) fn remove(store: &Store, id: &PlacementId, generation: u64) {
    remove_document(store, &name(id, generation));
}

fn remove_document(store: &Store, name: &str) {
    if let Err(error) = store.remove_unsynced(name) {
        tracing::warn!(error = chain(&error), "A certificate that is not needed any more stays written down");
    }
}

#[cfg(test)]
mod tests;
