//! Why an authority of Pinion's own did not sign, and what to do about it.

use std::path::PathBuf;

use pinion_proto::{
    bundle::{CertificateError, Fingerprint},
    clock::Timestamp,
};
use thiserror::Error;

use super::documents;
use crate::store::StoreError;

/// Why an authority of Pinion's own did not sign.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// The authority's document cannot be read or written.
    #[error("cannot read or write the authority's document")]
    Store(#[from] StoreError),
    /// Its document holds something else.
    #[error("the stored authority `{name}` cannot be used: {why}; restore it from a backup")]
    Unusable {
        /// The document's name in the shared area, without `.json`.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// There was one, and it is gone.
    #[error(
        "{} is gone: {known}. Pinion creates no new one, because clients that trust its root trust no other. Put the \
         directory back as it was (`pinion restore FILE`, or a copy with its owners and modes) and start pinion \
         again. {}",
        path.display(), without(name)
    )]
    Lost {
        /// The document's name in the shared area, without `.json`.
        name: &'static str,
        /// Where the authority's document should be.
        path: PathBuf,
        /// What says that it was there.
        known: String,
    },
    /// It is not the one that should be there.
    #[error(transparent)]
    Another(Box<Another>),
    /// Ten years are over.
    #[error("the authority's root expired at {0}; restore a newer one, or create a new root")]
    RootExpired(Timestamp),
    /// The certificate request is malformed, or not signed by its own key.
    #[error(transparent)]
    Request(#[from] CertificateError),
    /// A key that Pinion has no word for.
    #[error("the kind of the request's key is not supported")]
    Key,
    /// The certificate could not be put together.
    #[error("cannot sign the certificate")]
    Sign(#[source] rcgen::Error),
    /// The system's random number generator fails.
    #[error("the system gives no random numbers")]
    Random,
}

/// A root that is not the one that should be there.
#[derive(Debug, Error)]
#[error(
    "{} contains the root {found}, but {place} says that it should be {wanted}: did someone restore the state of \
     another installation? Restore the state that belongs here. If the root that was found is the right one, remove \
     {place} and start pinion again",
    path.display()
)]
pub struct Another {
    /// The file with the root that was found.
    pub(super) path: PathBuf,
    /// The root that is there.
    pub(super) found: Fingerprint,
    /// The root that should be.
    pub(super) wanted: Fingerprint,
    /// The file that says so.
    pub(super) place: String,
}

/// What there is to do where no backup is.
fn without(name: &str) -> String {
    if name == documents::ROOT_DOCUMENT {
        "If there is no backup, run `pinion identity new-root --yes`: the next start then creates another root, and \
         every guest must join again; on Proxmox guests do this by themselves"
            .to_owned()
    } else if name == documents::PUBLIC_ROOT {
        "If there is no backup, run `pinion identity new-root --yes`: the next start then gives up the lost state, \
         and keeps the root process's root, or creates another one if that is gone too. Every guest must join again; \
         on Proxmox guests do this by themselves. Locks, keys of `shared` certificates and the embedded CA are lost"
            .to_owned()
    } else {
        "If there is no backup, run `pinion identity new-root --embedded --yes`: the next start then creates another \
         root, which you must install in every client"
            .to_owned()
    }
}
