//! A file system that ends in the middle of something, as for a process that is killed, for tests.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::{
    Store,
    faults::{Fault, Operation},
};

/// Refuses every change after so many of them.
#[derive(Debug)]
pub(crate) struct Cut {
    left: AtomicUsize,
}

impl Cut {
    /// Allows this many changes.
    pub(crate) fn after(changes: usize) -> Self {
        Self { left: AtomicUsize::new(changes) }
    }

    /// Whether a change was refused, or would be.
    pub(crate) fn is_over(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn change(&self) -> io::Result<()> {
        let one_less = |left: usize| left.checked_sub(1);
        let refused = |_| io::Error::other("the process was killed");
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).map(drop).map_err(refused)
    }
}

impl Fault for Cut {
    fn before(&self, operation: Operation<'_>) -> io::Result<()> {
        match operation {
            // A lock is no change, and goes with its process.
            Operation::Exclude => Ok(()),
            // What is not there is no change.
            Operation::Remove(path) => std::fs::metadata(path).and_then(|_| self.change()),
            operation if operation.is_change() => self.change(),
            _ => Ok(()),
        }
    }
}

impl Store {
    /// Takes over at once what a killed process had claimed.
    pub(crate) fn impatient(mut self) -> Self {
        self.patience = Duration::from_millis(1);
        self
    }
}
