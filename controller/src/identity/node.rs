//! This node's authority at the start, where the identity root's key is the root process's.
//!
//! Answers: what does this controller sign identities with, and is it still the root that its agents trust?
//! Invariant: an installation that holds its root itself goes on so; one whose root is the root process's never makes one
//! of its own.

use std::path::Path;

use pinion_proto::clock::Timestamp;
use serde::de::IgnoredAny;

use super::{
    PUBLIC_ROOT, ROOT_DOCUMENT,
    asking::{Deadline, Terms, ask},
    error::IdentityError,
    grant::{Grant, PublicRoot, kept, public_root},
    loss::{self, Wish},
    next_root, rollover,
};
use crate::{
    authority::{self, Traces},
    channel::client::Client,
    store::{Area, Store},
};

/// This node's authority, from before or from the root process. None where this controller holds the root itself, because
/// it has one, or because nobody is there to hold it. Where there was a root and the shared area does not know it any more,
/// the shared area is lost: nobody goes on without it unless a person says so.
pub(super) async fn grant(
    store: &Store,
    client: &Client,
    host: &Path,
    (wish, begins_there): (Wish, bool),
    (deadline, now): (Deadline, Timestamp),
) -> Result<Option<Grant>, IdentityError> {
    if store.read::<IgnoredAny>(Area::Shared, ROOT_DOCUMENT)?.is_some() {
        return Ok(None);
    }
    let public = public_root(store)?.map(|root| root.fingerprint());
    let noted = authority::noted(store, PUBLIC_ROOT)?;
    if public.is_none() && noted.is_none() && !begins_there && wish != Wish::Keep {
        return Ok(None);
    }
    let mut traces = if wish == Wish::AtOnce { Traces::default() } else { loss::traces(store, Some(host))? };
    let pinned = traces.pinned.as_ref().map(|(root, _)| *root);
    let known = public.or(noted).or(pinned);
    let begins = public.is_none() && wish == Wish::None;
    if begins {
        // Where the root process never had it, what agents know would be the root of before, which this host held itself.
        let held_here = authority::noted(store, ROOT_DOCUMENT)?.is_some() || known.is_none();
        authority::may_begin(store, if held_here { ROOT_DOCUMENT } else { PUBLIC_ROOT }, &traces)?;
    }
    let grant = match kept(store, now).filter(|kept| Some(kept.authority.root().fingerprint()) == known) {
        Some(kept) => kept,
        None => {
            let terms = Terms { known, takes_over: None, begins };
            ask(store, client, terms, deadline, now).await?.keep(store)?
        }
    };
    let root = grant.authority.root().clone();
    let found = root.fingerprint();
    traces.of_use = None;
    next_root::allow(store, &mut traces.pinned, rollover::former(store)?)?;
    authority::check(store, PUBLIC_ROOT, traces, found)?;
    let public = store.settle(
        Area::Shared,
        PUBLIC_ROOT,
        |_| true,
        || Ok::<_, IdentityError>(PublicRoot { certificate: root }),
    )?;
    store.expect(PUBLIC_ROOT);
    if public.certificate.fingerprint() != found {
        let why = format!(
            "the shared state has the root {}, but this authority is under {found}",
            public.certificate.fingerprint()
        );
        return Err(IdentityError::Node(why));
    }
    Ok(Some(grant))
}
