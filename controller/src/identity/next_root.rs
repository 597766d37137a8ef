//! The root process's root that follows the present one, as it is kept here.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{
    bundle::{EndorsedRoot, Fingerprint, RootCertificate},
    clock::Timestamp,
    id::TrustDomain,
};
use serde::{Deserialize, Serialize};

use crate::store::{Area, Store, StoreError};

/// The root process's next root, without its key, in the shared area.
pub(crate) const NEXT: &str = "identity-next";

/// The wish for a root that follows the present one and is the root process's, as `pinion identity new-root --yes` leaves it
/// for that process and for the controller.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NextWish {
    /// When it was asked for.
    pub(crate) asked_at: Timestamp,
    /// Where the present root is the controller's own: whose identities it is for.
    #[serde(default)]
    pub(crate) of_controller: Option<TrustDomain>,
}

/// A root of the root process's that follows the present one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Next {
    pub(super) root: RootCertificate,
    /// The present root's word for it, DER in base64; none where this controller holds that root and says so itself.
    #[serde(default)]
    pub(super) endorsement: Option<String>,
}

impl Next {
    /// The root with the word of the present one, where the root process has given that.
    pub(super) fn endorsed(self) -> Option<EndorsedRoot> {
        let endorsement = STANDARD.decode(self.endorsement?).ok()?;
        Some(EndorsedRoot { root: self.root, endorsement })
    }
}

/// The next root, if the root process has told of one.
pub(super) fn stored(store: &Store) -> Result<Option<Next>, StoreError> {
    store.read(Area::Shared, NEXT)
}

/// Forgets the next root: every guest joins anew.
pub(super) fn forget(store: &Store) -> Result<(), StoreError> {
    store.remove(Area::Shared, NEXT)
}

/// Takes back what a file says of the root, if it names the root that follows or, where that is given, the one before: the
/// root process changes the file at the takeover.
pub(super) fn allow(
    store: &Store,
    pinned: &mut Option<(Fingerprint, PathBuf)>,
    former: Option<Fingerprint>,
) -> Result<(), StoreError> {
    let next = stored(store)?.map(|next| next.root.fingerprint());
    if let Some((named, _)) = pinned
        && (next == Some(*named) || former == Some(*named))
    {
        *pinned = None;
    }
    Ok(())
}
