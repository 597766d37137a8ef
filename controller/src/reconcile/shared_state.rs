//! Whether the state that a cluster's nodes share can be written.
//!
//! Answers: what goes on while it cannot be written, and what waits?
//! Invariant: renewals go on. Signing and delivering a certificate writes to the local area alone, and a placement
//! whose key is shared is renewed with the key that it has. Joins, identities, tokens and new shared keys wait, because
//! each of them is in the shared area before anybody is given it.

use std::{sync::Arc, time::Duration};

use pinion_proto::{alarm, causes::chain};
use tokio::{sync::watch, task::JoinHandle};

use super::effects::Effects;
use crate::{
    events::{HostEvent, What},
    identity::Identities,
    store::Store,
    world::{Change, World},
};

/// How often it is looked at while nothing else happens.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks at shared state beside the loop, because a disk in trouble may take its time.
#[derive(Debug)]
pub(super) struct SharedStateWatch {
    task: JoinHandle<()>,
    changed: watch::Receiver<bool>,
}

impl SharedStateWatch {
    pub(super) fn start(store: Arc<Store>) -> Self {
        let (sender, changed) = watch::channel(true);
        let task = tokio::spawn(async move {
            loop {
                let store = store.clone();
                let look = tokio::task::spawn_blocking(move || store.try_shared().is_ok()).await;
                if let Ok(writable) = look {
                    sender.send_if_modified(|before| std::mem::replace(before, writable) != writable);
                }
                alarm::next(LOOK_EVERY).await;
            }
        });
        Self { task, changed }
    }

    /// Returns when shared state can be written otherwise than before.
    pub(super) async fn changed(&mut self) {
        if self.changed.changed().await.is_err() {
            // The task runs as long as this value.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for SharedStateWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks whether shared state can be written. While it can, identities that wait for it are written.
pub(super) fn step(world: &World, store: &Store, identities: &Identities, effects: &mut Effects) {
    let problem = store.shared_writable().err().map(|error| chain(&error));
    if problem.is_none() {
        identities.catch_up();
    }
    take(world, problem, effects);
}

/// Takes in why shared state cannot be written now, if so, and records when that begins and ends.
fn take(world: &World, problem: Option<String>, effects: &mut Effects) {
    match (world.shared_state_problem(), &problem) {
        (None, Some(problem)) => effects.event(What::Host(HostEvent::SharedStateUnwritable(problem.clone()))),
        (Some(_), None) => {
            effects.event(What::Host(HostEvent::SharedStateWritable));
            // What waited for it is tried at once.
            effects.change(Change::AttemptsForgotten);
        }
        _ => {}
    }
    if world.shared_state_problem() != problem.as_deref() {
        effects.change(Change::SharedState(problem));
    }
}

#[cfg(test)]
mod tests;
