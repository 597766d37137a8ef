//! The lock of a controller's local area.
//!
//! Invariant: what is locked is a regular file in the area itself: no link is followed, and no pipe is waited for.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::{LOCK, StoreError, is_refusal};

/// The lock of a controller with this local area, for whoever does what a running one must not see; none where there
/// never was a controller.
pub(crate) fn lock_existing(local: &Path) -> Result<Option<File>, StoreError> {
    let path = local.join(LOCK);
    if path.symlink_metadata().is_ok() { lock(&path).map(Some) } else { Ok(None) }
}

/// As [`lock_existing`], and makes it.
pub(crate) fn lock_new(local: &Path) -> Result<File, StoreError> {
    lock(&local.join(LOCK))
}

pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let fail = |source| StoreError::Io { doing: "lock", path: path.into(), source };
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let open = |options: &mut OpenOptions| options.read(true).custom_flags(flags).open(path);
    let opened = open(OpenOptions::new().write(true).create(true).truncate(false).mode(0o600));
    // One that is there is locked on a read-only disk too.
    let opened = match opened {
        Err(error) if is_refusal(&error) => open(&mut OpenOptions::new()).map_err(|_| error),
        other => other,
    };
    let file = opened.map_err(fail)?;
    if !file.metadata().map_err(fail)?.is_file() {
        return Err(fail(io::Error::other("it is not a regular file: remove it, and the controller makes it anew")));
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked { path: path.into() }),
        Err(errno) => Err(fail(errno.into())),
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
