//! This node's authority, where the identity root's key is the root process's: got from it, kept, renewed.
//!
//! Answers: what does this controller sign identities with, and is it still the root that its agents trust?
//! Invariant: an installation that holds its root itself goes on so; one whose root is the root process's never makes one
//! of its own. What is kept here is good for a month at most.

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    clock::{Clock, Timestamp},
    id::TrustDomain,
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use zeroize::Zeroizing;

use super::{Identities, IdentityError, ROOT_DOCUMENT, Wish, handover, loss, rollover};
pub(crate) use crate::authority::documents::PUBLIC_ROOT;
use crate::{
    authority::{self, Authority, AuthorityError, SecretText, Traces, fresh_key},
    channel::{
        client::Client,
        protocol::{Cause, Failure},
    },
    events::{Events, HostEvent, What},
    store::{Area, Store, StoreError},
};

/// This node's authority, in the local area.
pub(super) const DOCUMENT: &str = "identity-node";

/// An identity does not outlive the authority that signed it, and guests are away for weeks: the authority is never much
/// older than this.
const RENEW_AFTER: Duration = Duration::from_secs(24 * 3600);

/// When that fails, it is tried again after this long; the root process signs no more often for long.
const RETRY: Duration = Duration::from_secs(15 * 60);

/// How long a start waits for the root process, which starts beside it; in tests it is there or it is not.
const START_PATIENCE: Duration = if cfg!(test) { Duration::from_millis(1) } else { Duration::from_secs(30) };

/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Until when a start waits for the root process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(tokio::time::Instant);

impl Deadline {
    /// As long as a start may take.
    pub(super) fn of_start() -> Self {
        Self(tokio::time::Instant::now() + START_PATIENCE)
    }

    /// Nobody waits.
    fn over() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// Asks until the root process is there.
    pub(super) async fn ask<T, F>(self, ask: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        loop {
            match ask().await {
                Err(failure) if failure.cause == Cause::ToolMissing && tokio::time::Instant::now() < self.0 => {
                    tokio::time::sleep(ASK_EVERY).await;
                }
                asked => return asked,
            }
        }
    }
}

/// What is said to the root process with a request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms {
    /// The root that is known here.
    pub(super) known: Option<Fingerprint>,
    /// The next root, if every guest trusts it.
    pub(super) takes_over: Option<Fingerprint>,
    /// Whether the root process's root must be a new one; the root process does not hear of it.
    pub(super) begins: bool,
}

/// The root, and who is under it.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) authority: Authority,
    pub(super) trust_domain: TrustDomain,
    pub(super) made: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct PublicRoot {
    certificate: RootCertificate,
}

/// A node's authority in the store: certificate DER and key PKCS #8, both base64.
#[derive(Serialize, Deserialize)]
struct Kept {
    certificate: String,
    key: SecretText,
    root: RootCertificate,
    trust_domain: TrustDomain,
    made: Timestamp,
}

impl Kept {
    fn grant(&self, now: Timestamp) -> Result<Grant, IdentityError> {
        let wrong = |why: String| IdentityError::Node(why);
        let certificate = STANDARD.decode(&self.certificate).map_err(|e| wrong(e.to_string()))?;
        let key = Zeroizing::new(STANDARD.decode(self.key.reveal()).map_err(|e| wrong(e.to_string()))?);
        let authority = Authority::of_node(&key, &certificate, self.root.clone(), now).map_err(wrong)?;
        Ok(Grant { authority, trust_domain: self.trust_domain.clone(), made: self.made })
    }
}

/// An authority that the root process has given, not kept yet.
pub(super) struct Asked {
    kept: Kept,
    grant: Grant,
}

impl Asked {
    pub(super) fn trust_domain(&self) -> &TrustDomain {
        &self.grant.trust_domain
    }

    /// Keeps it in place of the one before.
    pub(super) fn keep(self, store: &Store) -> Result<Grant, StoreError> {
        store.write(Area::Local, DOCUMENT, &self.kept)?;
        Ok(self.grant)
    }
}

