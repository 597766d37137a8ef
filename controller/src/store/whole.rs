//! Whether the shared area is still what this controller has found or made there.
//!
//! Answers: may something be written there now, or was it taken away under this controller?
//! Invariant: of what was there, nothing is made anew in its place while the controller runs: a directory of identities
//! that is gone would come back with one identity in it, and look whole.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use pinion_proto::lock::lock;

use super::{area::SUFFIX, directory::entries, error::StoreError, files::Files};

/// Local documents that say which authorities this installation has, by their names in the shared area.
pub(crate) const AUTHORITIES: &str = "authorities";

/// The local document that asks for a new identity root at the next start.
pub(crate) const NEW_ROOT: &str = "new-root";

/// The local document that asks the root process for a root that follows the present one; the root process has the same.
pub(crate) const NEXT_ROOT: &str = "next-root";

/// The local document that says that the shared area was lost and given up.
pub(crate) const GIVEN_UP: &str = "given-up";

/// The same as [`NEW_ROOT`] for the embedded CA's root.
pub(crate) const NEW_EMBEDDED_ROOT: &str = "new-root-embedded";

/// What has to be in the shared area's top directory.
#[derive(Debug)]
pub(super) struct Expected {
    shared: PathBuf,
    names: Mutex<BTreeSet<String>>,
}

impl Expected {
    /// Nothing yet in this directory.
    pub(super) fn in_directory(shared: &Path) -> Self {
        Self { shared: shared.to_owned(), names: Mutex::default() }
    }

    /// From now on this file or directory has to be there.
    pub(super) fn add(&self, name: String) {
        lock(&self.names).insert(name);
    }

    /// From now on the top directory that this one is in has to be there.
    pub(super) fn add_above(&self, directory: &Path) {
        if let Ok(below) = directory.strip_prefix(&self.shared)
            && let Some(top) = below.components().next()
        {
            self.add(top.as_os_str().to_string_lossy().into_owned());
        }
    }

    /// Takes in which directories there are.
    pub(super) fn add_directories(&self, files: &dyn Files) -> Result<(), StoreError> {
        for (name, is_directory) in entries(files, &self.shared)? {
            if is_directory && !name.starts_with('.') {
                self.add(name);
            }
        }
        Ok(())
    }

    /// Whether nothing was taken away.
    pub(super) fn check(&self, files: &dyn Files) -> Result<(), StoreError> {
        let names = match files.list(&self.shared) {
            Ok(names) => names,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Gone { path: self.shared.clone() });
            }
            Err(source) => return Err(StoreError::Io { doing: "list", path: self.shared.clone(), source }),
        };
        let expected = lock(&self.names);
        match expected.iter().find(|name| !names.iter().any(|(found, _)| found == *name)) {
            Some(name) => Err(StoreError::Gone { path: self.shared.join(name) }),
            None => Ok(()),
        }
    }
}

/// Whether the shared directory may be made: where this host knows authorities that were in it, it was lost, and an empty
/// one in its place would be in the way of whoever restores it.
pub(super) fn may_be_made(files: &dyn Files, local: &Path, shared: &Path) -> Result<bool, StoreError> {
    let there = match files.list(shared) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    };
    let known = !entries(files, &local.join(AUTHORITIES))?.is_empty();
    let asked = entries(files, local)?.iter().any(|(name, _)| name.strip_suffix(SUFFIX) == Some(NEW_ROOT));
    Ok(there || !known || asked)
}
