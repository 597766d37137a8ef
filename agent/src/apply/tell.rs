//! A placement's service: validate what is in place, tell it, look, tell it more firmly, take the files back.
//!
//! Invariants: the old files are kept until the new ones are served, and come back when the service refuses the new
//! ones; a service that is to be left alone for now is not disturbed.

use std::{sync::Arc, time::Duration};

use pinion_proto::{bundle::Leaf, causes::chain, clock::Timestamp, stage::Stage};
use tokio::{
    sync::OwnedMutexGuard,
    time::{Instant, sleep},
};

use super::{
    hold::Hold,
    placement::{Interrupt, Placement},
    service::{Service, Told},
    window,
};
use crate::{
    install::place,
    ledger::{InstalledFile, Phase},
    probe::{self, Seen},
    recipe::{Job, Look, Tell},
    reload::{self, About, ReloadError},
    restarts,
};

/// How long it is looked whether a service is there at all, before it is given new files.
pub(super) const GLANCE: Duration = Duration::from_secs(1);

/// Polling for the new leaf begins so densely, because nginx has it within milliseconds, and thins out.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// So often one way of telling a service is tried before the recipe's next one.
const TELLS_A_RUNG: u32 = 3;

/// A placement's turn at its service; nobody else's where there is no service.
type Turn = Option<OwnedMutexGuard<Told>>;

