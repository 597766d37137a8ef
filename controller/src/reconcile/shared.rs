//! Keys that several placements share: made here, kept 0600, sent over the link alone.
//!
//! Invariant: a key is in the shared area before it is used. While that cannot be written, certificates are renewed with
//! the key that is there.

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::{CertificateName, PlacementId},
    key::{KeyAlgorithm, KeyPolicy},
    private_key::PrivateKey,
    report::Held,
    stage::{Halt, Trouble},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Reconciler;
use crate::{
    events::{CertificateEvent, Document, HostEvent, PlacementEvent, What},
    manifest::PlacedLeaf,
    planner::{self, Order},
    reports::SharedKey,
    store::{Area, StoreError},
};

const DIRECTORY: &str = "shared-keys";

#[derive(Serialize, Deserialize)]
struct Kept {
    algorithm: KeyAlgorithm,
    key: PrivateKey,
}

/// A request with a shared key.
pub(super) struct Prepared {
    /// PKCS #10, DER.
    pub(super) csr: Vec<u8>,
    /// PKCS #8, DER.
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// Makes known which shared keys there are.
pub(super) fn restore(reconciler: &mut Reconciler) {
    let now = reconciler.parts.clock.now();
    let store = reconciler.parts.store.clone();
    let names = store.list(Area::Shared, DIRECTORY).unwrap_or_else(|error| {
        reconciler.event(What::Host(HostEvent::Unreadable(Document::SharedKeys, chain(&error))), now);
        Vec::new()
    });
    for name in names {
        let Ok(certificate) = name.parse::<CertificateName>() else { continue };
        match read(reconciler, &certificate) {
            Ok(Some((key, known))) => {
                drop(key);
                reconciler.reports.set_shared_key(certificate, known);
            }
            Ok(None) => {}
            Err(why) => {
                reconciler.event(What::Certificate(certificate, CertificateEvent::SharedKeyUnreadable(why)), now);
            }
        }
    }
}

/// The request for one more certificate with a shared key, made with a new key where it is time for one.
/// None when that fails, which is noted as a failed attempt.
pub(super) fn prepare(
    reconciler: &mut Reconciler,
    id: &PlacementId,
    leaf: PlacedLeaf<'_>,
    order: &Order,
    now: Timestamp,
) -> Option<Prepared> {
    match try_prepare(reconciler, id, leaf, now) {
        Ok(prepared) => Some(prepared),
        Err(not_made) => {
            let attempt = format!("make the shared key of {} for generation {}", id.certificate, order.generation);
            let trouble = not_made.trouble(attempt);
            let failed = PlacementEvent::NotIssued { generation: None, trouble: trouble.clone() };
            reconciler.event(What::Placement(id.clone(), failed), now);
            let backoff = reconciler.parts.backoff;
            reconciler.reports.attempt_failed(id, trouble, &backoff, now);
            None
        }
    }
}

/// Why there is no request with a shared key.
enum NotMade {
    /// Shared state cannot be written now, and there is no key to go on with.
    Waits(String),
    /// Something else, which a person has to see to.
    Failed(String),
}

impl NotMade {
    fn trouble(self, attempt: String) -> Trouble {
        let (halt, cause, remedy) = match self {
            Self::Waits(cause) => (
                Halt::Waiting,
                cause,
                "a shared key is written down before it is used: Pinion goes on as soon as the shared state can be written",
            ),
            Self::Failed(cause) => (
                Halt::Blocked,
                cause,
                "see that the controller's state directory can be written, and that its files are whole",
            ),
        };
        Trouble { halt, attempt, cause, remedy: remedy.to_owned(), retry_at: None }
    }
}

impl From<StoreError> for NotMade {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ReadOnly { .. } => Self::Waits(chain(&error)),
            error => Self::Failed(chain(&error)),
        }
    }
}

impl From<String> for NotMade {
    fn from(cause: String) -> Self {
        Self::Failed(cause)
    }
}

