//! The next identity root, where its key is the root process's: what this controller does until it signs under it.
//!
//! Answers: which root of the root process follows the present one, and does it sign now?
//! Invariant: which root follows is the root process's word alone, because a person asked it for one. The next root signs
//! nothing before every guest with an identity trusts it; nothing here refuses the root that signs meanwhile. The key that
//! this controller holds itself goes when the root process has said that its own root has taken over. Each step is one
//! change of a whole document; the next start continues after an interrupted one.

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{
    bundle::{EndorsedRoot, Fingerprint, RootCertificate},
    causes::chain,
    clock::Timestamp,
};

use super::{
    PUBLIC_ROOT, ROOT_BEFORE, ROOT_DOCUMENT,
    asking::{self, Deadline, Terms},
    domain::stored_domain,
    error::IdentityError,
    grant::{kept_root, public_root, set_public_root},
    guests::Guests,
    next_root::{self, NEXT, Next, NextWish, stored},
    rollover,
};
use crate::{
    authority,
    channel::client::Client,
    store::{Area, NEXT_ROOT, Store, StoreError},
};

/// Asks the root process which root follows, if a person asked for one. Returns in words what keeps it from being known.
pub(super) async fn learn(store: &Store, client: &Client, deadline: Deadline) -> Result<Option<String>, IdentityError> {
    let Some(NextWish { asked_at, .. }) = store.read(Area::Local, NEXT_ROOT)? else { return Ok(None) };
    let own = authority::stored_root(store, ROOT_DOCUMENT)?;
    // Where the root is lost, that is told first.
    let Some(current) = own.clone().or(public_root(store)?) else { return Ok(None) };
    let told = match deadline.ask(|| client.next_root()).await {
        Ok(told) => told,
        Err(failure) => {
            let why = format!(
                "another identity root was requested at {asked_at}, and the root process does not say which: {failure}; \
                 the next start of the controller asks again"
            );
            return Ok(Some(why));
        }
    };
    let why = match told {
        None => Some(format!(
            "another identity root was requested at {asked_at}, and the root process has none: ask again with `pinion \
             identity new-root`"
        )),
        Some(told) if told.root.fingerprint() == current.fingerprint() => None,
        Some(told) => {
            let next = Next { root: told.root, endorsement: told.endorsement.filter(|_| own.is_none()) };
            take(store, next, own.is_some(), &current)?
        }
    };
    store.remove(Area::Local, NEXT_ROOT)?;
    Ok(why)
}

/// Writes down which root follows.
fn take(store: &Store, next: Next, is_own: bool, current: &RootCertificate) -> Result<Option<String>, IdentityError> {
    if !is_own {
        let endorsement = next.endorsement.as_ref().and_then(|text| STANDARD.decode(text).ok());
        let endorsed = EndorsedRoot { root: next.root.clone(), endorsement: endorsement.unwrap_or_default() };
        if let Err(error) = endorsed.check(current) {
            return Ok(Some(format!(
                "the root process's next identity root {} is not used: {}",
                next.root.fingerprint(),
                chain(&error)
            )));
        }
    }
    tracing::warn!(root = %next.root.fingerprint(), "The root process has another identity root: it takes over when every guest trusts it");
    store.replace(Area::Shared, NEXT, &next)?;
    // One of this controller's own that was on its way makes way.
    store.remove(Area::Shared, rollover::NEXT)?;
    Ok(None)
}

