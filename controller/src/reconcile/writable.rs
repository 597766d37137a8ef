//! Whether the state that a cluster's nodes share can be written.
//!
//! Answers: what goes on while it cannot be written, and what waits?
//! Invariant: renewals go on. Signing and delivering a certificate writes to the local area alone, and a placement
//! whose key is shared is renewed with the key that it has. Joins, identities, tokens and new shared keys wait, because
//! each of them is in the shared area before anybody is given it.

use std::{sync::Arc, time::Duration};

use pinion_proto::{
    causes::chain,
    stage::{Halt, Trouble},
};
use tokio::{sync::watch, task::JoinHandle};

use super::Reconciler;
use crate::{
    events::{HostEvent, WHILE_UNWRITABLE, What},
    store::Store,
};

/// How often it is looked at while nothing else happens.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks at shared state beside the loop, because a disk in trouble may take its time.
#[derive(Debug)]
pub(super) struct Watch {
    task: JoinHandle<()>,
    changed: watch::Receiver<bool>,
}

impl Watch {
    pub(super) fn start(store: Arc<Store>) -> Self {
        let (sender, changed) = watch::channel(true);
        let task = tokio::spawn(async move {
            loop {
                let store = store.clone();
                let look = tokio::task::spawn_blocking(move || store.try_shared().is_ok()).await;
                if let Ok(writable) = look {
                    sender.send_if_modified(|before| std::mem::replace(before, writable) != writable);
                }
                tokio::time::sleep(LOOK_EVERY).await;
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

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reconciler {
    /// Looks whether shared state can be written, and tells when that has changed.
    pub(super) fn look_at_shared(&mut self) {
        let now = self.parts.clock.now();
        let problem = self.parts.store.shared_writable().err().map(|error| chain(&error));
        match (&self.unwritable, &problem) {
            (None, Some(problem)) => {
                self.event(What::Host(HostEvent::SharedStateUnwritable(problem.clone())), now);
            }
            (Some(_), None) => {
                self.event(What::Host(HostEvent::SharedStateWritable), now);
                // What waited for it is tried at once.
                self.reports.forget_attempts();
            }
            _ => {}
        }
        self.unwritable = problem;
        if self.unwritable.is_none() {
            self.parts.identities.catch_up();
        }
    }

    /// What the operator should know of it.
    pub(super) fn unwritable_trouble(&self) -> Option<Trouble> {
        let problem = self.unwritable.as_ref()?;
        Some(Trouble {
            halt: Halt::Waiting,
            attempt: "write the shared state".to_owned(),
            cause: problem.clone(),
            remedy: format!(
                "make room on its disk, or let the user that runs `pinion serve` write there; on a cluster's /etc/pve \
                 `pvecm status` shows the quorum; {WHILE_UNWRITABLE}"
            ),
            retry_at: None,
        })
    }
}
