//! Whether the state that a cluster's nodes share can be written.
//!
//! Invariant: while it cannot, no certificate is signed: without quorum another node may be doing the same. What is
//! placed carries on, and everything goes on by itself once it can.

use std::{sync::Arc, time::Duration};

use pinion_proto::{
    causes::chain,
    stage::{Halt, Trouble},
};

use super::Reconciler;
use crate::{
    events::{Event, Kind},
    planner::{Decision, Planned},
    store::Store,
};

/// How often it is looked at while nothing else happens: two calls of the system.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What that means.
const STOPPED: &str =
    "no certificate is signed, no token made and no identity given until it can; what is placed carries on";

/// Returns when shared state can be written otherwise than before.
pub(super) async fn changed(store: Arc<Store>, writable_before: bool) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let store = store.clone();
        let look = tokio::task::spawn_blocking(move || store.shared_writable().is_ok());
        if look.await.is_ok_and(|writable| writable != writable_before) {
            return;
        }
    }
}

impl Reconciler {
    /// Looks whether shared state can be written, and tells when that has changed.
    pub(super) fn look_at_shared(&mut self) {
        let now = self.parts.clock.now();
        let problem = self.parts.store.shared_writable().err().map(|error| chain(&error));
        match (&self.unwritable, &problem) {
            (None, Some(problem)) => {
                let text = format!("{problem}; {STOPPED}");
                self.event(Event::new(now, Kind::Failed, text));
            }
            (Some(_), None) => {
                let text = "The shared state can be written again, and everything goes on";
                self.event(Event::new(now, Kind::Controller, text));
            }
            _ => {}
        }
        self.unwritable = problem;
        if self.unwritable.is_none() {
            self.parts.identities.catch_up();
        }
    }

    /// What the operator should know of it.
    pub(super) fn unwritable_note(&self) -> Option<String> {
        self.unwritable.as_ref().map(|problem| format!("{problem}; {STOPPED}"))
    }

    /// Why a placement for which an order is given comes no further, if it is this.
    pub(super) fn unwritable_trouble(&self, planned: &Planned<'_>) -> Option<Trouble> {
        let problem = self.unwritable.as_ref().filter(|_| matches!(planned.decision, Decision::Order(_)))?;
        Some(Trouble {
            halt: Halt::Waiting,
            attempt: format!("have {} signed", planned.label()),
            cause: problem.clone(),
            remedy: "`pvecm status` shows a cluster's quorum; Pinion goes on as soon as it is back".to_owned(),
            retry_at: None,
        })
    }
}
