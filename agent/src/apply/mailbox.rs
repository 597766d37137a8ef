//! What has been asked of one placement and not been taken up yet.
//!
//! Invariant: levels, not queues: the newest of each kind replaces the one before, so it never grows.

use std::sync::{Mutex, MutexGuard};

use pinion_proto::{
    lock::lock,
    message::{Delivery, Purge},
    spec::PlacementSpec,
};
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
    pub(super) purge: Option<Purge>,
    pub(super) retry: bool,
    pub(super) look: Look,
}

/// Who waits for a look, by the number of the newest that was asked for; 0 for nobody. Both count by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// The controller.
    pub(super) link: u64,
    /// Command lines in the guest.
    pub(super) here: u64,
}

impl Look {
    /// This, and what was asked for besides.
    pub(super) fn and(self, other: Self) -> Self {
        Self { link: self.link.max(other.link), here: self.here.max(other.here) }
    }
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

    /// Which look is asked for by a letter that was not read yet.
    pub(super) fn look(&self) -> Look {
        self.lock().look
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
