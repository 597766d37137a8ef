//! Which guests were forgotten, and when: what they show then is known for what it is.
//!
//! Answers: does nobody know this guest because it was forgotten, or because the record of it was lost?
//! Invariant: an entry is kept for as long as an identity that was given before could still be shown.

use std::{collections::BTreeMap, time::Duration};

use pinion_proto::{causes::chain, clock::Timestamp, id::Guest};
use serde::{Deserialize, Serialize};

use crate::store::{Area, Store};

const DOCUMENT: &str = "forgotten-guests";

/// Longer than an identity lives.
const KEPT: Duration = Duration::from_secs(60 * 24 * 3600);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Forgotten {
    guests: BTreeMap<String, Timestamp>,
}

/// When a guest was forgotten, if it was.
pub(super) fn when(store: &Store, guest: Guest) -> Option<Timestamp> {
    read(store).guests.get(&guest.to_string()).copied()
}

/// Notes that a guest is forgotten. It is a convenience: without it only the words are others.
pub(super) fn note(store: &Store, guest: Guest, now: Timestamp) {
    let mut forgotten = read(store);
    forgotten.guests.retain(|_, at| now.since(*at) < KEPT);
    forgotten.guests.insert(guest.to_string(), now);
    if let Err(error) = store.write(Area::Shared, DOCUMENT, &forgotten) {
        tracing::warn!(%guest, error = chain(&error), "Cannot note that a guest was forgotten");
    }
}

fn read(store: &Store) -> Forgotten {
    store
        .read(Area::Shared, DOCUMENT)
        .unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "Cannot read which guests were forgotten");
            None
        })
        .unwrap_or_default()
}
