//! Writing what is known, beside the loop: a record a guest, and what is to be revoked.
//!
//! Invariant: a convenience, since the agents report it again. On a slow disk an older word never comes to lie over a
//! newer one, because one write follows the other.

use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    sync::Arc,
};

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

/// So many records are written at a time, one time after the other: when all of a large fleet links anew, it is served
/// first, and what it said is written meanwhile.
pub(super) const RECORDS: usize = 300;

/// What is to be written, and when.
#[derive(Debug, Default)]
pub(super) struct Persist {
    /// Whose records a person waits for.
    at_once: BTreeSet<Guest>,
    /// The others, those that have waited longer first.
    soon: VecDeque<Guest>,
    /// Which are in there.
    waiting: HashSet<Guest>,
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
        match when {
            When::AtOnce => {
                self.at_once.insert(guest);
            }
            When::Soon => {
                if self.waiting.insert(guest) {
                    self.soon.push_back(guest);
                }
            }
        }
        self.write(when);
    }

    /// When something is to be written.
    pub(super) fn write_at(&self) -> Option<Instant> {
        self.write_at
    }

    /// Begins to write what has changed: the records that a person waits for, and at most so many others.
    pub(super) fn start(
        &mut self,
        records: usize,
        world: &World,
        revocations: &mut Revocations,
        store: &Arc<Store>,
        now: Timestamp,
    ) {
        self.write_at = None;
        let mut guests = std::mem::take(&mut self.at_once);
        for guest in self.soon.drain(..records.min(self.soon.len())) {
            self.waiting.remove(&guest);
            guests.insert(guest);
        }
        if !self.soon.is_empty() {
            self.write(When::Soon);
        }
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
