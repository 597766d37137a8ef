//! Why the identity CA is not there or did not sign.

use std::path::PathBuf;

use pinion_proto::id::TrustDomain;
use thiserror::Error;

use crate::{authority::AuthorityError, channel::protocol::Failure, store::StoreError};

/// Why the identity CA is not there or did not sign.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The identity root cannot be read, created or used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The trust domain's document.
    #[error("cannot read or write the trust domain's document")]
    Store(#[from] StoreError),
    /// The trust domain cannot be changed under the agents.
    #[error(
        "the configuration says trust domain `{wanted}`, but the stored identities belong to `{stored}`; set it \
         back, or move the shared directory away and let every guest join again"
    )]
    Domain {
        /// That of the identities.
        stored: TrustDomain,
        /// That of the configuration.
        wanted: TrustDomain,
    },
    /// The file that names the root.
    #[error(
        "{} does not name the identity root: {why}; write its SHA-256 there (`openssl x509 -fingerprint -sha256`), or \
         remove the file",
        path.display()
    )]
    Pin {
        /// The file that names the root: `/etc/pinion/identity-root`.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The root process does not sign.
    #[error(
        "the root process has the key of the identity root, but gives this controller no authority: {0}; run \
         `systemctl status pinion-channel` and `journalctl -u pinion-channel`"
    )]
    RootProcess(Failure),
    /// The authority of this node, which the root process signed, does not fit.
    #[error("this node's authority for identities cannot be used: {0}")]
    Node(String),
    /// A made-up name that is none.
    #[error(transparent)]
    Name(pinion_proto::id::IdError),
}
