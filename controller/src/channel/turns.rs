//! Whose turn it is: a bounded number of calls at once, and one at a time for each guest.
//!
//! Invariant: who waits for a guest holds up nobody who waits for another.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use pinion_proto::{id::Vmid, lock::lock};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Calls at once: each is a Perl program or two, on a host that has other work.
const AT_ONCE: usize = 8;

/// The turns of all guests.
#[derive(Debug)]
pub(super) struct Turns {
    guests: Mutex<HashMap<Vmid, Arc<Turn<()>>>>,
    places: Arc<Semaphore>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _guest: Option<OwnedMutexGuard<()>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { guests: Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Waits for the guest, then for a place: the other way round, one guest's calls could take all places.
    pub(super) async fn take(&self, guest: Option<Vmid>) -> Taken {
        let guest = match guest {
            Some(guest) => Some(self.of(guest).lock_owned().await),
            None => None,
        };
        // The semaphore is never closed.
        let place = self.places.clone().acquire_owned().await.ok();
        Taken { _guest: guest, _place: place }
    }

    fn of(&self, guest: Vmid) -> Arc<Turn<()>> {
        let mut guests = lock(&self.guests);
        // Guests that nobody asks for any more are forgotten: callers may name any number.
        guests.retain(|_, turn| Arc::strong_count(turn) > 1);
        guests.entry(guest).or_default().clone()
    }
}
