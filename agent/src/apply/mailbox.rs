//! What has been asked of one placement and not been taken up yet.
//!
//! Invariant: levels, not queues: the newest of each kind replaces the one before, so it never grows.

use std::sync::{Mutex, MutexGuard};

use pinion_proto::{lock::lock, message::Delivery, spec::PlacementSpec};
use tokio::sync::Notify;

/// One placement's mailbox.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    letters: Mutex<Letters>,
    bell: Notify,
}

/// What was found in it.
#[derive(Debug, Default)]
pub(super) struct Letters {
    pub(super) desired: Option<Desired>,
    pub(super) delivery: Option<Delivery>,
    pub(super) purge: bool,
    pub(super) retry: bool,
}

/// Whether the placement is wanted here.
#[derive(Debug)]
pub(super) enum Desired {
    Wanted(Box<PlacementSpec>),
    Absent,
}

impl Mailbox {
    /// Leaves something and wakes the placement's task.
    pub(super) fn post(&self, change: impl FnOnce(&mut Letters)) {
        change(&mut self.lock());
        self.bell.notify_one();
    }

    /// Takes everything out.
    pub(super) fn empty(&self) -> Letters {
        std::mem::take(&mut self.lock())
    }

    /// Whether the placement is wanted by a letter that was not read yet.
    pub(super) fn wants(&self) -> bool {
        matches!(self.lock().desired, Some(Desired::Wanted(_)))
    }

    /// Returns once something may have been left since the last call.
    pub(super) async fn rang(&self) {
        self.bell.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        lock(&self.letters)
    }
}
