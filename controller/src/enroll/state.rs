//! How far one guest is that has something to be done.
//!
//! Invariant: whoever asked for it is let go with an answer, or when nobody listens any more.

use std::time::Duration;

use pinion_proto::{
    clock::Timestamp,
    id::Vmid,
    stage::{Halt, Trouble},
};
use tokio::{sync::mpsc, task::AbortHandle};

use super::notes::Identity;
use crate::{admin::protocol::Answer, channel::protocol::Failure, planner::backoff::Backoff};

/// Failures back off from seconds, because most of them are guests that still boot.
const BACKOFF: Backoff = Backoff { initial: Duration::from_secs(5), max: Duration::from_secs(10 * 60) };

/// What is to be done for one guest, and how far it is.
#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    /// The task that works on it, or did last.
    pub(super) task: Option<AbortHandle>,
    /// Since when it has been there and not linked.
    pub(super) missing_since: Timestamp,
    /// Before its agent was replaced everything was at its goal.
    pub(super) was_served: bool,
    /// What it holds is known to be refused: it needs another identity.
    pub(super) must_rejoin: bool,
    /// A person wants the packaged agent in it, although the one that is there is newer.
    pub(super) replace_newer: bool,
    pub(super) failures: u32,
    pub(super) not_before: Option<Timestamp>,
    /// Those who asked for it and wait.
    pub(super) asked: Vec<mpsc::Sender<Answer>>,
}

/// What it is about now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Resting,
    Working(Job),
    /// Everything is done; its agent has to link with this identity.
    Linking {
        until: Timestamp,
        shows: Identity,
    },
    /// The packaged agent was brought in, and has to link.
    Upgrading {
        until: Timestamp,
    },
    /// The packaged agent is linked, and everything has to be served that was before.
    Proving {
        until: Timestamp,
    },
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// Whatever is missing. Patient: an agent that runs and has an identity is given time to dial.
    Enrol {
        patient: bool,
    },
    Upgrade,
    Restore,
}

impl State {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            phase: Phase::Resting,
            task: None,
            missing_since: now,
            was_served: false,
            must_rejoin: false,
            replace_newer: false,
            failures: 0,
            not_before: None,
            asked: Vec::new(),
        }
    }

    /// Whether its agent is being replaced by the packaged one, or put back.
    pub(super) fn is_upgrading(&self) -> bool {
        matches!(
            self.phase,
            Phase::Working(Job::Upgrade | Job::Restore) | Phase::Upgrading { .. } | Phase::Proving { .. }
        )
    }

    /// Whether it only waits for a link with the identity that it had.
    pub(super) fn shows_as_before(&self) -> bool {
        matches!(
            self.phase,
            Phase::Linking { shows: Identity::AsBefore, .. } | Phase::Upgrading { .. } | Phase::Proving { .. }
        )
    }

    pub(super) fn tell(&mut self, text: &str) {
        for asked in &self.asked {
            // Whoever does not listen misses a step, not the end.
            asked.try_send(Answer::Step(text.to_owned())).ok();
        }
    }

    /// A try has failed: reports that to whoever asked for it, and says what it waits for.
    pub(super) fn failed(&mut self, guest: Vmid, failure: Failure, now: Timestamp) -> Trouble {
        self.failures = self.failures.saturating_add(1);
        let at = now + BACKOFF.after(self.failures);
        self.not_before = Some(at);
        let trouble = Trouble {
            halt: failure.cause.halt(),
            attempt: format!("enrol guest {guest}"),
            cause: failure.text,
            remedy: failure.cause.remedy().into(),
            retry_at: Some(at),
        };
        if trouble.halt == Halt::Blocked {
            for asked in self.asked.drain(..) {
                asked.try_send(Answer::NotEnrolled(trouble.clone())).ok();
            }
        } else {
            self.tell(&trouble.to_string());
        }
        self.asked.retain(|asked| !asked.is_closed());
        trouble
    }
}
