//! Keys that several placements share: made here, kept 0600, sent over the link alone.

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::{CertificateName, PlacementId},
    key::KeyAlgorithm,
    private_key::PrivateKey,
    stage::{Halt, Trouble},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Reconciler;
use crate::{
    events::{Event, Kind},
    planner::{self, Order, Planned},
    reports::SharedKey,
    store::{Area, StoreError},
};

const DIRECTORY: &str = "shared-keys";

#[derive(Serialize, Deserialize)]
struct Kept {
    algorithm: KeyAlgorithm,
    key: PrivateKey,
}

/// Why there is no shared key.
enum Unmade {
    Key(String),
    Store(StoreError),
}

impl From<StoreError> for Unmade {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
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
        let text = format!("The shared keys cannot be listed: {}", chain(&error));
        reconciler.event(Event::new(now, Kind::Failed, text));
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
            Err(why) => reconciler.event(Event::new(now, Kind::Failed, why).certificate(&certificate)),
        }
    }
}

/// The request for one more certificate with a shared key, made with a new key where it is time for one.
/// None when that fails, which is noted as a failed attempt.
pub(super) fn prepare(
    reconciler: &mut Reconciler,
    id: &PlacementId,
    planned: &Planned<'_>,
    order: &Order,
    now: Timestamp,
) -> Option<Prepared> {
    match try_prepare(reconciler, id, planned) {
        Ok(prepared) => Some(prepared),
        Err(cause) => {
            let trouble = Trouble {
                halt: Halt::Blocked,
                attempt: format!("make the shared key of {} for generation {}", id.certificate, order.generation),
                cause,
                remedy: "see that the controller's state directory can be written, and that its files are whole".into(),
                retry_at: None,
            };
            let text = format!("{id}: {trouble}");
            reconciler.event(Event::new(now, Kind::Failed, text).guest(id.guest).certificate(&id.certificate));
            let backoff = reconciler.parts.backoff;
            reconciler.reports.attempt_failed(id, trouble, &backoff, now);
            None
        }
    }
}

fn try_prepare(reconciler: &mut Reconciler, id: &PlacementId, planned: &Planned<'_>) -> Result<Prepared, String> {
    let certificate = planned.certificate;
    if reconciler.reports.shared_key(&certificate.name).is_none()
        // One that could not be read at the start is not replaced while it cannot be read now either.
        && let Some((_, known)) = read(reconciler, &certificate.name)?
    {
        reconciler.reports.set_shared_key(certificate.name.clone(), known);
    }
    let held = reconciler.reports.placement(id).and_then(|entry| entry.report()).and_then(|r| r.held.as_ref());
    let current = reconciler.reports.shared_key(&certificate.name);
    let key = if planner::needs_new_shared_key(current, certificate.key, held) {
        let algorithm = certificate.key.algorithm;
        let name = format!("{DIRECTORY}/{}", certificate.name);
        // Where another controller shares the directory, one of the two makes the key, and both use that one.
        let fits = |kept: &Kept| {
            let known = SharedKey { fingerprint: kept.key.public(), algorithm: kept.algorithm };
            !planner::needs_new_shared_key(Some(&known), certificate.key, held)
        };
        // RSA takes up to seconds: the other tasks go on meanwhile.
        let settle = || {
            reconciler.parts.store.settle(Area::Shared, &name, fits, || {
                let key = PrivateKey::generate(algorithm).map_err(|error| Unmade::Key(chain(&error)))?;
                Ok::<_, Unmade>(Kept { algorithm, key })
            })
        };
        let Kept { algorithm, key } = tokio::task::block_in_place(settle).map_err(|unmade| match unmade {
            Unmade::Key(why) => why,
            Unmade::Store(error) => chain(&error),
        })?;
        let known = SharedKey { fingerprint: key.public(), algorithm };
        reconciler.reports.set_shared_key(certificate.name.clone(), known);
        key
    } else {
        let kept = read(reconciler, &certificate.name)?;
        kept.ok_or_else(|| "the shared key's file is gone".to_owned())?.0
    };
    let csr = key.request(&certificate.common_name, &planned.placement.names).map_err(|error| chain(&error))?;
    Ok(Prepared { csr, key: key.to_pkcs8() })
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
