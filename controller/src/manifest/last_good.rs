//! The last good manifest, kept in the local area.
//!
//! Answers: what was asked for, while the manifest's own file cannot be used?
//! Invariant: kept is the file's text, so that a later program reads it as it would read the file. What cannot be kept
//! is logged and tried again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use pinion_proto::{causes::chain, clock::Timestamp, spec::PlainName};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Manifest;
use crate::store::{Area, Store, StoreError};

const DOCUMENT: &str = "last-good-manifest";

/// A full disk is tried again after this long.
const RETRY: Duration = Duration::from_secs(30);

/// A manifest's text, and since when it is in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LastGood {
    pub(super) since: Timestamp,
    pub(super) text: String,
}

impl LastGood {
    /// The manifest that it is; none if this program cannot use it.
    pub(super) fn manifest(&self, without_roots: &BTreeSet<PlainName>) -> Option<Manifest> {
        Manifest::parse_for(self.text.as_bytes(), without_roots).map_err(|error| unusable(&error)).ok()
    }
}

/// What is kept; none where nothing is, or nothing that can be read.
pub(super) fn read(store: &Store) -> Option<LastGood> {
    store.read(Area::Local, DOCUMENT).unwrap_or_else(|error| {
        unusable(&error);
        None
    })
}

fn unusable(why: &dyn std::error::Error) {
    tracing::warn!(error = chain(why), "Cannot use the stored copy of the last good manifest");
}

/// Keeps each manifest that is in force, until the future is dropped.
pub(super) async fn keep(store: Arc<Store>, mut good: watch::Receiver<Option<LastGood>>) {
    loop {
        let newest = good.borrow_and_update().clone();
        let mut kept = true;
        if let Some(newest) = newest {
            let store = store.clone();
            let written = tokio::task::spawn_blocking(move || store.write(Area::Local, DOCUMENT, &newest)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!(error = chain(&error), "Cannot store a copy of the manifest");
                // One that is too large stays so.
                kept = matches!(error, StoreError::TooLarge { .. });
            }
        }
        let next = good.changed();
        if kept {
            // The sender lives as long as the manifest's file is watched.
            if next.await.is_err() {
                return;
            }
        } else if let Ok(Err(_)) = tokio::time::timeout(RETRY, next).await {
            return;
        }
    }
}
