//! Which roots the issuers have: asked now and then, and told to the planner.
//!
//! Invariant: an issuer is asked only while the manifest names it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pinion_proto::{bundle::Fingerprint, clock::Timestamp, spec::PlainName};
use tokio::{sync::mpsc, task::JoinHandle};

use super::Reconciler;
use crate::{
    events::{IssuerEvent, What},
    issuer::{IssuerRoots, Issuers},
    manifest::Manifest,
};

/// One that has never answered is asked again sooner: placements wait for it.
const ASKED_AGAIN: Duration = Duration::from_secs(5);

/// An issuer's roots.
pub(super) type Told = (PlainName, IssuerRoots);

/// Who is asked.
#[derive(Debug)]
pub(super) struct Trusting {
    asking: BTreeMap<PlainName, JoinHandle<()>>,
    told: mpsc::UnboundedSender<Told>,
}

impl Trusting {
    /// Nobody yet, and where the answers come: one an issuer and minute.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Told>) {
        let (told, receiver) = mpsc::unbounded_channel();
        (Self { asking: BTreeMap::new(), told }, receiver)
    }

    /// Asks those that the manifest names.
    pub(super) fn ask(&mut self, manifest: &Manifest, issuers: &Arc<Issuers>) {
        let named = |issuer: &PlainName| manifest.certificates.iter().any(|certificate| certificate.issuer == *issuer);
        self.asking.retain(|issuer, asking| {
            let stays = named(issuer);
            if !stays {
                asking.abort();
            }
            stays
        });
        for certificate in &manifest.certificates {
            if !self.asking.contains_key(&certificate.issuer) {
                let asking = tokio::spawn(ask(certificate.issuer.clone(), issuers.clone(), self.told.clone()));
                self.asking.insert(certificate.issuer.clone(), asking);
            }
        }
    }
}

impl Drop for Trusting {
    fn drop(&mut self) {
        self.asking.values().for_each(JoinHandle::abort);
    }
}

async fn ask(issuer: PlainName, issuers: Arc<Issuers>, told: mpsc::UnboundedSender<Told>) {
    loop {
        let pause = match issuers.roots(&issuer).await {
            // It cannot say: nothing waits for it, because the manifest asks for no roots of it.
            Ok(None) => return,
            Ok(Some(roots)) => {
                if told.send((issuer.clone(), roots)).is_err() {
                    return;
                }
                match issuers.roots_every(&issuer) {
                    Some(every) => every,
                    None => return,
                }
            }
            Err(error) => {
                // Told with the placements that wait for it.
                tracing::debug!(%issuer, %error, "Cannot ask an issuer for its roots");
                ASKED_AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

impl Reconciler {
    /// An issuer says which roots it has.
    pub(super) fn told_roots(&mut self, (issuer, roots): Told) {
        let now = self.parts.clock.now();
        let known = self.reports.roots(&issuer).cloned();
        if known.as_deref() == Some(&roots) {
            return;
        }
        if let Some(known) = known {
            self.tell_roots(&issuer, &known, &roots, now);
        }
        self.reports.set_roots(issuer, roots);
    }

    /// A certificate was signed that ends at this root.
    pub(super) fn signed_under(&mut self, issuer: &PlainName, root: Fingerprint) {
        if let Some(known) = self.reports.roots(issuer)
            && known.signing != root
            && known.is_current(root)
        {
            let roots = IssuerRoots { signing: root, ..(**known).clone() };
            self.told_roots((issuer.clone(), roots));
        }
    }

    fn tell_roots(&self, issuer: &PlainName, known: &IssuerRoots, roots: &IssuerRoots, now: Timestamp) {
        for root in roots.current.iter().filter(|root| !known.is_current(root.fingerprint())) {
            let new = IssuerEvent::NewRoot { root: root.fingerprint(), not_after: root.not_after() };
            self.event(What::Issuer(issuer.clone(), new), now);
        }
        for root in known.current.iter().filter(|root| !roots.is_current(root.fingerprint())) {
            self.event(What::Issuer(issuer.clone(), IssuerEvent::RootGone(root.fingerprint())), now);
        }
        if known.signing != roots.signing {
            self.event(What::Issuer(issuer.clone(), IssuerEvent::SignsUnder(roots.signing)), now);
        }
    }
}
