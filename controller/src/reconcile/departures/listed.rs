//! Which guests were listed last, and which were destroyed: what is written of departures.

use std::collections::BTreeSet;

use pinion_proto::{causes::chain, id::Vmid};
use serde::{Deserialize, Serialize};

use crate::store::{Area, Store, StoreError};

const DOCUMENT: &str = "listed-guests";

/// The document `listed-guests`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::reconcile) struct ListedGuests {
    /// Those that Proxmox listed last.
    pub(super) listed: BTreeSet<Vmid>,
    /// Those that were destroyed, of which nobody has taken note.
    #[serde(default)]
    pub(super) destroyed: BTreeSet<Vmid>,
}

impl ListedGuests {
    /// The stored document, or an empty one.
    pub(super) fn read(store: &Store) -> Result<Self, StoreError> {
        Ok(store.read(Area::Local, DOCUMENT)?.unwrap_or_default())
    }

    /// Writes which guests were there.
    pub(in crate::reconcile) fn write(&self, store: &Store) {
        if let Err(error) = store.write(Area::Local, DOCUMENT, self) {
            tracing::warn!(error = chain(&error), "Cannot write which guests were there");
        }
    }
}
