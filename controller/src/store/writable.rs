//! Whether shared state can be written, as far as writing it has shown.
//!
//! Answers: is an error of a write this document's alone, or can nothing be written there now?
//! Invariant: that nothing can be written is forgotten only after a write that succeeded.

use std::{io, sync::Mutex};

use pinion_proto::lock::lock;

pub(super) use super::refusal::{is_full, is_refusal};
use super::{Area, Store, StoreError};

/// More than a file's own entry holds, so that a full disk has to say so (bytes).
const TRIAL: usize = 4096;

/// How the last write ended: the errno or kind of its refusal, none when it succeeded.
#[derive(Debug, Default)]
pub(super) struct Writable(Mutex<Option<(io::ErrorKind, Option<i32>)>>);

impl Writable {
    /// A write ended so.
    pub(super) fn note(&self, refusal: Option<&io::Error>) {
        let refusal = refusal.map(|error| (error.kind(), error.raw_os_error()));
        *lock(&self.0) = refusal;
    }

    /// How the last one ended.
    pub(super) fn last(&self) -> io::Result<()> {
        match *lock(&self.0) {
            None => Ok(()),
            Some((_, Some(errno))) => Err(io::Error::from_raw_os_error(errno)),
            Some((kind, None)) => Err(kind.into()),
        }
    }
}

impl Store {
    /// Why shared state cannot be written now, if so: as its directory looks, and as the last write of it ended.
    /// Writes nothing.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`].
    pub fn shared_writable(&self) -> Result<(), StoreError> {
        self.check_whole(Area::Shared)?;
        let looked = self.files.look_writable(&self.shared);
        looked.and_then(|()| self.writable.last()).map_err(|source| self.read_only(source))
    }

    /// As [`Self::shared_writable`], and finds out: where a write was refused before, or the disk has no room, a small
    /// file is written and removed again.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`].
    pub fn try_shared(&self) -> Result<(), StoreError> {
        let doubtful = self.writable.last().is_err() || !self.files.has_room(&self.shared).unwrap_or(true);
        if doubtful && self.files.look_writable(&self.shared).is_ok() {
            let trial = self.shared.join(self.temporaries.next());
            // An empty file can be made on many a full disk.
            let written = self.files.create(&trial, &[b' '; TRIAL]);
            let removed = self.files.remove(&trial);
            self.writable.note(written.and(removed).as_ref().err());
        }
        self.shared_writable()
    }

    fn read_only(&self, source: io::Error) -> StoreError {
        StoreError::ReadOnly { path: self.shared.clone(), source }
    }

    /// Keeps in mind whether shared state can be written, and says in those words that it cannot.
    pub(super) fn noting<T>(&self, area: Area, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        match outcome {
            Err(StoreError::Io { source, .. }) if area == Area::Shared && is_refusal(&source) => {
                self.writable.note(Some(&source));
                Err(self.read_only(source))
            }
            other => other,
        }
    }
}
