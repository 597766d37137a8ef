//! A file system that is to the store what pmxcfs is, for tests.

use std::{io, path::Path, sync::Mutex};

use pinion_proto::lock::lock;

use super::{
    faults::{Fault, Operation},
    files::{Files, RealFiles},
};

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

impl Fault for Pmxcfs {
    fn before(&self, operation: Operation<'_>) -> io::Result<()> {
        match operation {
            Operation::SyncDirectory => Ok(()),
            // What is missing is reported before what is forbidden.
            Operation::Remove(path) => std::fs::metadata(path).and_then(|_| self.write()),
            Operation::Create(_, bytes) if bytes.len() > 1024 * 1024 => {
                self.write().and(Err(rustix::io::Errno::FBIG.into()))
            }
            operation if operation.is_change() => self.write(),
            _ => Ok(()),
        }
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