fn try_prepare(
    reconciler: &mut Reconciler,
    id: &PlacementId,
    leaf: PlacedLeaf<'_>,
    now: Timestamp,
) -> Result<Prepared, NotMade> {
    let (certificate, policy) = (&id.certificate, leaf.policy);
    if reconciler.reports.shared_key(certificate).is_none()
        // One that could not be read at the start is not replaced while it cannot be read now either.
        && let Some((_, known)) = read(reconciler, certificate)?
    {
        reconciler.reports.set_shared_key(certificate.clone(), known);
    }
    let held = reconciler.reports.placement(id).and_then(|entry| entry.report()).and_then(|r| r.held.clone());
    let current = reconciler.reports.shared_key(certificate);
    let usable = current.is_some_and(|current| current.algorithm == policy.key.algorithm);
    let made = if planner::needs_new_shared_key(current, policy.key, held.as_ref()) {
        match make(reconciler, certificate, policy.key, held.as_ref()) {
            Ok(key) => Some(key),
            // Nothing may expire for it: the next renewal makes the new key.
            Err(NotMade::Waits(cause)) if usable => {
                reconciler.event(What::Placement(id.clone(), PlacementEvent::SharedKeyWaits(cause)), now);
                None
            }
            Err(not_made) => return Err(not_made),
        }
    } else {
        None
    };
    let key = match made {
        Some(key) => key,
        None => read(reconciler, certificate)?.ok_or_else(|| "the shared key's file is gone".to_owned())?.0,
    };
    let csr = key.request(&policy.common_name, leaf.names).map_err(|error| chain(&error))?;
    Ok(Prepared { csr, key: key.to_pkcs8() })
}

/// Makes a new shared key, and writes it down. Where another controller shares the directory, one of the two makes the
/// key, and both use that one.
fn make(
    reconciler: &mut Reconciler,
    certificate: &CertificateName,
    policy: KeyPolicy,
    held: Option<&Held>,
) -> Result<PrivateKey, NotMade> {
    let (store, algorithm) = (reconciler.parts.store.clone(), policy.algorithm);
    let name = format!("{DIRECTORY}/{certificate}");
    let fits = |kept: &Kept| {
        let known = SharedKey { fingerprint: kept.key.public(), algorithm: kept.algorithm };
        !planner::needs_new_shared_key(Some(&known), policy, held)
    };
    // RSA takes up to seconds: the other tasks go on meanwhile, and no key is made for nothing.
    let settle = || {
        store.shared_writable()?;
        store.settle(Area::Shared, &name, fits, || {
            let key = PrivateKey::generate(algorithm).map_err(|error| NotMade::Failed(chain(&error)))?;
            Ok::<_, NotMade>(Kept { algorithm, key })
        })
    };
    let Kept { algorithm, key } = tokio::task::block_in_place(settle)?;
    let known = SharedKey { fingerprint: key.public(), algorithm };
    reconciler.reports.set_shared_key(certificate.clone(), known);
    Ok(key)
}

/// Gives a key up: the next certificate of this name is made with another one.
pub(super) fn give_up(reconciler: &mut Reconciler, certificate: &CertificateName) -> Result<(), StoreError> {
    reconciler.parts.store.shared_writable()?;
    reconciler.parts.store.remove(Area::Shared, &format!("{DIRECTORY}/{certificate}"))?;
    reconciler.reports.forget_shared_key(certificate);
    Ok(())
}

/// The key that is kept for a certificate; none when there is none that can be read, which is told elsewhere.
pub(super) fn key(reconciler: &Reconciler, certificate: &CertificateName) -> Option<PrivateKey> {
    read(reconciler, certificate).ok().flatten().map(|(key, _)| key)
}

fn read(reconciler: &Reconciler, certificate: &CertificateName) -> Result<Option<(PrivateKey, SharedKey)>, String> {
    let name = format!("{DIRECTORY}/{certificate}");
    let kept = reconciler.parts.store.read::<Kept>(Area::Shared, &name).map_err(|error| chain(&error))?;
    Ok(kept.map(|Kept { algorithm, key }| {
        let known = SharedKey { fingerprint: key.public(), algorithm };
        (key, known)
    }))
}
