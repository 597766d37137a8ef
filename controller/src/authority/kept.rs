//! Which authorities this installation has, noted outside of the directory that holds them.
//!
//! Answers: is there no authority yet, or not any more?
//! Invariant: where anything says that there was one, none is made in its place: those who trust the one of before would
//! be cut off without a word. Only `pinion identity new-root --yes` says otherwise, once.

use std::path::PathBuf;

use pinion_proto::bundle::Fingerprint;
use serde::{Deserialize, Serialize};

use super::error::{Another, AuthorityError};
use crate::store::{AUTHORITIES, Area, Store, StoreError};

/// The note in the local area.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    /// SHA-256 of the root's certificate (DER).
    root: Fingerprint,
}

/// What says, outside of the shared area, that there was an authority.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traces {
    /// The root that a file of the administrator's names, and that file.
    pub(crate) pinned: Option<(Fingerprint, PathBuf)>,
    /// In words, what could not be there without it.
    pub(crate) of_use: Option<String>,
}

/// What is known of the authority that should be there.
#[derive(Debug)]
pub(super) struct Known {
    traces: Traces,
    noted: Option<Fingerprint>,
}

impl Known {
    pub(super) fn read(store: &Store, name: &'static str, traces: Traces) -> Result<Self, AuthorityError> {
        Ok(Self { traces, noted: noted(store, name)? })
    }

    /// There is no document: whether one may be made.
    pub(super) fn may_make(&self, store: &Store, name: &'static str) -> Result<(), AuthorityError> {
        let known = match (&self.noted, &self.traces.pinned, &self.traces.of_use) {
            (Some(root), ..) => format!("this host has recorded the root {root}"),
            (None, Some((root, file)), _) => format!("{} names the root {root}", file.display()),
            (None, None, Some(words)) => words.clone(),
            (None, None, None) => return Ok(()),
        };
        Err(AuthorityError::Lost { name, path: store.file(Area::Shared, name)?, known })
    }

    /// Whether the root that was found is the one that should be there; then it is noted.
    pub(super) fn check(&self, store: &Store, name: &'static str, found: Fingerprint) -> Result<(), AuthorityError> {
        let pinned = self.traces.pinned.as_ref().map(|(root, file)| (*root, file.display().to_string()));
        let noted = self
            .noted
            .map(|root| (root, store.file(Area::Local, &note(name))))
            .map(|(root, file)| (root, file.map(|file| file.display().to_string()).unwrap_or_default()));
        for (wanted, place) in [noted, pinned].into_iter().flatten() {
            if wanted != found {
                let path = store.file(Area::Shared, name)?;
                return Err(AuthorityError::Another(Box::new(Another { path, found, wanted, place })));
            }
        }
        if self.noted.is_none()
            && let Err(error) = store.write(Area::Local, &note(name), &Noted { root: found })
        {
            // The next start notes it; until then the loss of the shared area is seen by other traces.
            tracing::warn!(authority = name, %error, "Cannot record which root this host has");
        }
        Ok(())
    }
}

/// Whether an authority of this name may be made, when there is no document of it.
pub(crate) fn may_begin(store: &Store, name: &'static str, traces: &Traces) -> Result<(), AuthorityError> {
    Known::read(store, name, traces.clone())?.may_make(store, name)
}

/// Whether a root that was found is the one that should be there; then it is noted.
pub(crate) fn check(
    store: &Store,
    name: &'static str,
    traces: Traces,
    found: Fingerprint,
) -> Result<(), AuthorityError> {
    Known::read(store, name, traces)?.check(store, name, found)
}

/// The root that this host has noted.
pub(crate) fn noted(store: &Store, name: &str) -> Result<Option<Fingerprint>, StoreError> {
    Ok(store.read::<Noted>(Area::Local, &note(name))?.map(|noted| noted.root))
}

/// Another root takes the place of the one that is noted.
pub(crate) fn note_root(store: &Store, name: &str, root: Fingerprint) -> Result<(), StoreError> {
    store.write(Area::Local, &note(name), &Noted { root })
}

/// Forgets which root there was: a person wants another one.
pub(crate) fn forget(store: &Store, name: &str) -> Result<(), StoreError> {
    store.remove(Area::Local, &note(name))
}

fn note(name: &str) -> String {
    format!("{AUTHORITIES}/{name}")
}
