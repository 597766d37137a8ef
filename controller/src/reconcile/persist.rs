//! Writing what is known, beside the loop: a record a guest, and what is to be revoked.
//!
//! Invariant: a convenience, since the agents report it again. On a slow disk an older word never comes to lie over a
//! newer one, because one write follows the other.

use std::{collections::BTreeSet, sync::Arc};

use pinion_proto::{clock::Timestamp, id::Guest};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    effects::{WRITE_DELAY, When},
    revocation::{self, Revocations},
};
use crate::{
    store::Store,
    world::{World, write_record},
};

/// What is to be written, and when.
#[derive(Debug, Default)]
pub(super) struct Persist {
    guests: BTreeSet<Guest>,
    write_at: Option<Instant>,
    /// The write that is under way, or was the last.
    writing: Option<JoinHandle<()>>,
}

impl Persist {
    /// Something is to be written.
    pub(super) fn write(&mut self, when: When) {
        match when {
            When::Soon => drop(self.write_at.get_or_insert_with(|| Instant::now() + WRITE_DELAY)),
            When::AtOnce => self.write_at = Some(Instant::now()),
        }
    }

    /// What is known of a guest is to be written.
    pub(super) fn save(&mut self, guest: Guest, when: When) {
        self.guests.insert(guest);
        self.write(when);
    }

    /// When something is to be written.
    pub(super) fn write_at(&self) -> Option<Instant> {
        self.write_at
    }

    /// Begins to write what has changed.
    pub(super) fn start(&mut self, world: &World, revocations: &mut Revocations, store: &Arc<Store>, now: Timestamp) {
        self.write_at = None;
        let guests = std::mem::take(&mut self.guests);
        let records: Vec<_> = guests.into_iter().filter_map(|guest| world.record(guest, now)).collect();
        let revocations = revocations.take_unwritten();
        if records.is_empty() && revocations.is_empty() {
            return;
        }
        let store = store.clone();
        let write = move || {
            records.iter().for_each(|record| write_record(&store, record));
            revocation::write(&store, revocations);
        };
        let before = self.writing.take();
        self.writing = Some(tokio::spawn(async move {
            if let Some(before) = before {
                finished(before.await);
            }
            finished(tokio::task::spawn_blocking(write).await);
        }));
    }

    /// Returns when everything that was begun is written.
    pub(super) async fn finish(&mut self) {
        if let Some(writing) = self.writing.take() {
            finished(writing.await);
        }
    }
}

fn finished(written: Result<(), tokio::task::JoinError>) {
    if let Err(error) = written {
        tracing::warn!(%error, "Writing what is known was cut short");
    }
}

#[cfg(test)]
mod tests;
