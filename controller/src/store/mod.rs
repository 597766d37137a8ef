//! Small JSON documents in files: the whole state of the controller.
//!
//! Answers: what did the controller know before it stopped?
//! Invariant: a reader sees a document whole, old or new, whenever the machine stopped; what cannot be read
//! is reported and left as it is, never replaced in silence. Only what pmxcfs, Proxmox's replicated
//! `/etc/pve`, offers is used: no links, no owners, no modes after creation, small files.

mod area;
mod claims;
#[cfg(test)]
pub(crate) mod cut;
#[cfg(test)]
pub(crate) mod faults;
mod directory;
mod document;
mod error;
mod files;
mod lock;
mod once;
#[cfg(test)]
pub(crate) mod pmxcfs;
mod preserve;
mod refusal;
mod temporaries;
mod whole;
mod writable;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use area::Area;
use area::SUFFIX;
use directory::{entries, make_directory};
use document::{Document, VERSION, parse, refuse_newer};
pub use error::StoreError;
pub use files::{Files, RealFiles};
use lock::{LOCK, lock};
pub(crate) use lock::{lock_existing, lock_new};
use pinion_proto::{file_lock::FileLock, id::is_plain_name};
use refusal::is_refusal;
use serde::{Serialize, de::DeserializeOwned};
use temporaries::Temporaries;
use whole::Expected;
pub(crate) use whole::{AUTHORITIES, GIVEN_UP, NEW_EMBEDDED_ROOT, NEW_ROOT, NEXT_ROOT};
use writable::Writable;
use zeroize::Zeroizing;

/// The documents, and the right to write them.
///
/// Calls block for as long as the disk takes. A document's name is one or more plain names joined by `/`,
/// such as `identity-ca` or `guests/101`.
#[derive(Debug)]
pub struct Store {
    local: PathBuf,
    shared: PathBuf,
    files: Arc<dyn Files>,
    temporaries: Temporaries,
    /// How the last write of shared state ended.
    writable: Writable,
    /// What has to be in the shared area.
    expected: Expected,
    /// How long the claim of somebody who does not go on is left alone.
    patience: Duration,
    /// Held until the store is dropped.
    _lock: FileLock,
}

impl Store {
    /// Opens both directories, makes them (0700) where they are missing, and removes what this host left
    /// half written.
    ///
    /// # Errors
    /// Another controller has them open, or a directory cannot be made, read or locked.
    pub fn open(local: &Path, shared: &Path) -> Result<Self, StoreError> {
        Self::open_on(local, shared, Arc::new(RealFiles))
    }

