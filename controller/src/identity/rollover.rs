//! From one identity root to the next, without a new join.
//!
//! Answers: which roots are trusted now, and when does the next one take over?
//! Invariant: the next root signs nothing before every guest that has an identity trusts it, and the previous root is
//! trusted for as long as an identity under it can be shown. Each step is one rename of a whole document; the next start
//! continues after an interrupted one. Where the next root's key is the root process's, [`super::handover`] has it take over.

use std::{path::PathBuf, time::Duration};

use pinion_proto::{
    bundle::{EndorsedRoot, Fingerprint, RootCertificate},
    clock::Timestamp,
    id::{Guest, TrustDomain},
};
use serde::{Deserialize, Serialize};

use super::{ROOT_BEFORE, ROOT_DOCUMENT, error::IdentityError, guests::Guests, next_root, record::GuestRecord};
use crate::{
    authority::{self, Authority},
    store::{Area, NEXT_ROOT, Store, StoreError},
};

/// The next root and its key, while the present one still signs: here where it is this controller's, and by the same name in
/// the root process's directory.
pub(crate) const NEXT: &str = "identity-ca-next";

/// The previous root, without its key, while identities under it may be shown.
const FORMER: &str = "identity-former";

/// Longer than an identity lives.
const FORMER_TRUSTED: Duration = Duration::from_secs(31 * 24 * 3600);

#[derive(Serialize, Deserialize)]
struct Former {
    root: RootCertificate,
    since: Timestamp,
}

/// The roots beside the one that signs.
#[derive(Debug, Default)]
pub(super) struct Rollover {
    /// The one that takes over, with the word of the one that signs.
    pub(super) next: Option<EndorsedRoot>,
    /// Whether that one's key is the root process's.
    pub(super) held_by_root_process: bool,
    /// The one that signed before.
    pub(super) former: Option<RootCertificate>,
}

/// How far a rollover is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolloverProgress {
    /// SHA-256 of the root that takes over.
    pub next: Fingerprint,
    /// Whether its key is the root process's.
    pub held_by_root_process: bool,
    /// How many guests have an identity.
    pub guests: usize,
    /// Those that do not trust the next root yet.
    pub missing: Vec<Guest>,
}

/// Makes the next root, once; the present one goes on signing.
pub(crate) fn begin(store: &Store, domain: &TrustDomain, now: Timestamp) -> Result<(), IdentityError> {
    // Another subject than the present root's, so that nobody takes one for the other.
    Ok(authority::settle_made(store, NEXT, &format!("Pinion identities of {domain}, {now}"), now)?)
}

/// Forgets the next root and the previous one: every guest joins anew.
pub(crate) fn forget(store: &Store) -> Result<(), StoreError> {
    store.remove(Area::Shared, NEXT)?;
    store.remove(Area::Shared, FORMER)?;
    store.remove(Area::Local, NEXT_ROOT)
}

/// The previous root, if one was replaced by a rollover.
pub(crate) fn former(store: &Store) -> Result<Option<Fingerprint>, StoreError> {
    Ok(store.read::<Former>(Area::Shared, FORMER)?.map(|former| former.root.fingerprint()))
}

/// Writes down that this root makes way for another.
pub(crate) fn note_former(store: &Store, root: &RootCertificate, now: Timestamp) -> Result<(), StoreError> {
    store.replace(Area::Shared, FORMER, &Former { root: root.clone(), since: now })
}

/// Where a crash came between a takeover and its note in the local area: the root that is noted has made way for `current`.
pub(crate) fn renote(store: &Store, name: &str, current: Fingerprint) -> Result<(), StoreError> {
    let former = former(store)?;
    if former.is_some() && former != Some(current) && former == authority::noted(store, name)? {
        authority::note_root(store, name, current)?;
    }
    Ok(())
}

/// Before the root is read: has the next one take over, if every guest trusts it. A file that names the next root already is
/// no reason to refuse the one that still signs.
pub(super) fn advance(
    store: &Store,
    guests: &Guests,
    pinned: &mut Option<(Fingerprint, PathBuf)>,
    now: Timestamp,
) -> Result<(), IdentityError> {
    resume(store)?;
    let (Some(current), Some(next)) =
        (authority::stored_root(store, ROOT_DOCUMENT)?, authority::stored_root(store, NEXT)?)
    else {
        return Ok(());
    };
    let names_next = pinned.as_ref().is_some_and(|(pinned, _)| *pinned == next.fingerprint());
    let all_trust = missing(&guests.all()?, next.fingerprint()).is_empty();
    if !all_trust || (pinned.is_some() && !names_next) {
        if names_next {
            *pinned = None;
        }
        return Ok(());
    }
    tracing::warn!(root = %next.fingerprint(), "The next identity root takes over: every guest trusts it");
    note_former(store, &current, now)?;
    store.rename(Area::Shared, ROOT_DOCUMENT, ROOT_BEFORE)?;
    resume(store)
}

/// Continues after a takeover that a crash has interrupted: the previous root has made way, and the next one has not its name
/// or its note yet.
pub(super) fn resume(store: &Store) -> Result<(), IdentityError> {
    if let Some(current) = authority::stored_root(store, ROOT_DOCUMENT)? {
        return Ok(renote(store, ROOT_DOCUMENT, current.fingerprint())?);
    }
    let former = former(store)?;
    let Some(next) = authority::stored_root(store, NEXT)? else { return Ok(()) };
    if former.is_none() || former != authority::noted(store, ROOT_DOCUMENT)? {
        // The root is gone, and not because it has made way.
        return Ok(());
    }
    store.rename(Area::Shared, NEXT, ROOT_DOCUMENT)?;
    Ok(authority::note_root(store, ROOT_DOCUMENT, next.fingerprint())?)
}

/// The roots beside the one that signs, which is the root itself or an authority under it.
pub(super) fn read(
    store: &Store,
    signer: &Authority,
    is_root: bool,
    now: Timestamp,
) -> Result<Rollover, IdentityError> {
    let of_root_process = next_root::stored(store)?;
    let held_by_root_process = of_root_process.is_some();
    let next = match (of_root_process, is_root) {
        (Some(next), false) => next.endorsed(),
        (Some(next), true) => Some(endorsed(signer, next.root, now)?),
        (None, true) => authority::stored_root(store, NEXT)?.map(|root| endorsed(signer, root, now)).transpose()?,
        (None, false) => None,
    };
    let former = store.read::<Former>(Area::Shared, FORMER)?;
    let former = former.filter(|former| now.since(former.since) < FORMER_TRUSTED).map(|former| former.root);
    let former = former.filter(|root| root.fingerprint() != signer.root().fingerprint());
    Ok(Rollover { next, held_by_root_process, former })
}

fn endorsed(signer: &Authority, root: RootCertificate, now: Timestamp) -> Result<EndorsedRoot, IdentityError> {
    let endorsement = signer.endorse(&root, now)?;
    Ok(EndorsedRoot { root, endorsement })
}

/// Which guests with an identity do not trust this root. One that has none that is good joins anew in any case.
pub(super) fn missing(all: &[(Guest, GuestRecord)], root: Fingerprint) -> Vec<Guest> {
    let holds = |record: &GuestRecord| record.locked.is_none() && (record.current.is_some() || record.next.is_some());
    let missing = all.iter().filter(|(_, record)| holds(record) && record.root != Some(root));
    missing.map(|(guest, _)| *guest).collect()
}
