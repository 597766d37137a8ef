//! Certificates that are signed and that their guests do not have yet, kept over a restart.
//!
//! Answers: is there one already for what the guest asks, so that it need not be signed once more?
//! Invariant: each is written down before its guest can have it, and goes away when the guest says that it has it or
//! asks for something else. It is given to nobody but whoever shows the request that it was signed for.
//! What stays: a controller that is killed between the issuer's answer and the writing, and a power cut before the
//! disk has it, cost one more signature.

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

use super::{Reconciler, shared};
use crate::{
    events::{Document, HostEvent, What},
    planner::Planned,
    reports::PlacementEntry,
    store::{Area, Store, StoreError},
};

const DIRECTORY: &str = "undelivered";

/// No more are kept than this: more placements than the largest host has, in some tens of megabytes. What is not kept
/// is delivered all the same.
const MOST_KEPT: usize = 10_000;

/// A certificate on its way to its guest.
#[derive(Debug, Clone)]
pub(super) struct Undelivered {
    pub(super) delivery: Delivery,
    /// What was ordered: an issuer may put another into the certificate.
    pub(super) common_name: SubjectName,
}

/// What is written down. A chain has at most eight certificates of 64 KiB, whatever a file says.
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
    pub(super) fn answers(&self, entry: Option<&PlacementEntry>) -> bool {
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
    pub(super) fn fits(&self, planned: &Planned<'_>) -> bool {
        let Content::Leaf(wanted) = planned.content() else { return false };
        let leaf = self.delivery.chain.leaf();
        leaf.names() == wanted.names
            && leaf.key_algorithm() == Some(wanted.policy.key.algorithm)
            && self.common_name == wanted.policy.common_name
            && self.delivery.issuer == *wanted.issuer
            && self.delivery.shared_key.is_some() == wanted.policy.shared
    }

    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.delivery.chain.leaf().not_after() < now
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

/// What they are written down in.
#[derive(Debug, Clone)]
pub(super) struct Documents(Arc<Store>);

impl Documents {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self(store)
    }

    /// Whether one more is kept, when there are so many.
    pub(super) fn has_room(count: usize) -> bool {
        count < MOST_KEPT
    }

    /// Writes one down, before anybody can have it. When that fails it is delivered all the same.
    pub(super) async fn keep(&self, id: &PlacementId, undelivered: &Undelivered) {
        let (store, name, kept) = (self.0.clone(), name(id, undelivered.delivery.generation), undelivered.kept(id));
        let written = tokio::task::spawn_blocking(move || store.write_unsynced(&name, &kept)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(placement = %id, error = chain(&error), "A certificate is not kept while it is on its way");
        }
    }

    /// Removes what is not needed any more, without waiting for it.
    pub(super) fn discard(&self, gone: Vec<(PlacementId, u64)>) {
        if gone.is_empty() {
            return;
        }
        let store = self.0.clone();
        tokio::task::spawn_blocking(move || {
            for (id, generation) in gone {
                remove(&store, &name(&id, generation));
            }
        });
    }
}

impl Reconciler {
    /// Takes what was on its way when the controller stopped, and removes what nobody can use any more. A document
    /// that cannot be understood is told and passed over.
    pub(super) fn restore_undelivered(&mut self) {
        let now = self.parts.clock.now();
        let store = self.parts.store.clone();
        let names = store.list(Area::Local, DIRECTORY).unwrap_or_else(|error| {
            self.not_known(&error, now);
            Vec::new()
        });
        let mut found: HashMap<PlacementId, Undelivered> = HashMap::new();
        for (count, document) in names.into_iter().enumerate() {
            let document = format!("{DIRECTORY}/{document}");
            if !Documents::has_room(count) {
                remove(&store, &document);
                continue;
            }
            let kept = match store.read::<Kept>(Area::Local, &document) {
                Ok(Some(kept)) => kept,
                Ok(None) => continue,
                Err(error) => {
                    self.not_known(&error, now);
                    continue;
                }
            };
            let id = kept.placement.clone();
            let usable = self.usable(kept).filter(|usable| !usable.is_expired(now));
            let usable = usable.filter(|usable| name(&id, usable.delivery.generation) == document);
            let newer = |other: &Undelivered| {
                found.get(&id).is_none_or(|known| known.delivery.generation < other.delivery.generation)
            };
            match usable.filter(newer) {
                Some(usable) => {
                    if let Some(older) = found.insert(id.clone(), usable) {
                        remove(&store, &name(&id, older.delivery.generation));
                    }
                }
                None => remove(&store, &document),
            }
        }
        if !found.is_empty() {
            tracing::info!(
                count = found.len(),
                "Certificates that were on their way are delivered when they are asked for"
            );
        }
        for (id, Undelivered { delivery, .. }) in &found {
            // A kill may have come before it was noted.
            self.note_signed(id, delivery.generation, &delivery.issuer, delivery.chain.leaf());
        }
        self.signing.restore(found);
    }

    /// What was written down as it can be delivered; none when it cannot.
    fn usable(&self, kept: Kept) -> Option<Undelivered> {
        let Kept { placement, generation, issuer, common_name, shared, chain, root } = kept;
        let chain = Chain::from_pem(&chain).ok()?;
        let root = RootCertificate::from_pem(&root).ok()?;
        let shared_key: Option<Zeroizing<Vec<u8>>> = if shared {
            Some(shared::key(self, &placement.certificate).filter(|key| key.public() == chain.leaf().key())?.to_pkcs8())
        } else {
            None
        };
        let certificate = placement.certificate;
        Some(Undelivered {
            delivery: Delivery { certificate, generation, chain, root, issuer, shared_key },
            common_name,
        })
    }

    fn not_known(&self, error: &StoreError, now: Timestamp) {
        self.event(What::Host(HostEvent::Unreadable(Document::Undelivered, chain(error))), now);
    }
}

/// A document's name. A certificate's own may be as long as a document's, so a hash of it stands here.
fn name(id: &PlacementId, generation: u64) -> String {
    let certificate = pinion_proto::bundle::Fingerprint::of(id.certificate.as_str().as_bytes()).short();
    format!("{DIRECTORY}/{}-{generation}-{certificate:016x}", id.guest)
}

fn remove(store: &Store, name: &str) {
    if let Err(error) = store.remove_unsynced(name) {
        tracing::warn!(error = chain(&error), "A certificate that is not needed any more stays written down");
    }
}
