//! One try to bring a placement to its goal: order, install, and then what [`super::tell`] does with the service.
//!
//! Invariant: only what is not as it should be is touched, so a try with nothing to do changes nothing.

use std::time::Duration;

use pinion_proto::stage::Stage;
use tokio::time::{Instant, timeout};

use super::{
    hold::Hold,
    placement::{Interrupt, Placement, Stopped},
    switch::same_paths,
    tell::GLANCE,
};
use crate::{
    install::InstallError,
    ledger::Phase,
    probe::{self, Seen},
    recipe::{self, Job, Tell},
    reload,
};

impl Placement<'_> {
    /// One try, from wherever the placement is.
    pub(super) async fn advance(&mut self) -> Result<(), Interrupt> {
        let job = match self.decide().await {
            Ok(job) => job,
            Err(Interrupt::Held(hold)) => {
                // What a crash left half done is undone also when nobody knows any more how to finish it.
                self.resume(None).await?;
                return Err(Interrupt::Held(hold));
            }
            Err(stopped) => return Err(stopped),
        };
        if let Err(error) = self.learn_mounts(Some(&job)).await? {
            // Nothing of the files is touched; a certificate may be on its way meanwhile.
            if !job.trust {
                self.order(&job).await?;
            }
            return Err(Hold::install(&error, self.backoff.failures()).into());
        }
        self.resume(Some(&job)).await?;
        if job.trust {
            let outcome = self.trust(&job).await;
            self.accept(&job);
            return outcome;
        }
        self.order(&job).await?;
        let moved = self.ledger.held.as_ref().is_some_and(|held| !same_paths(&job, held));
        if moved && self.ledger.next.is_none() {
            self.ledger.next = self.ledger.held.as_ref().map(|held| held.bundle.clone());
        } else if let (Some(next), Some(held)) = (&self.ledger.next, &self.ledger.held)
            && !moved
            && next.generation() == held.bundle.generation()
        {
            // It was to go elsewhere, and is not any more.
            self.ledger.next = None;
            self.unsaved = true;
        }
        let outcome = if self.ledger.next.is_some() { self.install(&job).await } else { self.maintain(&job).await };
        self.accept(&job);
        outcome
    }

    /// Looks whether what the files need is mounted, and notes what that is.
    pub(super) async fn learn_mounts(&mut self, job: Option<&Job>) -> Result<Result<(), InstallError>, Stopped> {
        let job = job.cloned();
        let looked = self.blocking(move |desk, ledger| {
            let remembered = desk.shared.ledgers.is_there(&desk.name);
            (desk.learn_mounts(ledger, job.as_ref()), remembered)
        });
        let (learned, remembered) = looked.await?;
        // Somebody removed it: it is written down again.
        self.unsaved |= !remembered;
        Ok(learned.map(|news| self.unsaved |= news))
    }

    /// Notes that what is in place is where the newest spec wants it.
    fn accept(&mut self, job: &Job) {
        if self.ledger.next.is_none()
            && let (Some(spec), Some(held)) = (&self.ledger.spec, &self.ledger.held)
            && same_paths(job, held)
        {
            self.revision = spec.revision();
        }
    }

    /// Looks after what is in place while the next try is far off; true when the goal turns out to be reached.
    pub(super) async fn look_after(&mut self) -> Result<bool, Interrupt> {
        let job = self.decide().await?;
        if let Err(error) = self.learn_mounts(Some(&job)).await? {
            return Err(Hold::install(&error, self.backoff.failures()).into());
        }
        if !self.ledger.held.as_ref().is_some_and(|held| same_paths(&job, held)) {
            return Ok(false);
        }
        if self.ledger.next.is_none() {
            // What is held up is tried when it is due; but a service that came by itself is seen sooner.
            return self.glance(&job).await;
        }
        // How often a service was told of what is in place says nothing of how to tell it of what is held up.
        std::mem::swap(&mut self.tells, &mut self.care.tells);
        let cared = self.care_for(&job).await;
        std::mem::swap(&mut self.tells, &mut self.care.tells);
        cared.map(|()| false)
    }

    /// Looks after what is in place while something newer is held up. Files are put right at each look; a service that
    /// was told in vain is left alone for a while, as long as it does not come by itself.
    async fn care_for(&mut self, job: &Job) -> Result<(), Interrupt> {
        if Instant::now() < self.care.due {
            self.repair(job).await?;
            if self.glance(job).await? {
                self.care.settle();
            }
            return Ok(());
        }
        match self.maintain(job).await {
            Ok(()) => self.care.settle(),
            Err(Interrupt::Held(hold)) => {
                let retry = &self.shared.context.config.retry;
                self.care.due = Instant::now() + self.care.backoff.fail(self.name, retry, hold.halt, hold.cost);
            }
            Err(stopped) => return Err(stopped),
        }
        Ok(())
    }

    /// Whether the service shows what is in place; nothing is done when it does not.
    async fn glance(&mut self, job: &Job) -> Result<bool, Interrupt> {
        let (Some(look), Some(leaf), false) = (&job.look, self.leaf(), self.is_untold()) else { return Ok(false) };
        let served = self.unless_stopped(probe::look(look, &leaf, probe::PATIENCE)).await? == Seen::Served;
        if served {
            self.reach(Stage::Served).await?;
        }
        Ok(served)
    }

    /// Finishes what a crash interrupted although nothing is asked for any more.
    pub(super) async fn settle_files(&mut self) -> Result<(), Interrupt> {
        match self.decide().await {
            Ok(job) => self.resume(Some(&job)).await,
            Err(Interrupt::Held(_)) => Ok(()),
            Err(stopped) => Err(stopped),
        }
    }

    async fn decide(&mut self) -> Result<Job, Interrupt> {
        let config = &self.shared.context.config;
        let Some(spec) = &self.ledger.spec else { return Err(Interrupt::Stopped) };
        if spec.trust && spec.roots.is_empty() && !spec.purge {
            return Err(Hold::no_roots().into());
        }
        let recipe = match &spec.recipe {
            Some(name) => Some(recipe::find(name, &config.recipes).map_err(|e| Hold::recipe(&e))?),
            None => None,
        };
        let kept = self.ledger.kept();
        let job = recipe::resolve(spec, recipe.as_ref(), &config.allow, &kept).map_err(|e| Hold::job(&e))?;
        self.warning.clone_from(&job.warning);
        self.disruptive = job.rungs.first().is_some_and(Tell::may_disturb);
        self.goal = if job.look.is_some() || job.store.is_some() { Stage::Served } else { Stage::Reloaded };
        let claim = self.shared.claim(self.name, job.files.iter().map(|file| &file.path));
        claim.map_err(|(path, owner)| Hold::claimed(&path, &owner))?;
        Ok(job)
    }

    /// Finishes or undoes what an earlier run was interrupted at, and removes its leftovers.
    async fn resume(&mut self, job: Option<&Job>) -> Result<(), Interrupt> {
        self.synced().await?;
        let sweep = !self.swept;
        let unfinished = self.ledger.switch.as_ref().is_some_and(|switch| switch.phase != Phase::Done);
        if !sweep && !unfinished {
            return Ok(());
        }
        let known = job.is_some();
        let job = job.cloned();
        let done = self.blocking(move |desk, ledger| {
            if sweep && let Some(job) = &job {
                desk.sweep(ledger, job);
            }
            desk.resume(ledger, job.as_ref())
        });
        done.await?.map_err(|e| Hold::switch(&e, self.backoff.failures()))?;
        self.swept |= known;
        Ok(())
    }

    /// Puts the next bundle in place and brings the service to it.
    pub(super) async fn install(&mut self, job: &Job) -> Result<(), Interrupt> {
        let Some(bundle) = self.ledger.next.clone() else { return Ok(()) };
        let config = &self.shared.context.config;
        let failures = self.backoff.failures();
        reload::can_check(config, &job.validate).map_err(|e| Hold::validate(&e, true, failures))?;
        let mut turn = match timeout(Duration::ZERO, self.turn(job)).await {
            Ok(turn) => turn?,
            Err(_) => {
                // The service is busy with another placement, for minutes perhaps: what has come is told meanwhile.
                self.announce().await;
                self.turn(job).await?
            }
        };
        let was_serving = match &job.look {
            Some(look) => match bundle.leaf() {
                Some(leaf) => self.unless_stopped(probe::look(look, leaf, GLANCE)).await?.is_serving(),
                None => false,
            },
            None => false,
        };
        let moving = job.clone();
        let done = self.blocking(move |desk, ledger| desk.forward(ledger, &moving, bundle, was_serving)).await?;
        if let Some(service) = self.service(job) {
            service.no_longer_expect(self.name);
        }
        self.let_sync(done.map_err(|e| Hold::switch(&e, failures))?);
        self.saved();
        self.accept(job);
        let paths: Vec<_> = self.ledger.files().map(|file| &file.path).collect();
        self.shared.keep_claims(self.name, &paths);
        self.publish();
        self.check(job).await?;
        let (Some(service), Some(rung), Some(told)) = (self.service(job), self.rung(job), turn.as_mut()) else {
            return self.notify(job, turn).await;
        };
        let exchange = told.exchanged();
        if service.expects_others(self.name) {
            // Several certificates for one service are one reload.
            drop(turn);
            self.unless_stopped(service.gathered(self.name)).await?;
            turn = self.turn(job).await?;
            if turn.as_ref().is_some_and(|told| told.covers(exchange, rung)) {
                return self.was_told(job, turn).await;
            }
        }
        self.notify(job, turn).await
    }

    /// Puts right what somebody changed, and looks whether the service still shows what is in place.
    pub(super) async fn maintain(&mut self, job: &Job) -> Result<(), Interrupt> {
        if self.ledger.held.is_none() {
            return Ok(());
        }
        self.repair(job).await?;
        let Some(held) = &self.ledger.held else { return Ok(()) };
        let stage = held.stage;
        let (Some(look), Some(leaf), false) = (&job.look, held.bundle.leaf().cloned(), held.untold) else {
            if held.untold || stage < Stage::Reloaded {
                let turn = self.turn(job).await?;
                return self.tell(job, turn).await;
            }
            return match &job.store {
                Some(store) => self.look_into(store, job).await,
                None => self.reach(Stage::Reloaded).await,
            };
        };
        let mut seen = self.unless_stopped(probe::look(look, &leaf, probe::PATIENCE)).await?;
        if stage > Stage::Installed && matches!(seen, Seen::Other(_)) {
            // After a reload nginx's old workers take connections beside the new ones for a moment: a single
            // look may meet one of them, and is no reason to tell the service once more.
            seen = self.settle(look, &leaf).await?;
        }
        match seen {
            Seen::Served => return self.reach(Stage::Served).await,
            Seen::Other(serial) => {
                if stage > Stage::Installed {
                    tracing::warn!(certificate = %self.name, serial, "The service shows another certificate than is installed");
                    self.set_stage(Stage::Installed);
                    self.publish();
                }
            }
            Seen::NotAllowed if stage > Stage::Installed => {
                self.set_stage(Stage::Reloaded);
                self.publish();
                return Err(Hold::not_looked_at(&look.connect.to_string()).into());
            }
            Seen::NotAllowed => {}
            Seen::NotListening(cause) | Seen::NoTls(cause) => {
                if stage > Stage::Installed {
                    self.set_stage(Stage::Reloaded);
                    self.publish();
                    if self.was_serving() && self.can_go_back() {
                        return self.watch(job).await;
                    }
                    return Err(Hold::absent(&look.connect.to_string(), &cause).into());
                }
            }
        }
        let turn = self.turn(job).await?;
        self.tell(job, turn).await
    }

    async fn repair(&mut self, job: &Job) -> Result<(), Interrupt> {
        let failures = self.backoff.failures();
        let comparing = job.clone();
        let differs = self.blocking(move |desk, ledger| desk.differs(ledger, &comparing)).await?;
        if !differs.map_err(|e| Hold::switch(&e, failures))? {
            return Ok(());
        }
        let _turn = self.turn(job).await?;
        let repairing = job.clone();
        let repaired = self.blocking(move |desk, ledger| desk.repair(ledger, &repairing)).await?;
        if repaired.map_err(|e| Hold::switch(&e, failures))? {
            tracing::warn!(certificate = %self.name, "Files were not as they should be; they are put right");
        }
        self.publish();
        Ok(())
    }
}
