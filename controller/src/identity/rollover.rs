//! From one identity root to the next, without a new join.
//!
//! Answers: which roots are trusted now, and when does the next one take over?
//! Invariant: the next root signs nothing before every guest that has an identity trusts it, and the one of before is
//! trusted for as long as an identity under it can be shown. Each step is one rename of a whole document, and is gone on
//! with at the next start.

use std::{path::PathBuf, time::Duration};

use pinion_proto::{
    bundle::{EndorsedRoot, Fingerprint, RootCertificate},
    clock::Timestamp,
    id::{Guest, TrustDomain},
};
use serde::{Deserialize, Serialize};

use super::{GuestRecord, IdentityError, ROOT_BEFORE, ROOT_DOCUMENT, guests::Guests};
use crate::{
    authority::{self, Authority},
    store::{Area, Store},
};

/// The next root and its key, while the one of before still signs.
const NEXT: &str = "identity-ca-next";

/// The root of before, without its key, while identities under it may be shown.
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
    /// The one that signed before.
    pub(super) former: Option<RootCertificate>,
}

/// How far a rollover is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// SHA-256 of the root that takes over.
    pub next: Fingerprint,
    /// How many guests have an identity.
    pub guests: usize,
    /// Those that do not trust the next root yet.
    pub missing: Vec<Guest>,
}

/// Makes the next root, once; the one that signs goes on.
pub(super) fn begin(store: &Store, domain: &TrustDomain, now: Timestamp) -> Result<(), IdentityError> {
    // Another subject than the one of before, so that nobody takes one for the other.
    Ok(authority::settle_made(store, NEXT, &format!("Pinion identities of {domain}, {now}"), now)?)
}

/// Before the root is read: has the next one take over, if every guest trusts it, and ends what a crash has interrupted.
/// A file that names the next root already is no reason to refuse the one that still signs.
pub(super) fn advance(
    store: &Store,
    guests: &Guests,
    pinned: &mut Option<(Fingerprint, PathBuf)>,
    now: Timestamp,
) -> Result<(), IdentityError> {
    let former = store.read::<Former>(Area::Shared, FORMER)?.map(|former| former.root.fingerprint());
    let current = authority::stored_root(store, ROOT_DOCUMENT)?;
    let Some(next) = authority::stored_root(store, NEXT)? else {
        // Interrupted before the last step: the root that is noted has made way.
        if let Some(current) = current
            && former.is_some()
            && former == authority::noted(store, ROOT_DOCUMENT)?
            && former != Some(current.fingerprint())
        {
            authority::note_root(store, ROOT_DOCUMENT, current.fingerprint())?;
        }
        return Ok(());
    };
    let names_next = pinned.as_ref().is_some_and(|(pinned, _)| *pinned == next.fingerprint());
    if let Some(current) = current {
        let all_trust = missing(&guests.all()?, next.fingerprint()).is_empty();
        if !all_trust || (pinned.is_some() && !names_next) {
            if names_next {
                *pinned = None;
            }
            return Ok(());
        }
        tracing::warn!(root = %next.fingerprint(), "The next identity root takes over: every guest trusts it");
        store.replace(Area::Shared, FORMER, &Former { root: current, since: now })?;
        store.rename(Area::Shared, ROOT_DOCUMENT, ROOT_BEFORE)?;
    } else if former.is_none() || former != authority::noted(store, ROOT_DOCUMENT)? {
        // The root is gone, and not because it has made way.
        return Ok(());
    }
    store.rename(Area::Shared, NEXT, ROOT_DOCUMENT)?;
    Ok(authority::note_root(store, ROOT_DOCUMENT, next.fingerprint())?)
}

/// The roots beside the one that signs.
pub(super) fn read(store: &Store, signer: &Authority, now: Timestamp) -> Result<Rollover, IdentityError> {
    let next = match authority::stored_root(store, NEXT)? {
        Some(root) => {
            let endorsement = signer.endorse(&root, now)?;
            Some(EndorsedRoot { root, endorsement })
        }
        None => None,
    };
    let former = store.read::<Former>(Area::Shared, FORMER)?;
    let former = former.filter(|former| now.since(former.since) < FORMER_TRUSTED).map(|former| former.root);
    Ok(Rollover { next, former: former.filter(|root| root.fingerprint() != signer.root().fingerprint()) })
}

/// Which guests with an identity do not trust this root. One that has none that is good joins anew in any case.
pub(super) fn missing(all: &[(Guest, GuestRecord)], root: Fingerprint) -> Vec<Guest> {
    let holds = |record: &GuestRecord| record.locked.is_none() && (record.current.is_some() || record.next.is_some());
    let missing = all.iter().filter(|(_, record)| holds(record) && record.root != Some(root));
    missing.map(|(guest, _)| *guest).collect()
}
