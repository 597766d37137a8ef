//! The request for one more certificate with a shared key, made with a new key where it is time for one.
//!
//! Invariant: nothing expires for want of a new key: while it cannot be written, the certificate is renewed with the
//! one that is there.

use pinion_proto::{
    causes::chain,
    id::{CertificateName, PlacementId},
    stage::Trouble,
};
use zeroize::Zeroizing;

use crate::{
    events::{PlacementEvent, What},
    manifest::PlacedLeaf,
    planner,
    reconcile::{effects::Effects, troubles},
    store::{Store, StoreError},
    world::{
        World,
        shared_keys::{self, NotMade},
    },
};

/// A request with a shared key.
pub(super) struct SharedRequest {
    /// PKCS #10, DER.
    pub(super) csr: Vec<u8>,
    /// PKCS #8, DER.
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// Why there is no request with a shared key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRequest {
    /// Shared state cannot be written now, and there is no key to go on with.
    Waits(String),
    /// Something else, which a person has to see to.
    Failed(String),
}

impl NoRequest {
    pub(super) fn trouble(self, certificate: &CertificateName, generation: u64) -> Trouble {
        match self {
            Self::Waits(cause) => troubles::no_shared_key(certificate, generation, true, cause),
            Self::Failed(cause) => troubles::no_shared_key(certificate, generation, false, cause),
        }
    }
}

impl From<NotMade> for NoRequest {
    fn from(error: NotMade) -> Self {
        match error {
            NotMade::Store(StoreError::ReadOnly { .. }) => Self::Waits(chain(&error)),
            error => Self::Failed(chain(&error)),
        }
    }
}

impl From<String> for NoRequest {
    fn from(cause: String) -> Self {
        Self::Failed(cause)
    }
}

/// The request for a placement's next certificate.
pub(super) fn prepare(
    world: &World,
    id: &PlacementId,
    leaf: PlacedLeaf<'_>,
    store: &Store,
    effects: &mut Effects,
) -> Result<SharedRequest, NoRequest> {
    let (certificate, policy) = (&id.certificate, leaf.policy);
    let mut current = world.reports().shared_key(certificate).copied();
    if current.is_none() {
        // One that could not be read at the start is not replaced while it cannot be read now either.
        current = shared_keys::read(store, certificate)?.map(|(_, known)| known);
        if current.is_some() {
            effects.shared_key(certificate, current);
        }
    }
    let held = world.report(id).and_then(|report| report.held.as_ref());
    let usable = current.is_some_and(|current| current.algorithm == policy.key.algorithm);
    let made = if planner::needs_new_shared_key(current.as_ref(), policy.key, held) {
        // RSA takes up to seconds: the other tasks go on meanwhile, and no key is made for nothing.
        match tokio::task::block_in_place(|| shared_keys::make(store, certificate, policy.key, held))
            .map_err(NoRequest::from)
        {
            Ok((key, known)) => {
                effects.shared_key(certificate, Some(known));
                Some(key)
            }
            // Nothing may expire for it: the next renewal makes the new key.
            Err(NoRequest::Waits(cause)) if usable => {
                effects.event(What::Placement(id.clone(), PlacementEvent::SharedKeyWaits(cause)));
                None
            }
            Err(not_made) => return Err(not_made),
        }
    } else {
        None
    };
    let key = match made {
        Some(key) => key,
        None => shared_keys::read(store, certificate)?.ok_or_else(|| "the shared key's file is gone".to_owned())?.0,
    };
    let csr = key.request(&policy.common_name, leaf.names).map_err(|error| chain(&error))?;
    Ok(SharedRequest { csr, key: key.to_pkcs8() })
}
