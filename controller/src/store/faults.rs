//! File systems that fail, for tests: the kernel's, asked before each operation whether it may be done.

use std::{fmt::Debug, io, path::Path};

use zeroize::Zeroizing;

use super::files::{Files, RealFiles};

/// An operation of [`Files`] that is about to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation<'a> {
    Read,
    List,
    Create(&'a Path, &'a [u8]),
    CreateUnsynced(&'a Path, &'a [u8]),
    Rename,
    Remove(&'a Path),
    MakeDirectory(&'a Path),
    SyncDirectory,
    Claim,
    Release,
    Exclude,
}

impl Operation<'_> {
    /// Whether something would be another than before.
    pub(crate) fn is_change(self) -> bool {
        match self {
            Self::Read | Self::List => false,
            Self::MakeDirectory(path) => !path.exists(),
            _ => true,
        }
    }
}

/// What goes wrong.
pub(crate) trait Fault: Debug + Send + Sync {
    /// Whether the operation is done.
    ///
    /// # Errors
    /// What the operation fails with; nothing is done then.
    fn before(&self, operation: Operation<'_>) -> io::Result<()>;

    /// As [`Files::exclude`], when [`Fault::before`] lets it.
    fn exclude(&self, lock: &Path) -> io::Result<Option<Box<dyn Send>>> {
        RealFiles.exclude(lock)
    }

    /// As [`Files::look_writable`].
    fn look_writable(&self, directory: &Path) -> io::Result<()> {
        RealFiles.look_writable(directory)
    }

    /// As [`Files::has_room`].
    fn has_room(&self, directory: &Path) -> io::Result<bool> {
        RealFiles.has_room(directory)
    }
}

impl<F: Fault> Files for F {
    fn read(&self, path: &Path, max: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        self.before(Operation::Read)?;
        RealFiles.read(path, max)
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.before(Operation::Create(path, bytes))?;
        RealFiles.create(path, bytes)
    }

    fn create_unsynced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.before(Operation::CreateUnsynced(path, bytes))?;
        RealFiles.create_unsynced(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before(Operation::Rename)?;
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.before(Operation::Remove(path))?;
        RealFiles.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, bool)>> {
        self.before(Operation::List)?;
        RealFiles.list(directory)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        self.before(Operation::MakeDirectory(path))?;
        RealFiles.make_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.before(Operation::SyncDirectory)?;
        RealFiles.sync_directory(path)
    }

    fn claim(&self, path: &Path) -> io::Result<()> {
        self.before(Operation::Claim)?;
        RealFiles.claim(path)
    }

    fn release(&self, path: &Path) -> io::Result<()> {
        self.before(Operation::Release)?;
        RealFiles.release(path)
    }

    fn exclude(&self, lock: &Path) -> io::Result<Option<Box<dyn Send>>> {
        self.before(Operation::Exclude)?;
        Fault::exclude(self, lock)
    }

    fn look_writable(&self, directory: &Path) -> io::Result<()> {
        Fault::look_writable(self, directory)
    }

    fn has_room(&self, directory: &Path) -> io::Result<bool> {
        Fault::has_room(self, directory)
    }
}
