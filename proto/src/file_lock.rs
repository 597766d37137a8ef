//! A lock that one process of a machine has on a file, as long as it runs.
//!
//! Invariants: what is locked is a regular file: no link is followed, and no pipe is waited for; the lock is let go by name,
//! because a process that was forked this moment and has not started its program yet has a copy of the descriptor, and
//! closing ours alone would leave the lock to it.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    io::Errno,
};

/// A file that this process has locked.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Locks a file, which is made where it is not there (mode 0600); none while another process has it.
    ///
    /// # Errors
    /// It cannot be made or opened, or is no regular file.
    pub fn try_new(path: &Path) -> io::Result<Option<Self>> {
        Self::try_open(OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600), path)
    }

    /// Locks a file that is there, also on a disk that cannot be written; none while another process has it.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file.
    pub fn try_existing(path: &Path) -> io::Result<Option<Self>> {
        Self::try_open(OpenOptions::new().read(true), path)
    }

    fn try_open(options: &mut OpenOptions, path: &Path) -> io::Result<Option<Self>> {
        let file = options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file: remove it, and it is made anew"));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if let Err(error) = flock(&self.0, FlockOperation::Unlock) {
            tracing::debug!(%error, "Could not unlock a file");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn one_has_it_until_it_lets_it_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        FileLock::try_existing(&path).expect_err("it is not made");
        let lock = FileLock::try_new(&path).expect("made").expect("free");
        assert!(FileLock::try_new(&path).expect("opened").is_none());
        assert!(FileLock::try_existing(&path).expect("opened").is_none());
        // What a process that was forked meanwhile has.
        let copy = lock.0.try_clone().expect("a copy");
        drop(lock);
        let again = FileLock::try_existing(&path).expect("opened").expect("free, whoever has a copy");
        drop((again, copy));
    }

    #[test]
    fn a_link_or_a_pipe_is_no_lock() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, other) = (directory.path().join("lock"), directory.path().join("other"));
        symlink(&other, &path).expect("a link");
        FileLock::try_new(&path).expect_err("a link to nothing");
        assert!(!other.exists());
        fs::write(&other, "").expect("written");
        FileLock::try_existing(&path).expect_err("a link to a file");
        fs::remove_file(&path).expect("removed");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        FileLock::try_existing(&path).expect_err("a pipe");
        FileLock::try_new(&path).expect_err("a pipe");
    }
}