impl Placement<'_> {
    /// Validates what is in place and tells the service.
    pub(super) async fn tell(&mut self, job: &Job, turn: Turn) -> Result<(), Interrupt> {
        self.check(job).await?;
        self.notify(job, turn).await
    }

    /// Validates what is in place; what does not pass is taken back.
    pub(super) async fn check(&mut self, job: &Job) -> Result<(), Interrupt> {
        let config = &self.shared.context.config;
        let failures = self.backoff.failures();
        let about = self.about(job);
        if let Err(e) = self.unless_stopped(reload::check(config, &job.validate, &about)).await? {
            let can_go_back = self.can_go_back();
            let hold = Hold::validate(&e, can_go_back, failures);
            if !can_go_back {
                return Err(hold.into());
            }
            // The service was not told, so it is not told again either.
            return Err(self.go_back(hold, false).await?.into());
        }
        Ok(())
    }

    /// Tells the service, and watches it.
    pub(super) async fn notify(&mut self, job: &Job, mut turn: Turn) -> Result<(), Interrupt> {
        let (config, about) = (&self.shared.context.config, self.about(job));
        if let Some(update) = &job.update
            && let Err(e) = self.unless_stopped(reload::update(config, update, &about)).await?
        {
            // Roots that wait in their files harm nobody, and taking them away would need the same program.
            return Err(Hold::update(update, &e, self.backoff.failures()).into());
        }
        if let Some(rung) = self.rung(job) {
            self.may_disturb(rung)?;
            self.note_restart(rung).await?;
            tracing::info!(certificate = %self.name, generation = about.generation, "Telling the service: {rung}");
            match self.unless_stopped(reload::tell(config, rung, &about)).await? {
                Ok(restarted) => self.note_if(restarted, rung).await?,
                Err(e) => return self.not_told(job, rung, &e).await,
            }
            if let Some(told) = &mut turn {
                told.told(rung);
            }
        }
        self.was_told(job, turn).await
    }

    /// Watches what becomes of the service that was told.
    pub(super) async fn was_told(&mut self, job: &Job, turn: Turn) -> Result<(), Interrupt> {
        drop(turn);
        if let Some(held) = &mut self.ledger.held {
            self.unsaved |= std::mem::take(&mut held.untold);
        }
        self.set_stage(Stage::Reloaded);
        self.publish();
        match (&job.look, &job.store) {
            (Some(_), _) => self.watch(job).await,
            (None, Some(store)) => self.look_into(store, job).await,
            (None, None) => self.reach(Stage::Reloaded).await,
        }
    }

    /// Whether the service may be told in this way now.
    fn may_disturb(&self, rung: &Tell) -> Result<(), Interrupt> {
        self.in_window(rung)?;
        if rung.is_disruptive()
            && let Err(limited) =
                self.shared.restarts.allow(rung.service(), self.reason(), self.shared.context.clock.now())
        {
            return Err(Hold::restarted(rung, &limited).into());
        }
        Ok(())
    }

    /// Writes down a restart that is about to be made.
    async fn note_restart(&self, rung: &Tell) -> Result<(), Interrupt> {
        self.note_if(rung.is_disruptive(), rung).await
    }

    async fn note_if(&self, restarted: bool, rung: &Tell) -> Result<(), Interrupt> {
        if !restarted {
            return Ok(());
        }
        let (shared, service) = (Arc::clone(self.shared), rung.service().to_owned());
        let now = shared.context.clock.now();
        let noted = tokio::task::spawn_blocking(move || shared.restarts.note(&*shared.context.files, &service, now));
        noted.await.map_err(|_| Interrupt::Stopped)
    }

    /// Whether the service of the job may be restarted now.
    fn may_restart(&self, job: &Job) -> bool {
        let (now, ends) = (self.shared.context.clock.now(), self.reason());
        job.rungs.first().is_none_or(|rung| self.shared.restarts.allow(rung.service(), ends, now).is_ok())
    }

    /// When what the service serves is no longer valid, as far as that is known.
    fn ends(&self) -> Option<Timestamp> {
        self.served().map(Leaf::not_after)
    }

    /// When that is, if the service may be restarted once more for it.
    fn reason(&self) -> Option<Timestamp> {
        self.served().and_then(restarts::reason)
    }

    /// What the service serves until it is told, as far as that is known.
    fn served(&self) -> Option<&Leaf> {
        let previous = self.ledger.switch.as_ref().and_then(|switch| switch.previous.as_ref());
        previous.and_then(|held| held.bundle.leaf())
    }

    fn in_window(&self, rung: &Tell) -> Result<(), Interrupt> {
        let window = self.ledger.spec.as_ref().and_then(|spec| spec.window.as_deref());
        let serves = self.ledger.switch.as_ref().is_none_or(|switch| switch.was_serving);
        if !rung.may_disturb() || !serves {
            return Ok(());
        }
        match window::closed(window, self.ends(), self.shared.context.clock.now()) {
            Some(closed) => Err(Hold::window(rung.to_string(), closed, self.name).into()),
            None => Ok(()),
        }
    }

    async fn not_told(&mut self, job: &Job, rung: &Tell, error: &ReloadError) -> Result<(), Interrupt> {
        let hold = Hold::reload(rung.to_string(), error, self.backoff.failures());
        if error.is_absence() {
            // Some services read their files by themselves, and some are run by something that is not a unit.
            if let (Some(look), Some(leaf)) = (&job.look, self.leaf())
                && !self.is_untold()
                && self.unless_stopped(probe::look(look, &leaf, GLANCE)).await? == Seen::Served
            {
                return self.reach(Stage::Served).await;
            }
            return Err(hold.into());
        }
        self.tells = self.tells.saturating_add(1);
        let hold = hold.disturbing();
        if !self.can_go_back() {
            return Err(hold.into());
        }
        let hold = self.go_back(hold, true).await?;
        Err(self.tell_old(job, Some(rung), hold).await?.into())
    }

    /// Watches a service that was told until it shows the leaf, or its time is up.
    pub(super) async fn watch(&mut self, job: &Job) -> Result<(), Interrupt> {
        let (Some(look), Some(leaf)) = (&job.look, self.leaf()) else { return Ok(()) };
        let connect = look.connect.to_string();
        match self.settle(look, &leaf).await? {
            Seen::Served => self.reach(Stage::Served).await,
            Seen::NotAllowed => Err(Hold::not_looked_at(&connect).into()),
            Seen::Other(serial) => {
                let restarts = self.rung(job).is_some_and(Tell::is_disruptive);
                self.tells = self.tells.saturating_add(1);
                let hold = Hold::other(&connect, &serial, leaf.serial());
                Err(if restarts { hold.disturbing() } else { hold }.into())
            }
            Seen::NotListening(cause) | Seen::NoTls(cause) => {
                if !(self.was_serving() && self.can_go_back()) {
                    return Err(Hold::absent(&connect, &cause).into());
                }
                let _turn = self.turn(job).await?;
                let hold = self.go_back(Hold::broke(&connect, &cause), true).await?;
                Err(self.tell_old(job, self.rung(job), hold).await?.into())
            }
        }
    }

    pub(super) async fn settle(&self, look: &Look, leaf: &Leaf) -> Result<Seen, Interrupt> {
        let deadline = Instant::now() + look.settle;
        let mut pause = FIRST_PAUSE;
        loop {
            let seen = self.unless_stopped(probe::look(look, leaf, probe::PATIENCE.min(look.settle))).await?;
            if matches!(seen, Seen::Served | Seen::NotAllowed) || Instant::now() >= deadline {
                return Ok(seen);
            }
            self.unless_stopped(sleep(pause.min(deadline.saturating_duration_since(Instant::now())))).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Puts the old files back; the failure, with that added.
    async fn go_back(&mut self, hold: Hold, told: bool) -> Result<Hold, Interrupt> {
        // What is not on disk of the way there must not be, either.
        self.syncing = None;
        let back = self.blocking(move |desk, ledger| desk.back(ledger, told)).await?;
        let paths: Vec<_> = self.ledger.files().map(|file| &file.path).collect();
        self.shared.keep_claims(self.name, &paths);
        self.publish();
        match back {
            Ok(()) => {
                self.saved();
                tracing::warn!(certificate = %self.name, "Rolled back to the old files");
                Ok(hold.and("the old files are back in place"))
            }
            Err(e) => {
                let worse = Hold::switch(&e, self.backoff.failures());
                tracing::error!(certificate = %self.name, error = chain(&e), "Could not put the old files back");
                Err(Interrupt::Held(Box::new(
                    worse.and("this was while putting the old files back, which is tried again first"),
                )))
            }
        }
    }

    /// Tells the service of the old files again, and looks whether it serves them: it may all the same when it does not
    /// take them anew. It is told in the mildest way, and where that fails as it was told last: what a restart has ended
    /// only a restart brings back.
    async fn tell_old(&mut self, job: &Job, last: Option<&Tell>, mut hold: Hold) -> Result<Hold, Interrupt> {
        let Some(mildest) = job.rungs.first() else { return Ok(hold) };
        let about = self.about(job);
        let config = &self.shared.context.config;
        // Never refused, because what was ended must come back; and counted.
        self.note_restart(mildest).await?;
        let mut told = self.unless_stopped(reload::tell(config, mildest, &about)).await?;
        if let (Err(_), Some(last)) = (&told, last.filter(|&last| last != mildest)) {
            self.note_restart(last).await?;
            told = self.unless_stopped(reload::tell(config, last, &about)).await?;
        }
        if let (Ok(true), mildest) = (&told, mildest) {
            self.note_if(true, mildest).await?;
        }
        match &told {
            Ok(_) => self.set_stage(Stage::Reloaded),
            Err(e) => {
                tracing::error!(certificate = %self.name, error = chain(e), "The service does not take the old files either");
                hold = hold.neither(e);
            }
        }
        if let (Some(look), Some(leaf)) = (&job.look, self.leaf()) {
            let seen = match told {
                Ok(_) => self.settle(look, &leaf).await?,
                Err(_) => self.unless_stopped(probe::look(look, &leaf, GLANCE)).await?,
            };
            hold = hold.meanwhile(&look.connect.to_string(), &seen);
            if seen == Seen::Served {
                self.set_stage(Stage::Served);
            }
        }
        self.publish();
        Ok(hold)
    }

    /// The goal, or as much of it as there is to see: the way back is no longer needed.
    pub(super) async fn reach(&mut self, stage: Stage) -> Result<(), Interrupt> {
        self.tells = 0;
        if let Some(held) = &mut self.ledger.held
            && !held.untold
            && held.trusted != held.roots
        {
            held.trusted.clone_from(&held.roots);
            self.unsaved = true;
        }
        self.set_stage(stage);
        self.publish();
        self.synced().await?;
        if self.ledger.switch.take_if(|switch| switch.phase == Phase::Done).is_some() {
            self.unsaved = true;
        }
        Ok(())
    }

    /// The way is chosen by how often the service was told in vain; the last one stays.
    pub(super) fn rung<'a>(&self, job: &'a Job) -> Option<&'a Tell> {
        let rung = usize::try_from(self.tells / TELLS_A_RUNG).unwrap_or(usize::MAX);
        job.rungs.get(rung).or(job.rungs.last())
    }

    pub(super) fn can_go_back(&self) -> bool {
        // Where nothing was before, taking the new files away helps no service; and two placements of one service
        // whose configuration names the files of both would wait for each other for ever.
        self.ledger
            .switch
            .as_ref()
            .is_some_and(|switch| switch.previous.is_some() || switch.saved.iter().any(|saved| saved.file.is_some()))
    }

    pub(super) fn was_serving(&self) -> bool {
        self.ledger.switch.as_ref().is_some_and(|switch| switch.was_serving)
    }

    /// The certificate in place; none where only roots are.
    pub(super) fn leaf(&self) -> Option<Leaf> {
        self.ledger.held.as_ref()?.bundle.leaf().cloned()
    }

    /// Whether something came that the service cannot show that it has.
    pub(super) fn is_untold(&self) -> bool {
        self.ledger.held.as_ref().is_some_and(|held| held.untold)
    }

    pub(super) fn about(&self, job: &Job) -> About {
        let context = &self.shared.context;
        let real = |file: &InstalledFile| {
            let place = place::find(&*context.files, &context.config, &file.path);
            (file.part, place.map_or_else(|_| context.config.under_root(&file.path), |place| place.target))
        };
        About {
            certificate: self.name.clone(),
            generation: self.ledger.held.as_ref().map_or(0, |held| held.bundle.generation()),
            bundle: self.ledger.held.as_ref().map(|held| held.bundle.clone()),
            roots: self.ledger.spec.as_ref().map(|spec| spec.roots.clone()).unwrap_or_default(),
            files: self.ledger.held.iter().flat_map(|held| &held.files).map(real).collect(),
            touchable: job.touchable.clone(),
            may_restart: self.may_restart(job),
        }
    }

    pub(super) async fn turn(&self, job: &Job) -> Result<Turn, Interrupt> {
        match self.service(job) {
            Some(service) => Ok(Some(self.unless_stopped(service.turn()).await?)),
            None => Ok(None),
        }
    }

    pub(super) fn service(&self, job: &Job) -> Option<Arc<Service>> {
        job.service().map(|name| self.shared.services.of(name))
    }
}
