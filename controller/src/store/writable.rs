//! Whether shared state can be written, as far as writing it has shown.
//!
//! Answers: is an error of a write this document's alone, or can nothing be written there now?
//! Invariant: that nothing can be written is forgotten only after a write that succeeded.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use pinion_proto::lock::lock;

use super::{error::StoreError, files::Files, refusal::is_refusal};

/// More than a file's own entry holds, so that a full disk has to say so (bytes).
const TRIAL: usize = 4096;

/// How the last write ended.
#[derive(Debug)]
pub(super) struct Writable {
    shared: PathBuf,
    /// The errno or kind of its refusal, none when it succeeded.
    last: Mutex<Option<(io::ErrorKind, Option<i32>)>>,
}

impl Writable {
    /// Nothing was written yet in this directory.
    pub(super) fn in_directory(shared: &Path) -> Self {
        Self { shared: shared.to_owned(), last: Mutex::default() }
    }

    /// Why shared state cannot be written now, if so: as its directory looks, and as the last write of it ended.
    pub(super) fn look(&self, files: &dyn Files) -> Result<(), StoreError> {
        let looked = files.look_writable(&self.shared);
        looked.and_then(|()| self.last()).map_err(|source| self.read_only(source))
    }

    /// Finds out, where a write was refused before, or the disk has no room: a small file, named by `trial`, is written and
    /// removed again.
    pub(super) fn find_out(&self, files: &dyn Files, trial: impl FnOnce() -> String) {
        let doubtful = self.last().is_err() || !files.has_room(&self.shared).unwrap_or(true);
        if doubtful && files.look_writable(&self.shared).is_ok() {
            let trial = self.shared.join(trial());
            // An empty file can be made on many a full disk.
            let written = files.create(&trial, &[b' '; TRIAL]);
            let removed = files.remove(&trial);
            self.note(written.and(removed).as_ref().err());
        }
    }

    /// Keeps in mind whether shared state can be written, and says in those words that it cannot.
    pub(super) fn noting<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        match outcome {
            Err(StoreError::Io { source, .. }) if is_refusal(&source) => {
                self.note(Some(&source));
                Err(self.read_only(source))
            }
            other => other,
        }
    }

    /// A write ended so.
    fn note(&self, refusal: Option<&io::Error>) {
        let refusal = refusal.map(|error| (error.kind(), error.raw_os_error()));
        *lock(&self.last) = refusal;
    }

    /// How the last one ended.
    fn last(&self) -> io::Result<()> {
        match *lock(&self.last) {
            None => Ok(()),
            Some((_, Some(errno))) => Err(io::Error::from_raw_os_error(errno)),
            Some((kind, None)) => Err(kind.into()),
        }
    }

    fn read_only(&self, source: io::Error) -> StoreError {
        StoreError::ReadOnly { path: self.shared.clone(), source }
    }
}
