//! A file system that ends in the middle of something, as for a process that is killed, for tests.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use zeroize::Zeroizing;

use super::{
    Store,
    files::{Files, RealFiles},
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

impl Files for Cut {
    fn read(&self, path: &Path, most: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        RealFiles.read(path, most)
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.change()?;
        RealFiles.create(path, bytes)
    }

    fn create_unsynced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.change()?;
        RealFiles.create_unsynced(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        // What is not there is no change.
        std::fs::metadata(path)?;
        self.change()?;
        RealFiles.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, bool)>> {
        RealFiles.list(directory)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        if !path.exists() {
            self.change()?;
        }
        RealFiles.make_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealFiles.sync_directory(path)
    }

    fn claim(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealFiles.claim(path)
    }

    fn release(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealFiles.release(path)
    }

    fn exclude(&self, lock: &Path) -> io::Result<Option<Box<dyn Send>>> {
        RealFiles.exclude(lock)
    }

    fn look_writable(&self, directory: &Path) -> io::Result<()> {
        RealFiles.look_writable(directory)
    }

    fn has_room(&self, directory: &Path) -> io::Result<bool> {
        RealFiles.has_room(directory)
    }
}

impl Store {
    /// Takes over at once what a killed process had claimed.
    pub(crate) fn impatient(mut self) -> Self {
        self.patience = Duration::from_millis(1);
        self
    }
}