/// The root, where it is the root process's.
pub(super) fn public_root(store: &Store) -> Result<Option<RootCertificate>, StoreError> {
    Ok(store.read::<PublicRoot>(Area::Shared, PUBLIC_ROOT)?.map(|root| root.certificate))
}

/// Another root of the root process's is the root from now on.
pub(super) fn set_public_root(store: &Store, certificate: RootCertificate) -> Result<(), StoreError> {
    store.replace(Area::Shared, PUBLIC_ROOT, &PublicRoot { certificate })
}

/// Under which root this node's authority is, if there is one that can be used.
pub(super) fn kept_root(store: &Store, now: Timestamp) -> Option<Fingerprint> {
    kept(store, now).map(|kept| kept.authority.root().fingerprint())
}

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
    handover::allow(store, &mut traces.pinned, rollover::former(store)?)?;
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

/// What was kept, if it is whole and not over.
fn kept(store: &Store, now: Timestamp) -> Option<Grant> {
    let kept = store.read::<Kept>(Area::Local, DOCUMENT).unwrap_or_else(|error| {
        // It is only this node's, and the root process gives another.
        tracing::warn!(%error, "Cannot read this node's authority");
        None
    })?;
    match kept.grant(now) {
        Ok(grant) if now < grant.authority.expires() => Some(grant),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(%error, "This node's authority cannot be used");
            None
        }
    }
}

/// Asks the root process for an authority.
pub(super) async fn ask(
    store: &Store,
    client: &Client,
    terms: Terms,
    deadline: Deadline,
    now: Timestamp,
) -> Result<Asked, IdentityError> {
    let Terms { known, takes_over, begins } = terms;
    let (key, csr) = fresh_key()?;
    let signed = deadline.ask(|| client.node_authority(&csr, known, takes_over)).await;
    let signed = signed.map_err(IdentityError::RootProcess)?;
    if begins && signed.existed {
        let known = format!("the root process has the root {} from before", signed.root.fingerprint());
        return Err(
            AuthorityError::Lost { name: PUBLIC_ROOT, path: store.file(Area::Shared, PUBLIC_ROOT)?, known }.into()
        );
    }
    let kept = Kept {
        certificate: signed.certificate,
        key: SecretText::new(Zeroizing::new(STANDARD.encode(key.as_slice()))),
        root: signed.root,
        trust_domain: signed.trust_domain,
        made: now,
    };
    let grant = kept.grant(now)?;
    if let Some(wanted) = takes_over.or(known).filter(|wanted| *wanted != grant.authority.root().fingerprint()) {
        return Err(IdentityError::Node(format!("it is not under the root {wanted}")));
    }
    Ok(Asked { kept, grant })
}

/// Renews this node's authority for as long as the controller runs; returns at once where it holds the root itself.
pub(crate) async fn keep(
    identities: Arc<Identities>,
    store: Arc<Store>,
    client: Client,
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
) {
    let mut told = false;
    while let Some((made, known)) = identities.node() {
        let due = made + RENEW_AFTER;
        // When the clock was set back to before it was made, agents would not take it until then.
        while (made..due).contains(&clock.now()) {
            clock.sleep_until(due).await;
        }
        let terms = Terms { known: Some(known), ..Terms::default() };
        let asked = ask(&store, &client, terms, Deadline::over(), clock.now()).await;
        match asked.and_then(|asked| Ok(asked.keep(&store)?)) {
            Ok(grant) => {
                tracing::info!(expires = %grant.authority.expires(), "This node's authority is renewed");
                if std::mem::take(&mut told) {
                    events.record(What::Host(HostEvent::NodeAuthorityRenewed).at(clock.now()));
                }
                identities.renewed_node(grant);
            }
            Err(error) => {
                let failed = What::Host(HostEvent::NodeAuthorityFails(pinion_proto::causes::chain(&error)));
                let failed = failed.at(clock.now());
                if !std::mem::replace(&mut told, true) {
                    events.record(failed);
                } else {
                    tracing::warn!("{}", failed.text);
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
