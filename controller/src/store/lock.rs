//! The lock of a controller's local area.
//!
//! Invariant: what is locked is a regular file in the area itself: no link is followed, and no pipe is waited for.

use std::path::Path;

use pinion_proto::file_lock::FileLock;

use super::{StoreError, refusal::is_refusal};

/// The lock of a running controller, in the local directory: flock does not reach the other nodes of a cluster.
pub(super) const LOCK: &str = "controller.lock";

/// The lock of a controller with this local area, for whoever does what a running one must not see; none where there
/// never was a controller.
pub(crate) fn lock_existing(local: &Path) -> Result<Option<FileLock>, StoreError> {
    let path = local.join(LOCK);
    if path.symlink_metadata().is_ok() { lock(&path).map(Some) } else { Ok(None) }
}

/// As [`lock_existing`], and makes it.
pub(crate) fn lock_new(local: &Path) -> Result<FileLock, StoreError> {
    lock(&local.join(LOCK))
}

pub(super) fn lock(path: &Path) -> Result<FileLock, StoreError> {
    let locked = match FileLock::try_new(path) {
        // One that is there is locked on a read-only disk too.
        Err(error) if is_refusal(&error) => FileLock::try_existing(path).map_err(|_| error),
        other => other,
    };
    match locked {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(StoreError::Locked { path: path.into() }),
        Err(source) => Err(StoreError::Io { doing: "lock", path: path.into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_link_or_a_pipe_is_no_lock() {
        let local = tempfile::tempdir().expect("a directory");
        let (path, other) = (local.path().join(LOCK), local.path().join("other"));
        symlink(&other, &path).expect("a link");
        lock_new(local.path()).expect_err("a link to nothing");
        assert!(!other.exists());
        fs::write(&other, "").expect("written");
        lock_existing(local.path()).expect_err("a link to a file");
        fs::remove_file(&path).expect("removed");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
        lock_existing(local.path()).expect_err("a pipe");
        fs::remove_file(&path).expect("removed");
        assert!(lock_existing(local.path()).expect("looked").is_none());
        lock_new(local.path()).expect("made");
    }
}
