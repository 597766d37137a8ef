//! This node's authority and the root above it, as they are kept.
//!
//! Invariant: what is kept here is good for a month at most, and is checked when it is read.

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    clock::Timestamp,
    id::TrustDomain,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{PUBLIC_ROOT, error::IdentityError};
use crate::{
    authority::{Authority, SecretText},
    store::{Area, Store, StoreError},
};

/// This node's authority, in the local area.
pub(super) const DOCUMENT: &str = "identity-node";

/// The root, and who is under it.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) authority: Authority,
    pub(super) trust_domain: TrustDomain,
    pub(super) made: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PublicRoot {
    pub(super) certificate: RootCertificate,
}

/// A node's authority in the store: certificate DER and key PKCS #8, both base64.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) certificate: String,
    pub(super) key: SecretText,
    pub(super) root: RootCertificate,
    pub(super) trust_domain: TrustDomain,
    pub(super) made: Timestamp,
}

impl Kept {
    pub(super) fn grant(&self, now: Timestamp) -> Result<Grant, IdentityError> {
        let wrong = |why: String| IdentityError::Node(why);
        let certificate = STANDARD.decode(&self.certificate).map_err(|e| wrong(e.to_string()))?;
        let key = Zeroizing::new(STANDARD.decode(self.key.reveal()).map_err(|e| wrong(e.to_string()))?);
        let authority = Authority::of_node(&key, &certificate, self.root.clone(), now).map_err(wrong)?;
        Ok(Grant { authority, trust_domain: self.trust_domain.clone(), made: self.made })
    }
}

/// An authority that the root process has given, not kept yet.
pub(super) struct Asked {
    pub(super) kept: Kept,
    pub(super) grant: Grant,
}

impl Asked {
    pub(super) fn trust_domain(&self) -> &TrustDomain {
        &self.grant.trust_domain
    }

    /// Keeps it in place of the one before.
    pub(super) fn keep(self, store: &Store) -> Result<Grant, StoreError> {
        store.write(Area::Local, DOCUMENT, &self.kept)?;
        Ok(self.grant)
    }
}

/// The root, where it is the root process's.
pub(super) fn public_root(store: &Store) -> Result<Option<RootCertificate>, StoreError> {
    Ok(store.read::<PublicRoot>(Area::Shared, PUBLIC_ROOT)?.map(|root| root.certificate))
}

/// Another root of the root process's is the root from now on.
pub(super) fn set_public_root(store: &Store, certificate: RootCertificate) -> Result<(), StoreError> {
    store.replace(Area::Shared, PUBLIC_ROOT, &PublicRoot { certificate })
}

/// Under which root this node's authority is, if there is one that can be used.
pub(super) fn kept_root(store: &Store, now: Timestamp) -> Option<Fingerprint> {
    kept(store, now).map(|kept| kept.authority.root().fingerprint())
}

/// What was kept, if it is whole and not over.
pub(super) fn kept(store: &Store, now: Timestamp) -> Option<Grant> {
    let kept = store.read::<Kept>(Area::Local, DOCUMENT).unwrap_or_else(|error| {
        // It is only this node's, and the root process gives another.
        tracing::warn!(%error, "Cannot read this node's authority");
        None
    })?;
    match kept.grant(now) {
        Ok(grant) if now < grant.authority.expires() => Some(grant),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%error, "This node's authority cannot be used");
            None
        }
    }
}
