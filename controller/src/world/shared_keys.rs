//! Keys that several placements share: made here, written with mode 0600, sent over the link alone.
//!
//! Invariant: a key is in the shared area before it is used. While that cannot be written, no key is made, and
//! certificates are renewed with the key that is there.

use pinion_proto::{
    causes::chain,
    id::CertificateName,
    key::{KeyAlgorithm, KeyPolicy},
    private_key::{KeyError, PrivateKey},
    report::Held,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::SharedKey;
use crate::{
    planner,
    store::{Area, Store, StoreError},
};

const DIRECTORY: &str = "shared-keys";

#[derive(Serialize, Deserialize)]
struct KeyDocument {
    algorithm: KeyAlgorithm,
    key: PrivateKey,
}

impl KeyDocument {
    fn known(&self) -> SharedKey {
        SharedKey { fingerprint: self.key.public(), algorithm: self.algorithm }
    }
}

/// Why no key was made.
#[derive(Debug, Error)]
pub(crate) enum NotMade {
    /// It could not be written, or no other controller's could be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The certificates of which a key is written.
pub(crate) fn list(store: &Store) -> Result<Vec<String>, StoreError> {
    store.list(Area::Shared, DIRECTORY)
}

/// The key of a certificate, and what is known of it; none when there is none. An error is in words.
pub(crate) fn read(store: &Store, certificate: &CertificateName) -> Result<Option<(PrivateKey, SharedKey)>, String> {
    let document = store.read::<KeyDocument>(Area::Shared, &name(certificate)).map_err(|error| chain(&error))?;
    Ok(document.map(|document| {
        let known = document.known();
        (document.key, known)
    }))
}

/// Makes a new key, and writes it. Where another controller shares the directory, one of the two makes the key, and
/// both use that one.
pub(crate) fn make(
    store: &Store,
    certificate: &CertificateName,
    policy: KeyPolicy,
    held: Option<&Held>,
) -> Result<(PrivateKey, SharedKey), NotMade> {
    let algorithm = policy.algorithm;
    let fits = |document: &KeyDocument| !planner::needs_new_shared_key(Some(&document.known()), policy, held);
    store.shared_writable()?;
    let document = store.settle(Area::Shared, &name(certificate), fits, || {
        Ok::<_, NotMade>(KeyDocument { algorithm, key: PrivateKey::generate(algorithm)? })
    })?;
    let known = document.known();
    Ok((document.key, known))
}

/// Gives a key up: the next certificate of this name is made with another one.
pub(crate) fn give_up(store: &Store, certificate: &CertificateName) -> Result<(), StoreError> {
    store.shared_writable()?;
    store.remove(Area::Shared, &name(certificate))
}

fn name(certificate: &CertificateName) -> String {
    format!("{DIRECTORY}/{certificate}")
}
