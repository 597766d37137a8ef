//! Roots: which ones the issuers have, asked now and then, for the planner.
//!
//! Invariant: an issuer is asked only while the manifest names it. What changes is an event, and what is known at first
//! is not.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use pinion_proto::{backoff::Backoff, bundle::Fingerprint, spec::PlainName};
use tokio::{sync::mpsc, task::JoinHandle};

use super::effects::Effects;
use crate::{
    events::{IssuerEvent, What},
    issuer::{IssuerError, IssuerRoots, Issuers},
    manifest::Manifest,
    world::{Change, World},
};

/// One that does not answer is asked again after this: sooner at first, since placements may wait for it.
const ASKED_AGAIN: Backoff = Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(60) };

/// An issuer's roots, as it answers; or why it does not.
pub(super) type RootsAnswer = (PlainName, Result<IssuerRoots, IssuerError>);

/// The issuers that are asked, each by a task of its own.
#[derive(Debug)]
pub(super) struct RootQueries {
    tasks: BTreeMap<PlainName, JoinHandle<()>>,
    answers: mpsc::UnboundedSender<RootsAnswer>,
}

impl RootQueries {
    /// None yet, and where the answers come: one an issuer and minute, some more while it does not answer.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<RootsAnswer>) {
        let (answers, receiver) = mpsc::unbounded_channel();
        (Self { tasks: BTreeMap::new(), answers }, receiver)
    }

    /// Asks those that the manifest names.
    pub(super) fn step(&mut self, manifest: &Manifest, issuers: &Arc<Issuers>) {
        let named = manifest.issuers();
        self.tasks.retain(|issuer, task| {
            let stays = named.contains(issuer);
            if !stays {
                task.abort();
            }
            stays
        });
        for issuer in named {
            if !self.tasks.contains_key(issuer) {
                let task = tokio::spawn(ask(issuer.clone(), issuers.clone(), self.answers.clone()));
                self.tasks.insert(issuer.clone(), task);
            }
        }
    }
}

impl Drop for RootQueries {
    fn drop(&mut self) {
        self.tasks.values().for_each(JoinHandle::abort);
    }
}

async fn ask(issuer: PlainName, issuers: Arc<Issuers>, answers: mpsc::UnboundedSender<RootsAnswer>) {
    let mut failures = 0_u32;
    loop {
        let every = issuers.roots_every(&issuer);
        let (answer, pause) = match issuers.roots(&issuer).await {
            // It cannot say: nothing waits for it, because the manifest asks for no roots of it.
            Ok(None) => return,
            Ok(Some(roots)) => {
                failures = 0;
                (Ok(roots), every)
            }
            Err(error) => {
                tracing::debug!(%issuer, %error, "Cannot ask an issuer for its roots");
                failures = failures.saturating_add(1);
                (Err(error), Some(asked_again_after(failures, every)))
            }
        };
        let (Ok(()), Some(pause)) = (answers.send((issuer.clone(), answer)), pause) else { return };
        tokio::time::sleep(pause).await;
    }
}

/// One that is asked rarely while it answers is not asked as rarely while it does not.
fn asked_again_after(failures: u32, every: Option<Duration>) -> Duration {
    let pause = ASKED_AGAIN.after(failures);
    every.map_or(pause, |every| pause.min(every))
}

/// Takes in an answer. While the issuer cannot be asked, what it said last is better than nothing: placements wait for it.
pub(super) fn take(world: &World, issuers: &Issuers, (issuer, answer): RootsAnswer, effects: &mut Effects) {
    let is_known = world.reports().roots(&issuer).is_some();
    let roots = answer.ok().or_else(|| issuers.last_roots(&issuer).filter(|_| !is_known));
    if let Some(roots) = roots {
        learn(world, (issuer, roots), effects);
    }
}

/// Takes in which roots an issuer says that it has.
fn learn(world: &World, (issuer, roots): (PlainName, IssuerRoots), effects: &mut Effects) {
    if let Some(known) = world.reports().roots(&issuer) {
        if **known == roots {
            return;
        }
        for what in differences(known, &roots) {
            effects.event(What::Issuer(issuer.clone(), what));
        }
    }
    effects.change(Change::Roots(issuer, roots));
}

/// Takes in that a certificate was signed which ends at this root.
pub(super) fn signed_under(world: &World, issuer: &PlainName, root: Fingerprint, effects: &mut Effects) {
    if let Some(roots) = world.roots_after(issuer, root) {
        learn(world, (issuer.clone(), roots), effects);
    }
}

fn differences(known: &IssuerRoots, roots: &IssuerRoots) -> Vec<IssuerEvent> {
    let new = roots.current.iter().filter(|root| !known.is_current(root.fingerprint()));
    let new = new.map(|root| IssuerEvent::NewRoot { root: root.fingerprint(), not_after: root.not_after() });
    let gone = known.current.iter().filter(|root| !roots.is_current(root.fingerprint()));
    let gone = gone.map(|root| IssuerEvent::RootGone(root.fingerprint()));
    let signs = (known.signing != roots.signing).then_some(IssuerEvent::SignsUnder(roots.signing));
    new.chain(gone).chain(signs).collect()
}

#[cfg(test)]
mod tests;
