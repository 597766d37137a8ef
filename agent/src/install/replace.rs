//! Files that are exchanged whole: written beside their place, synced, renamed into it, and the directory synced.
//!
//! Answers: how does a file change so that a power cut leaves the old content or the new? Invariant: nothing is renamed
//! that is not synced. What is synced together is waited for together, because a disk is as quick with three as with one.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

use pinion_proto::lock::lock;

use super::{
    files::{Files, NewFile},
    walk::not_a_file,
};

/// Writes `bytes` to `path` so that a crash leaves the old content or the new, wholly; permission bits `mode`.
///
/// # Errors
/// Any operation fails; the old content is still there unless only the last one, syncing the directory, failed.
pub fn replace(files: &dyn Files, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut replacement = Replacement::write(files, path, bytes, mode)?;
    match sync_together(vec![&mut *replacement.new]) {
        Ok(()) => replacement.put(files),
        Err((_, e)) => {
            replacement.discard(files);
            Err(e)
        }
    }
}

/// A file that is written beside the one whose place it will take, and not synced yet.
pub struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    new: Box<dyn NewFile>,
}

impl Replacement {
    /// Writes it, with permission bits `mode`.
    ///
    /// # Errors
    /// An operation fails; nothing is left behind.
    pub fn write(files: &dyn Files, path: &Path, bytes: &[u8], mode: u32) -> io::Result<Self> {
        let temporary = replacement(path).ok_or_else(not_a_file)?;
        if files.look(&temporary)?.is_some() {
            files.remove(&temporary)?;
        }
        let written = files.create(&temporary).and_then(|mut new| {
            new.write(bytes)?;
            new.set_mode(mode)?;
            Ok(new)
        });
        match written {
            Ok(new) => Ok(Self { path: path.into(), temporary, new }),
            Err(e) => {
                // The error that matters is the first; a leftover is removed by the next try.
                drop(files.remove(&temporary));
                Err(e)
            }
        }
    }

    /// Whose place it will take.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself, to be synced with others.
    pub fn file(&mut self) -> &mut dyn NewFile {
        &mut *self.new
    }

    /// Puts it in its place for good; it is synced.
    ///
    /// # Errors
    /// It cannot be renamed: the old content stays. The directory cannot be synced: either may be there after a crash.
    pub fn put(self, files: &dyn Files) -> io::Result<()> {
        if let Err(e) = files.rename(&self.temporary, &self.path) {
            self.discard(files);
            return Err(e);
        }
        self.path.parent().map_or(Ok(()), |directory| files.sync_directory(directory))
    }

    /// Removes it instead.
    pub fn discard(self, files: &dyn Files) {
        // Something failed before, and that is reported; a leftover is removed by the next try.
        drop(files.remove(&self.temporary));
    }
}

/// Makes the content of all these files survive a power cut. They are synced at the same time, so that they share one
/// commit of the file system's journal and one flush of the disk, instead of waiting for one after the other.
///
/// # Errors
/// One cannot be synced: the first such, by its place in the list.
pub fn sync_together(files: Vec<&mut dyn NewFile>) -> Result<(), (usize, io::Error)> {
    let files: Vec<_> = files.into_iter().map(Mutex::new).collect();
    let Some((first, others)) = files.split_first() else { return Ok(()) };
    let outcomes = thread::scope(|scope| {
        let spawn = |file| thread::Builder::new().stack_size(SYNC_STACK).spawn_scoped(scope, move || sync(file));
        let others: Vec<_> = others.iter().map(|file| (file, spawn(file))).collect();
        let mut outcomes = vec![sync(first)];
        for (file, thread) in others {
            outcomes.push(match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(outcome)) => outcome,
                // Where there may be no more threads it takes its turn.
                Ok(Err(_)) | Err(_) => sync(file),
            });
        }
        outcomes
    });
    let failed = outcomes.into_iter().enumerate().find_map(|(at, outcome)| outcome.err().map(|e| (at, e)));
    failed.map_or(Ok(()), Err)
}

/// Does two things that wait for the disk at the same time.
pub fn at_once<A: Send, B>(one: impl Fn() -> A + Send + Sync, other: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(SYNC_STACK).spawn_scoped(scope, &one);
        let other = other();
        match thread.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(one)) => (one, other),
            // Where there may be no more threads it takes its turn.
            Ok(Err(_)) | Err(_) => (one(), other),
        }
    })
}

fn sync(file: &Mutex<&mut dyn NewFile>) -> io::Result<()> {
    lock(file).sync()
}

/// One system call is made on it (bytes).
const SYNC_STACK: usize = 64 * 1024;

/// Where a file is written before it takes the place of the one at `path`; a crash may leave it behind.
#[must_use]
pub fn replacement(path: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name()?);
    name.push(".pinion-new");
    Some(path.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::files::{Kind, RealFiles};

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let directory = kept.path().canonicalize().expect("a real path");
        let path = directory.join("a");
        for content in ["one", "two"] {
            replace(&RealFiles, &path, content.as_bytes(), 0o600).expect("replaced");
            assert_eq!(RealFiles.read(&path, 10).expect("read").as_slice(), content.as_bytes());
        }
        let found = RealFiles.look(&path).expect("looked").expect("there");
        assert_eq!((found.kind, found.mode, found.size), (Kind::File, 0o600, 3));
        assert_eq!(RealFiles.list(&directory).expect("listed"), ["a"]);
    }
}
