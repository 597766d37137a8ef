//! The identity root in the root process's directory, and the one that follows it.
//!
//! Answers: which root signs for this caller, and when does the next root take over?
//! Invariant: a root is made for a new installation, or because a person left a wish in this directory, and for no other
//! reason. A caller says which root it knows, and that the next one may take over; if it names any other root it is refused,
//! and nothing changes. The key of the present root stays until a caller says that the next root is the one that it knows.
//! Each step is one rename of a whole document; the next start continues after an interrupted one.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{bundle::Fingerprint, causes::chain, clock::Timestamp, id::TrustDomain};

use crate::{
    authority::{self, Authority, Traces},
    channel::protocol::{Cause, Failure, NextRoot},
    identity::{
        IdentityError, NewRoot, NextWish, PIN, ROOT_BEFORE, ROOT_DOCUMENT, pinned, rollover, set_domain, settle_domain,
    },
    store::{Area, NEW_ROOT, NEXT_ROOT, Store, StoreError},
};

/// Where the roots are, below `/`.
pub(crate) const DIRECTORY: &str = "var/lib/pinion-channel";

/// What a caller says of the roots that it knows.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Asked {
    /// The root that it knows. If it knows one, none is made.
    pub(in super::super) known: Option<Fingerprint>,
    /// The next root, if every guest trusts it.
    pub(in super::super) takes_over: Option<Fingerprint>,
}

/// The roots, and whose identities they are for.
#[derive(Debug)]
pub(super) struct Held {
    /// Holds the directory's lock.
    store: Store,
    pin: PathBuf,
    /// The trust domain that the configuration names.
    wanted: Option<TrustDomain>,
    /// The present root; none before the first one is made, and while a controller still signs with a root of its own.
    current: Option<Authority>,
    next: Option<Next>,
    /// Whether a person gave the previous root up, so that nothing speaks against making another one.
    given_up: bool,
    /// Whether a takeover broke off, so that only the disk knows which root is the present one.
    broken_off: bool,
}

#[derive(Debug)]
struct Next {
    authority: Authority,
    /// The word of the present root for it.
    endorsement: Option<Vec<u8>>,
}

impl Held {
    /// Reads the roots below `host`. A person's wish is spent first: for another root at once, or for one that follows.
    pub(super) fn open(host: &Path, wanted: Option<&TrustDomain>, now: Timestamp) -> Result<Self, IdentityError> {
        let directory = host.join(DIRECTORY);
        Self::open_in(Store::open(&directory, &directory)?, host.join(PIN), wanted, now)
    }

    pub(super) fn open_in(
        store: Store,
        pin: PathBuf,
        wanted: Option<&TrustDomain>,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        let given_up = spend_new_root(&store, &pin)?;
        let current = authority::stored(&store, ROOT_DOCUMENT)?;
        spend_next_root(&store, current.is_some(), wanted, now)?;
        let next = authority::stored(&store, rollover::NEXT)?;
        if let Some(current) = &current {
            check(&store, &pin, current.root().fingerprint(), next.as_ref())?;
        }
        let endorse = |next: Authority| {
            let endorsement = current.as_ref().map(|current| current.endorse(next.root(), now)).transpose()?;
            Ok::<_, IdentityError>(Next { authority: next, endorsement })
        };
        let next = next.map(endorse).transpose()?;
        Ok(Self { store, pin, wanted: wanted.cloned(), current, next, given_up, broken_off: false })
    }

    /// Whether there is a root.
    pub(super) fn is_used(&self) -> bool {
        self.current.is_some() || self.next.is_some()
    }

    /// Whether it has to be opened anew for the next call: where there is no root, what is missing may be put back, or a wish
    /// left, without this process being stopped.
    pub(super) fn is_over(&self) -> bool {
        !self.is_used() || self.broken_off
    }

    /// The root that follows the present one.
    pub(super) fn next(&self) -> Option<NextRoot> {
        let Next { authority, endorsement } = self.next.as_ref()?;
        let endorsement = endorsement.as_ref().map(|der| STANDARD.encode(der));
        Some(NextRoot { root: authority.root().clone(), endorsement })
    }

    /// Who signs for a caller, and for which trust domain. Where there never was a root it is made. A caller that knows the
    /// next root has it take over.
    pub(super) fn signer(&mut self, asked: Asked, now: Timestamp) -> Result<(&Authority, TrustDomain), Failure> {
        let Asked { known, takes_over } = asked;
        let next = self.next.as_ref().map(|next| next.authority.root().fingerprint());
        if next.is_some() && known == next {
            self.take_over(now)?;
        }
        let domain = settle_domain(&self.store, self.wanted.as_ref()).map_err(|error| unusable(&error))?;
        if let Some(next) = self.next.as_ref().filter(|next| takes_over == Some(next.authority.root().fingerprint())) {
            return Ok((&next.authority, domain));
        }
        let current = match self.current.take() {
            Some(current) => current,
            None => self.make(known, &domain, now)?,
        };
        let current = &*self.current.insert(current);
        let found = current.root().fingerprint();
        if let Some(known) = takes_over.or(known).filter(|known| *known != found) {
            let file = self.store.file(Area::Shared, ROOT_DOCUMENT).map_err(|error| refused(&chain(&error)))?;
            return Err(refused(&format!(
                "the identity root in {} is {found}, and the controller knows {known}: put back the one that belongs together",
                file.display()
            )));
        }
        if !self.pin.exists()
            && let Err(error) = write_pin(&self.pin, found)
        {
            tracing::warn!(path = %self.pin.display(), %error, "Cannot name the identity root for the case that all else is lost");
        }
        Ok((current, domain))
    }

