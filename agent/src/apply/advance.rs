//! One try to bring a placement to its goal, and one look after what is in place until the next try.
//!
//! Answers: in which order are mounts, leftovers, what was there before, the request, the files and the service seen to?
//! Invariant: only what is not as it should be is touched, so a try with nothing to do changes nothing.

use pinion_proto::content::{Content, LeafSpec};
use tokio::time::Instant;

use super::{
    adopt,
    attempt::{Attempt, decide},
    driver::Driver,
    failure::{Failure, Interrupt},
    install::install,
    request::Request,
    status::Status,
    switch::FileSwitch,
    trust,
    upkeep::{self, Upkeep},
    watched,
};
use crate::recipe::Job;

/// The parts of a placement, each with its own state.
pub(super) struct Parts {
    pub(super) switch: FileSwitch,
    pub(super) request: Request,
    pub(super) status: Status,
    /// Brings what was asked for last to its service.
    pub(super) newer: Driver,
    /// Looks after the certificate in place, while a newer one is held up.
    pub(super) current: Driver,
}

impl Parts {
    /// The parts of a placement of which its file switch alone is known; it may be tried from `now` on.
    pub(super) fn new(switch: FileSwitch, now: Instant) -> Self {
        let (newer, current) = (Driver::new(now), Driver::new(now));
        Self { switch, request: Request::default(), status: Status::new(), newer, current }
    }

    /// What was asked for changed: what failed before says nothing of it.
    pub(super) fn start_afresh(&mut self) {
        let now = Instant::now();
        (self.newer, self.current) = (Driver::new(now), Driver::new(now));
    }

    /// One try, from wherever the placement is.
    pub(super) async fn advance(&mut self) -> Result<(), Interrupt> {
        let failures = self.newer.failures();
        let job = match decide(&self.switch, &mut self.status) {
            Ok(job) => job,
            Err(Interrupt::Failed(failure)) => {
                // What a crash left half done is undone also when nobody knows any more how to finish it.
                Box::pin(self.switch.resume(None, failures)).await?;
                return Err(Interrupt::Failed(failure));
            }
            Err(stopped) => return Err(stopped),
        };
        if job.content.is_watched() {
            Box::pin(self.switch.resume(None, failures)).await?;
            return Box::pin(watched::look(&self.switch, &mut self.status, &job)).await;
        }
        if let Err(error) = Box::pin(self.switch.learn_mounts(Some(&job))).await? {
            // Nothing of the files is touched; a certificate may be on its way meanwhile.
            if let Content::Leaf(leaf) = &job.content {
                self.order(&job, leaf).await?;
            }
            return Err(Failure::install(&error, failures).into());
        }
        Box::pin(self.switch.resume(Some(&job), failures)).await?;
        Box::pin(self.switch.survey(&job)).await?;
        let outcome = match &job.content {
            // What is seldom done is made when it is done: a placement's task, which waits most of the time, has no room for it.
            Content::Roots => Box::pin(trust::trust(&mut self.attempt(&job))).await,
            Content::Leaf(_) if Box::pin(adopt::consider(&mut self.attempt(&job))).await? => return Ok(()),
            Content::Watched => Ok(()),
            Content::Leaf(leaf) => {
                self.order(&job, leaf).await?;
                self.choose_next(&job);
                let is_next = self.switch.ledger.next.is_some();
                let mut attempt = self.attempt(&job);
                if is_next { Box::pin(install(&mut attempt)).await } else { upkeep::maintain(&mut attempt).await }
            }
        };
        self.status.accept(&self.switch, &job);
        outcome
    }

    fn attempt<'t>(&'t mut self, job: &'t Job) -> Attempt<'t> {
        let Self { switch, request, status, newer, .. } = self;
        Attempt { switch, request, driver: newer, status, job }
    }

    async fn order(&mut self, job: &Job, leaf: &LeafSpec) -> Result<(), Interrupt> {
        let began = Instant::now();
        if Box::pin(self.request.order(&mut self.switch, job, leaf)).await? {
            self.status.renewal_began(self.switch.ledger.last_generation, began);
            self.status.publish(&self.switch, &self.request);
        }
        Ok(())
    }

    /// What is in place goes to other paths, where the spec has them elsewhere by now.
    fn choose_next(&mut self, job: &Job) {
        let is_in_place = self.switch.in_place(job).is_some();
        let ledger = &mut self.switch.ledger;
        let Some(held) = &ledger.held else { return };
        match &ledger.next {
            None if !is_in_place => ledger.next = Some(held.bundle.clone()),
            // It was to go elsewhere, and is not any more.
            Some(next) if is_in_place && next.generation() == held.bundle.generation() => {
                ledger.next = None;
                self.switch.changed();
            }
            Some(_) | None => {}
        }
    }

    /// Looks after what is in place while the next try is far off; true when the goal turns out to be reached.
    pub(super) async fn look_after(&mut self) -> Result<bool, Interrupt> {
        let Self { switch, request, status, newer, current } = self;
        let job = decide(switch, status)?;
        if job.content.is_watched() {
            return Box::pin(watched::look(switch, status, &job)).await.map(|()| true);
        }
        if let Err(error) = Box::pin(switch.learn_mounts(Some(&job))).await? {
            return Err(Failure::install(&error, newer.failures()).into());
        }
        let is_newer_held_up = switch.ledger.next.is_some();
        let is_due = Instant::now() >= current.due();
        let upkeep = Upkeep::of(switch.in_place(&job).is_some(), is_newer_held_up, is_due);
        let driver = if is_newer_held_up { current } else { newer };
        Box::pin(upkeep::look_after(&mut Attempt { switch, request, driver, status, job: &job }, upkeep)).await
    }
}