    /// As [`Self::open`], on these files; the lock is always the kernel's.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(local: &Path, shared: &Path, files: Arc<dyn Files>) -> Result<Self, StoreError> {
        make_directory(&*files, local)?;
        let lock = lock(&local.join(LOCK))?;
        if whole::may_be_made(&*files, local, shared)? {
            make_directory(&*files, shared)?;
        }
        let temporaries = Temporaries::of_this_host();
        // State that cannot be written now can be read.
        for directory in [local, shared] {
            match temporaries.clean(&*files, directory) {
                Err(StoreError::Io { path, source, .. }) if is_refusal(&source) => {
                    tracing::warn!(path = %path.display(), %source, "Cannot remove an incomplete file");
                }
                outcome => outcome?,
            }
        }
        let (writable, expected) = (Writable::in_directory(shared), Expected::in_directory(shared));
        let (local, shared, patience) = (local.into(), shared.into(), claims::PATIENCE);
        let store = Self { local, shared, files, temporaries, writable, expected, patience, _lock: lock };
        claims::clean(&*store.files, &store.shared);
        store.expected.add_directories(&*store.files)?;
        Ok(store)
    }

    /// Reads a document; none when there is no such file.
    ///
    /// # Errors
    /// The file cannot be read, or is not a document of this version; it stays as it is.
    pub fn read<T: DeserializeOwned>(&self, area: Area, name: &str) -> Result<Option<T>, StoreError> {
        let path = self.path(area, name)?;
        let bytes = match self.files.read(&path, area.max()) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(StoreError::TooLarge { path, max: area.max() }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::Io { doing: "read", path, source }),
        };
        parse(&path, &bytes).map(Some)
    }

    /// Replaces a document: afterwards it is there wholly, even if the machine stops. In the shared area it keeps what
    /// another version of this program has written into it.
    ///
    /// # Errors
    /// The document is too large for its area, the one that is there was written by a newer program, or the disk refuses;
    /// the old one stays.
    pub fn write<T: Serialize + DeserializeOwned>(&self, area: Area, name: &str, data: &T) -> Result<(), StoreError> {
        if let Some(old) = self.replaceable(area, name)?
            && let Some(document) = preserve::with_unknown(&old, data)
        {
            return self.put_document(area, name, &document, Outlives::PowerCut, || Ok(true)).map(drop);
        }
        self.put(area, name, data, Outlives::PowerCut)
    }

    /// As [`Self::write`], for a document that has nothing to do with the one of before.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn replace<T: Serialize>(&self, area: Area, name: &str, data: &T) -> Result<(), StoreError> {
        self.replaceable(area, name)?;
        self.put(area, name, data, Outlives::PowerCut)
    }

    /// What is in a shared document that is about to be replaced; none where there is nothing, or what cannot be read,
    /// which is replaced too. What a newer program wrote is not.
    fn replaceable(&self, area: Area, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        if area == Area::Local {
            return Ok(None);
        }
        let path = self.path(area, name)?;
        let Ok(Some(old)) = self.files.read(&path, area.max()) else { return Ok(None) };
        refuse_newer(&path, &old)?;
        Ok(Some(old))
    }

    /// As [`Self::write`] in the local area, without waiting for the disk: afterwards the document is there wholly
    /// even if this process is killed. A power cut may leave the old one, none, or an empty file.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_unsynced<T: Serialize>(&self, name: &str, data: &T) -> Result<(), StoreError> {
        self.put(Area::Local, name, data, Outlives::Process)
    }

    fn put<T: Serialize>(&self, area: Area, name: &str, data: &T, outlives: Outlives) -> Result<(), StoreError> {
        self.put_if(area, name, data, outlives, || Ok(true)).map(drop)
    }

    /// Puts a document in its place if it is `ready` to be, asked at the last moment. False when it is not.
    fn put_if<T: Serialize>(
        &self,
        area: Area,
        name: &str,
        data: &T,
        outlives: Outlives,
        ready: impl FnOnce() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        self.put_document(area, name, &Document { version: VERSION, data }, outlives, ready)
    }

    fn put_document(
        &self,
        area: Area,
        name: &str,
        document: &impl Serialize,
        outlives: Outlives,
        ready: impl FnOnce() -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        self.check_whole(area)?;
        let path = self.path(area, name)?;
        let document = serde_json::to_vec(document);
        let mut bytes =
            Zeroizing::new(document.map_err(|source| StoreError::Unwritable { path: path.clone(), source })?);
        bytes.push(b'\n');
        if bytes.len() > area.max() {
            return Err(StoreError::TooLarge { path, max: area.max() });
        }
        let directory = path.parent().unwrap_or(&self.local);
        self.make_parent(area, directory)?;
        let temporary = directory.join(self.temporaries.next());
        let create = match outlives {
            Outlives::Process => self.files.create_unsynced(&temporary, &bytes),
            Outlives::PowerCut => self.files.create(&temporary, &bytes),
        };
        let fail = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { doing, path, source }
        };
        let written = create.map_err(fail("write", &temporary)).and_then(|()| {
            let ready = ready()?;
            if ready {
                self.files.rename(&temporary, &path).map_err(fail("replace", &path))?;
            }
            Ok(ready)
        });
        if !matches!(written, Ok(true)) {
            // The write's own failure is what counts; what stays here is cleaned at the next start.
            self.files.remove(&temporary).ok();
        }
        let synced = written.and_then(|ready| {
            if ready {
                self.sync(directory, outlives)?;
            }
            Ok(ready)
        });
        self.noting(area, synced)
    }

    /// Removes a document; it is well if there is none.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn remove(&self, area: Area, name: &str) -> Result<(), StoreError> {
        self.take_away(area, name, Outlives::PowerCut)
    }

    /// As [`Self::remove`] in the local area, without waiting for the disk: after a power cut it may be there again.
    ///
    /// # Errors
    /// As [`Self::remove`].
    pub fn remove_unsynced(&self, name: &str) -> Result<(), StoreError> {
        self.take_away(Area::Local, name, Outlives::Process)
    }

    fn take_away(&self, area: Area, name: &str, outlives: Outlives) -> Result<(), StoreError> {
        self.check_whole(area)?;
        let path = self.path(area, name)?;
        match self.files.remove(&path) {
            Ok(()) => self.noting(area, self.sync(path.parent().unwrap_or(&self.local), outlives)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => self.noting(area, Err(StoreError::Io { doing: "remove", path, source })),
        }
    }

    fn sync(&self, directory: &Path, outlives: Outlives) -> Result<(), StoreError> {
        let fail = |source| StoreError::Io { doing: "sync directory", path: directory.into(), source };
        match outlives {
            Outlives::Process => Ok(()),
            Outlives::PowerCut => self.files.sync_directory(directory).map_err(fail),
        }
    }

    /// The last parts of the names of all documents in a directory, sorted: `101` of `guests/101`.
    /// An empty `directory` lists the area's top. Files that are no documents are passed over.
    ///
    /// # Errors
    /// The directory cannot be read; one that is missing is empty.
    pub fn list(&self, area: Area, directory: &str) -> Result<Vec<String>, StoreError> {
        let top = self.directory(area);
        let path = if directory.is_empty() { top.to_path_buf() } else { top.join(checked(directory)?) };
        let mut names = Vec::new();
        for (file, _) in entries(&*self.files, &path)? {
            if let Some(name) = file.strip_suffix(SUFFIX)
                && is_plain_name(name)
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn directory(&self, area: Area) -> &Path {
        match area {
            Area::Local => &self.local,
            Area::Shared => &self.shared,
        }
    }

    /// The file that a document is in.
    ///
    /// # Errors
    /// It is no document's name.
    pub fn file(&self, area: Area, name: &str) -> Result<PathBuf, StoreError> {
        self.path(area, name)
    }

    /// Gives a document another name, in place of what has that name.
    ///
    /// # Errors
    /// There is none, or the disk refuses.
    pub fn rename(&self, area: Area, name: &str, to: &str) -> Result<(), StoreError> {
        let (path, to) = (self.path(area, name)?, self.path(area, to)?);
        let renamed = self.files.rename(&path, &to);
        self.noting(area, renamed.map_err(|source| StoreError::Io { doing: "rename", path: path.clone(), source }))?;
        self.sync(to.parent().unwrap_or(&self.local), Outlives::PowerCut)
    }

    /// From now on this document of the shared area's top directory has to be there.
    pub(crate) fn expect(&self, name: &str) {
        self.expected.add(format!("{name}{SUFFIX}"));
    }

    /// Whether nothing was taken away from the area, as far as it is shared.
    fn check_whole(&self, area: Area) -> Result<(), StoreError> {
        if area == Area::Shared { self.expected.check(&*self.files) } else { Ok(()) }
    }

    /// Makes the directory that a document is in.
    fn make_parent(&self, area: Area, directory: &Path) -> Result<(), StoreError> {
        self.noting(area, make_directory(&*self.files, directory))?;
        if area == Area::Shared {
            self.expected.add_above(directory);
        }
        Ok(())
    }

    /// Why shared state cannot be written now, if so: as its directory looks, and as the last write of it ended.
    /// Writes nothing.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`].
    pub fn shared_writable(&self) -> Result<(), StoreError> {
        self.check_whole(Area::Shared)?;
        self.writable.look(&*self.files)
    }

    /// As [`Self::shared_writable`], and finds out: where a write was refused before, or the disk has no room, a small
    /// file is written and removed again.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`].
    pub fn try_shared(&self) -> Result<(), StoreError> {
        self.writable.find_out(&*self.files, || self.temporaries.next());
        self.shared_writable()
    }

    /// Keeps in mind whether shared state can be written, and says in those words that it cannot.
    fn noting<T>(&self, area: Area, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if area == Area::Shared { self.writable.noting(outcome) } else { outcome }
    }

    fn path(&self, area: Area, name: &str) -> Result<PathBuf, StoreError> {
        Ok(self.directory(area).join(format!("{}{SUFFIX}", checked(name)?)))
    }
}

/// What a change of the disk outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlives {
    /// The end of this process.
    Process,
    /// A power cut too; that takes as long as the disk does.
    PowerCut,
}

fn checked(name: &str) -> Result<&str, StoreError> {
    if name.split('/').all(is_plain_name) { Ok(name) } else { Err(StoreError::Name(pinion_proto::id::shown(name))) }
}

#[cfg(test)]
mod tests;
