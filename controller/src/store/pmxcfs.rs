//! A file system that is to the store what pmxcfs is, for tests.

use std::{io, path::Path, sync::Mutex};

use pinion_proto::lock::lock;

use zeroize::Zeroizing;

use super::files::{Files, RealFiles};

/// Files end at 1 MiB, and all of it can be made read-only as without quorum.
#[derive(Debug, Default)]
pub(crate) struct Pmxcfs {
    refuses: Mutex<Option<Refusal>>,
}

/// How writes are refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    /// EACCES, EROFS or EBUSY; ENOSPC, as other file systems do.
    pub(crate) errno: rustix::io::Errno,
    /// Whether that shows without writing.
    pub(crate) shows: bool,
}

impl Pmxcfs {
    /// Refuses every write from now on, or none.
    pub(crate) fn refuse(&self, how: Option<Refusal>) {
        *lock(&self.refuses) = how;
    }

    fn write(&self) -> io::Result<()> {
        match *lock(&self.refuses) {
            Some(refusal) => Err(refusal.errno.into()),
            None => Ok(()),
        }
    }
}

impl Files for Pmxcfs {
    fn read(&self, path: &Path, most: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        RealFiles.read(path, most)
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write()?;
        if bytes.len() > 1024 * 1024 {
            return Err(rustix::io::Errno::FBIG.into());
        }
        RealFiles.create(path, bytes)
    }

    fn create_unsynced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write()?;
        RealFiles.create_unsynced(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.write()?;
        RealFiles.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        // What is missing is reported before what is forbidden.
        std::fs::metadata(path)?;
        self.write()?;
        RealFiles.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, bool)>> {
        RealFiles.list(directory)
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        if !path.exists() {
            self.write()?;
        }
        RealFiles.make_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        RealFiles.sync_directory(path)
    }

    fn claim(&self, path: &Path) -> io::Result<()> {
        self.write()?;
        RealFiles.claim(path)
    }

    fn release(&self, path: &Path) -> io::Result<()> {
        self.write()?;
        RealFiles.release(path)
    }

    fn exclude(&self, lock: &Path) -> io::Result<Option<Box<dyn Send>>> {
        self.write()?;
        RealFiles.exclude(lock)
    }

    fn look_writable(&self, directory: &Path) -> io::Result<()> {
        let refuses = *lock(&self.refuses);
        // A full disk looks writable.
        let shows = refuses.is_some_and(|refusal| refusal.shows && refusal.errno != rustix::io::Errno::NOSPC);
        if shows { self.write() } else { RealFiles.look_writable(directory) }
    }

    fn has_room(&self, _: &Path) -> io::Result<bool> {
        let refuses = lock(&self.refuses);
        Ok(!refuses.is_some_and(|refusal| refusal.errno == rustix::io::Errno::NOSPC && refusal.shows))
    }
}