/// Before the root is read: has the next one take over, if every guest trusts it. Returns in words what keeps it from that.
pub(super) async fn advance(
    store: &Store,
    client: &Client,
    guests: &Guests,
    deadline: Deadline,
    now: Timestamp,
) -> Result<Option<String>, IdentityError> {
    let (own, public) = (authority::stored_root(store, ROOT_DOCUMENT)?, public_root(store)?);
    if own.is_none()
        && let Some(public) = &public
    {
        settle_notes(store, public.fingerprint())?;
    }
    let (Some(next), Some(current)) = (stored(store)?, own.clone().or(public)) else { return Ok(None) };
    let root = next.root.fingerprint();
    if current.fingerprint() == root {
        // Interrupted before the last step.
        next_root::forget(store)?;
        return Ok(None);
    }
    let late = |why: &dyn std::error::Error| {
        format!(
            "every guest trusts the next identity root {root}, and it has not taken over, because of the root process: {}; the \
             next start of the controller tries again",
            chain(why)
        )
    };
    // What is signed under the next root already was so by a decision that goes before any step.
    let decided = own.is_none() && kept_root(store, now) == Some(root);
    if !decided {
        if !rollover::missing(&guests.all()?, root).is_empty() {
            return Ok(None);
        }
        let terms = Terms { known: Some(current.fingerprint()), takes_over: Some(root), begins: false };
        let asked = match asking::ask(store, client, terms, deadline, now).await {
            Err(error @ (IdentityError::RootProcess(_) | IdentityError::Node(_))) => return Ok(Some(late(&error))),
            asked => asked?,
        };
        if let Some(stored) = stored_domain(store)?.filter(|stored| stored != asked.trust_domain()) {
            let wanted = asked.trust_domain().clone();
            return Ok(Some(late(&IdentityError::Domain { stored, wanted })));
        }
        tracing::warn!(%root, "The next identity root takes over: every guest trusts it");
        rollover::note_former(store, &current, now)?;
        asked.keep(store)?;
    }
    // From this call on the root process has no other root.
    let terms = Terms { known: Some(root), ..Terms::default() };
    match asking::ask(store, client, terms, deadline, now).await {
        Ok(asked) => drop(asked.keep(store)?),
        Err(error) if own.is_some() => return Ok(Some(late(&error))),
        Err(error) => {
            // It is said again with each renewal.
            let error = chain(&error);
            tracing::warn!(%error, "The root process does not hear yet that its next identity root has taken over");
        }
    }
    set_public_root(store, next.root)?;
    if own.is_some() {
        // The present root's key last: as long as it is there, this controller holds the root.
        for key in [rollover::NEXT, ROOT_BEFORE, ROOT_DOCUMENT] {
            store.remove(Area::Shared, key)?;
        }
        authority::forget(store, ROOT_DOCUMENT)?;
    }
    authority::note_root(store, PUBLIC_ROOT, root)?;
    next_root::forget(store)?;
    Ok(None)
}

/// Ends what a crash has left between a takeover and its notes: `current` is the root, and its key is the root process's.
fn settle_notes(store: &Store, current: Fingerprint) -> Result<(), StoreError> {
    rollover::renote(store, PUBLIC_ROOT, current)?;
    let held_before = authority::noted(store, ROOT_DOCUMENT)?;
    if held_before.is_some() && held_before == rollover::former(store)? {
        authority::forget(store, ROOT_DOCUMENT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use tempfile::TempDir;

    use super::*;

    fn root() -> RootCertificate {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("signed");
        RootCertificate::parse(certificate.der()).expect("a root")
    }

    #[test]
    fn that_this_controller_held_the_root_is_forgotten_once_that_root_has_made_way() {
        let (held, other, current) = (root(), root(), root().fingerprint());
        for (what, noted, former, forgotten) in [
            ("it made way", Some(&held), Some(&held), true),
            ("another one did", Some(&held), Some(&other), false),
            ("none did", Some(&held), None, false),
            ("it held none", None, Some(&other), true),
        ] {
            let directory = TempDir::new().expect("a directory");
            let path = |name| directory.path().join(name);
            let store = Store::open(&path("local"), &path("shared")).expect("a store");
            if let Some(noted) = noted {
                authority::note_root(&store, ROOT_DOCUMENT, noted.fingerprint()).expect("noted");
            }
            if let Some(former) = former {
                rollover::note_former(&store, former, Timestamp::from_unix(1_800_000_000)).expect("noted");
            }
            settle_notes(&store, current).expect("settled");
            assert_eq!(authority::noted(&store, ROOT_DOCUMENT).expect("read").is_none(), forgotten, "{what}");
        }
    }
}
