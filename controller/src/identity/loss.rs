//! What says that this installation had an identity root, and the one way to begin with another.
//!
//! Invariant: the wish for a new root is spent before anything follows from it, so that it is good for one start.

use std::{fs, io, path::Path};

use pinion_proto::{bundle::Fingerprint, clock::Timestamp};
use serde::{Deserialize, Serialize};

use super::{PUBLIC_ROOT, ROOT_BEFORE, ROOT_DOCUMENT, error::IdentityError, grant, guests, next_root, rollover};
use crate::{
    authority::{self, Traces},
    store::{Area, GIVEN_UP, NEW_ROOT, Store, StoreError},
};

/// Where an administrator, or the root process, names the root: the loss of all of Pinion's state is noticed by it.
pub(crate) const PIN: &str = "etc/pinion/identity-root";

/// A line with a fingerprint and some words (bytes).
const MAX_PIN: u64 = 4096;

/// The wish for a new root, as `pinion identity new-root --yes` leaves it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NewRoot {
    /// When it was asked for.
    pub(crate) asked_at: Timestamp,
    /// Whether the one that is there is given up at once.
    #[serde(default)]
    pub(crate) at_once: bool,
    /// Whether the root is still the root process's, and goes on: the rest of the state is given up.
    #[serde(default)]
    pub(crate) keep: bool,
}

/// That the shared area was given up, in the local area, until each of its authorities is there again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GivenUp {
    /// When that was said.
    pub(crate) asked_at: Timestamp,
}

/// What becomes of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nobody requested a new root.
    None,
    /// The root that is there goes on until every guest trusts the next.
    Rollover,
    /// There is no root any more: another one is made.
    AtOnce,
    /// The root process has the root, and it goes on without the state of before.
    Keep,
}

/// Everything that could not be there without a root. `host` is the directory that stands for `/`.
pub(super) fn traces(store: &Store, host: Option<&Path>) -> Result<Traces, IdentityError> {
    let identities = store.list(Area::Shared, guests::DIRECTORY)?.len();
    let reports = store.list(Area::Local, "reports")?.len();
    let of_use = match (identities, reports) {
        (0, 0) => None,
        (0, reports) => Some(format!("this host knows {reports} guests that have been linked")),
        (identities, _) => Some(format!("{identities} guests have identities under it")),
    };
    let pinned = match host {
        Some(host) => pinned(&host.join(PIN))?.map(|root| (root, host.join(PIN))),
        None => None,
    };
    Ok(Traces { pinned, of_use })
}

/// Takes the wish for a new root, if there is one. Where the root of before is gone, or is to be given up, it is put aside.
pub(super) fn spend_new_root(store: &Store) -> Result<Wish, IdentityError> {
    let Some(NewRoot { asked_at, at_once, keep }) = store.take(Area::Local, NEW_ROOT)? else { return Ok(Wish::None) };
    let own = store.read::<serde::de::IgnoredAny>(Area::Shared, ROOT_DOCUMENT)?.is_some();
    if !own && store.read::<serde::de::IgnoredAny>(Area::Shared, PUBLIC_ROOT)?.is_none() {
        // The embedded CA's root was lost with it, if there was one.
        store.write(Area::Local, GIVEN_UP, &GivenUp { asked_at })?;
    }
    if keep && !own {
        tracing::warn!(%asked_at, "The old state is given up, and the root process's root stays");
        return Ok(Wish::Keep);
    }
    if !at_once && own {
        tracing::warn!(%asked_at, "Another identity root was requested: it takes over when every guest trusts it");
        return Ok(Wish::Rollover);
    }
    tracing::warn!(%asked_at, "A new identity root was requested: every guest must join again");
    rollover::forget(store)?;
    next_root::forget(store)?;
    match store.rename(Area::Shared, ROOT_DOCUMENT, ROOT_BEFORE) {
        Ok(()) => {}
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    store.remove(Area::Shared, PUBLIC_ROOT)?;
    store.remove(Area::Local, grant::DOCUMENT)?;
    authority::forget(store, ROOT_DOCUMENT)?;
    authority::forget(store, PUBLIC_ROOT)?;
    Ok(Wish::AtOnce)
}

/// The root that the file names: its first word that is no comment.
pub(crate) fn pinned(path: &Path) -> Result<Option<Fingerprint>, IdentityError> {
    let unreadable = |why: String| IdentityError::Pin { path: path.to_owned(), why };
    let text = match fs::metadata(path).and_then(|found| {
        if found.len() > MAX_PIN { Err(io::ErrorKind::FileTooLarge.into()) } else { fs::read_to_string(path) }
    }) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let line = line.ok_or_else(|| unreadable("it is empty".into()))?;
    line.parse().map(Some).map_err(|error| unreadable(format!("`{line}` is not a SHA-256: {error}")))
}
