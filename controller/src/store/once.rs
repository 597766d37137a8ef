//! Documents that are made once, and documents that are taken once, whoever else tries in that moment.
//!
//! Answers: of several controllers that find no document, whose is it from now on?
//! Invariant: a document appears whole under its name, by the one rename of whoever holds its claim; everyone else
//! reads that one. A claim is a directory made by mkdir(2), which is exclusive on pmxcfs too (links are not there, and a
//! file made by `O_EXCL` would be torn by a crash). On this host a flock excludes the others for certain and is free when
//! its holder dies; between the nodes that share the directory a claim that was not used for [`claims::PATIENCE`](super::claims::PATIENCE) is taken over.

use std::{
    io,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Area, Outlives, Store, StoreError,
    claims::{newest, prefix},
};

/// How often whoever waits looks again.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The file whose flock excludes this host's other processes.
const LOCK: &str = ".making.lock";

impl Store {
    /// The document, if it is there and `fits`; otherwise what `make` makes takes its place. Of several that try at once,
    /// in this process, on this host or on other nodes, one makes it, and all return that one.
    ///
    /// # Errors
    /// What is there cannot be read, the disk refuses, or `make` fails.
    pub fn settle<T, E>(
        &self,
        area: Area,
        name: &str,
        fits: impl Fn(&T) -> bool,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<StoreError>,
    {
        let path = self.path(area, name)?;
        let (mut make, mut made) = (Some(make), None);
        let mut watched: Option<(u64, Instant)> = None;
        loop {
            if let Some(found) = self.read::<T>(area, name)?.filter(&fits) {
                return Ok(found);
            }
            if let Some(turn) = self.turn(area, &path, &mut watched)? {
                // What was published while this one waited.
                if let Some(found) = self.read::<T>(area, name)?.filter(&fits) {
                    turn.release();
                    return Ok(found);
                }
                if let Some(make) = make.take() {
                    made = Some(make().inspect_err(|_| turn.release())?);
                }
                if let Some(document) = &made
                    && self.publish(area, name, document, &turn)?
                {
                    turn.release();
                    return Ok(made.expect("it was published this moment"));
                }
            }
            sleep(LOOK_EVERY);
        }
    }

    /// Takes a document away and returns it: of several that try at once exactly one gets it. Afterwards it is gone, even
    /// if the machine stops.
    ///
    /// # Errors
    /// The disk refuses, or the document cannot be understood: it is gone all the same.
    pub fn take<T: DeserializeOwned>(&self, area: Area, name: &str) -> Result<Option<T>, StoreError> {
        self.check_whole(area)?;
        let path = self.path(area, name)?;
        let directory = path.parent().unwrap_or(&self.local);
        let taken = directory.join(self.temporaries.next());
        match self.files.rename(&path, &taken) {
            Ok(()) => {}
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return self.noting(area, Err(StoreError::Io { doing: "remove", path, source })).map(|()| None);
            }
        }
        let bytes = self.files.read(&taken, area.max());
        // What stays here is cleaned at the next start, and is no document.
        self.files.remove(&taken).ok();
        self.sync(directory, Outlives::PowerCut)?;
        match bytes {
            Ok(Some(bytes)) => super::document::parse(&path, &bytes).map(Some),
            Ok(None) => Err(StoreError::TooLarge { path, max: area.max() }),
            Err(source) => Err(StoreError::Io { doing: "read", path, source }),
        }
    }

    /// The right to make the document, if it is this one's turn now.
    fn turn<'s>(
        &'s self,
        area: Area,
        path: &Path,
        watched: &mut Option<(u64, Instant)>,
    ) -> Result<Option<Turn<'s>>, StoreError> {
        self.check_whole(area)?;
        let directory = path.parent().unwrap_or(&self.local);
        self.make_parent(area, directory)?;
        let fail = |doing, path: PathBuf| move |source| StoreError::Io { doing, path, source };
        let lock = directory.join(LOCK);
        let host = self.noting(area, self.files.exclude(&lock).map_err(fail("lock", lock)))?;
        let Some(host) = host else { return Ok(None) };
        let prefix = prefix(path);
        let number = match (newest(&*self.files, directory, &prefix)?, *watched) {
            (None, _) => 0,
            (Some(claim), Some((seen, since))) if claim == seen => {
                if since.elapsed() < self.patience {
                    return Ok(None);
                }
                tracing::warn!(path = %path.display(), "Another process began to create this document and did not \
                    finish; creating it now");
                claim.saturating_add(1)
            }
            (Some(claim), _) => {
                *watched = Some((claim, Instant::now()));
                return Ok(None);
            }
        };
        let claim = directory.join(format!("{prefix}{number}"));
        match self.files.claim(&claim) {
            Ok(()) => {}
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(source) => return self.noting(area, Err(fail("make directory", claim)(source))),
        }
        let directory = directory.to_owned();
        Ok(Some(Turn { store: self, directory, prefix, number, _host: host }))
    }

    /// Puts a document in its place, if the claim on it is still this one's.
    fn publish<T: Serialize>(&self, area: Area, name: &str, data: &T, turn: &Turn<'_>) -> Result<bool, StoreError> {
        let ready = || Ok(newest(&*self.files, &turn.directory, &turn.prefix)? == Some(turn.number));
        self.put_if(area, name, data, Outlives::PowerCut, ready).inspect_err(|_| turn.release())
    }
}

/// The right to make one document.
struct Turn<'s> {
    store: &'s Store,
    directory: PathBuf,
    prefix: String,
    number: u64,
    /// Keeps this host's others out.
    _host: Box<dyn Send>,
}

impl Turn<'_> {
    /// Gives the right back; what cannot be removed is taken over, or cleaned at the next start.
    fn release(&self) {
        for number in (0..=self.number).rev() {
            self.store.files.release(&self.directory.join(format!("{}{number}", self.prefix))).ok();
        }
    }
}

#[cfg(test)]
mod tests;