    fn make(&self, known: Option<Fingerprint>, domain: &TrustDomain, now: Timestamp) -> Result<Authority, Failure> {
        if let Some(next) = &self.next {
            return Err(refused(&format!(
                "the identity root is the controller's own until every guest trusts the root process's, {}",
                next.authority.root().fingerprint()
            )));
        }
        let traces = || {
            if self.given_up {
                return Ok(Traces::default());
            }
            let pinned = pinned(&self.pin)?.map(|root| (root, self.pin.clone()));
            let of_use = known.map(|root| format!("the controller knows the root {root}"));
            Ok(Traces { pinned, of_use })
        };
        let name = format!("Pinion identities of {domain}");
        let made = traces()
            .and_then(|traces| Ok(Authority::load_or_make(&self.store, ROOT_DOCUMENT, &name, || Ok(traces), now)?));
        made.map_err(|error| unusable(&error))
    }

    /// The next root becomes the present one; the key of the one before is gone by the same rename.
    fn take_over(&mut self, now: Timestamp) -> Result<(), Failure> {
        let Some(next) = self.next.as_ref().map(|next| next.authority.root().fingerprint()) else { return Ok(()) };
        tracing::warn!(root = %next, "The next identity root takes over: the controller signs under it");
        let taken = || -> Result<(), StoreError> {
            if let Some(current) = &self.current {
                rollover::note_former(&self.store, current.root(), now)?;
            }
            if self.pin.exists() {
                write_pin(&self.pin, next).map_err(|source| StoreError::Io {
                    doing: "write",
                    path: self.pin.clone(),
                    source,
                })?;
            }
            self.store.rename(Area::Shared, rollover::NEXT, ROOT_DOCUMENT)
        };
        if let Err(error) = taken() {
            self.broken_off = true;
            return Err(refused(&chain(&error)));
        }
        self.current = self.next.take().map(|next| next.authority);
        if let Err(error) = authority::note_root(&self.store, ROOT_DOCUMENT, next) {
            // The next start notes it.
            tracing::warn!(%error, "Cannot note that another identity root has taken over");
        }
        Ok(())
    }
}

/// Takes the wish for another root at once, if there is one: then nothing is left of the root before and of one that was to
/// follow it, but for a copy aside.
fn spend_new_root(store: &Store, pin: &Path) -> Result<bool, IdentityError> {
    let Some(NewRoot { asked_at, .. }) = store.take(Area::Local, NEW_ROOT)? else { return Ok(false) };
    tracing::warn!(%asked_at, "A new identity root was asked for");
    rollover::forget(store)?;
    match store.rename(Area::Shared, ROOT_DOCUMENT, ROOT_BEFORE) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    authority::forget(store, ROOT_DOCUMENT)?;
    fs::remove_file(pin).ok();
    Ok(true)
}

/// Makes the root that follows, if a person asked for it. The wish goes when the root is there, so that a crash loses neither.
fn spend_next_root(
    store: &Store,
    has_root: bool,
    wanted: Option<&TrustDomain>,
    now: Timestamp,
) -> Result<(), IdentityError> {
    let Some(NextWish { asked_at, of_controller }) = store.read(Area::Local, NEXT_ROOT)? else { return Ok(()) };
    match (has_root, of_controller) {
        (true, None) => {
            let domain = settle_domain(store, wanted)?;
            rollover::begin(store, &domain, now)?;
            tracing::warn!(%asked_at, "Another identity root was asked for: it takes over when every guest trusts it");
        }
        (false, Some(domain)) => {
            set_domain(store, &domain)?;
            authority::forget(store, ROOT_DOCUMENT)?;
            rollover::begin(store, &domain, now)?;
            tracing::warn!(%asked_at, "This process is to have the identity root: its own takes over when every guest trusts it");
        }
        (true, Some(_)) => tracing::warn!(%asked_at, "This process has an identity root already: no other one is made"),
        (false, None) => tracing::warn!(%asked_at, "There is no identity root that another one could follow"),
    }
    Ok(store.remove(Area::Local, NEXT_ROOT)?)
}

/// Whether the root that was found is the one that should be there. A file or note that names the root that follows it, or
/// the one that it followed, is no reason to refuse it.
fn check(store: &Store, pin: &Path, found: Fingerprint, next: Option<&Authority>) -> Result<(), IdentityError> {
    rollover::renote(store, ROOT_DOCUMENT, found)?;
    let mut named = pinned(pin)?;
    if named.is_some() && named == next.map(|next| next.root().fingerprint()) {
        named = None;
    }
    if named.is_some_and(|named| named != found) && named == rollover::former(store)? {
        tracing::warn!(path = %pin.display(), root = %found, "The file names the identity root before this one: it is put right");
        write_pin(pin, found).map_err(|source| StoreError::Io { doing: "write", path: pin.into(), source })?;
        named = None;
    }
    let traces = Traces { pinned: named.map(|root| (root, pin.into())), of_use: None };
    authority::check(store, ROOT_DOCUMENT, traces, found)?;
    store.expect(ROOT_DOCUMENT);
    Ok(())
}

/// Names the root in a file of the administrator's: it outlives the loss of all state.
fn write_pin(path: &Path, root: Fingerprint) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let text = format!(
        "# The root of the agents' identities (SHA-256). Without its key no other is made in its place.\n{root}\n"
    );
    fs::write(&fresh, text)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644))?;
    fs::rename(&fresh, path)
}

pub(super) fn unusable(error: &IdentityError) -> Failure {
    refused(&chain(error))
}

pub(super) fn refused(why: &str) -> Failure {
    Failure::new(Cause::Refused, why)
}
