//! One try with one placement: the parts that it works with, and what each of its steps needs of them.
//!
//! Invariant: a try works with one of the placement's two drivers and never with the other.

use std::sync::Arc;

use super::{
    disturb,
    driver::Driver,
    failure::{Failure, Interrupt},
    request::Request,
    service::{Service, Turns},
    status::Status,
    switch::FileSwitch,
};
use crate::{
    install::place,
    ledger::InstalledFile,
    recipe::{self, Job, Levels, ReloadAction},
    reload::{self, About, ReloadError},
};
use pinion_proto::{spec::GuestPath, stage::Stage};

/// A service, and the way to notify it now.
pub(super) type Notice<'a> = (&'a Levels, &'a ReloadAction);

/// The parts of a placement, for one try.
pub(super) struct Attempt<'a> {
    pub(super) switch: &'a mut FileSwitch,
    pub(super) request: &'a mut Request,
    pub(super) driver: &'a mut Driver,
    pub(super) status: &'a mut Status,
    pub(super) job: &'a Job,
}

impl<'a> Attempt<'a> {
    /// How many tries of this driver failed before.
    pub(super) fn failures(&self) -> u32 {
        self.driver.failures()
    }

    /// Publishes the state as it is.
    pub(super) fn publish(&self) {
        self.status.publish(self.switch, self.request);
    }

    /// Sets the stage of what is held, and publishes it.
    pub(super) fn publish_stage(&mut self, stage: Stage) {
        self.switch.set_stage(stage);
        self.publish();
    }

    /// How each service is to be notified now.
    pub(super) fn notices(&self) -> Vec<Notice<'a>> {
        self.job.services.iter().map(|service| (service, self.action(service))).collect()
    }

    /// How a service is to be notified now: more firmly only if it is the one that has not followed.
    pub(super) fn action(&self, service: &'a Levels) -> &'a ReloadAction {
        if self.job.services.len() == 1 || self.driver.is_blamed(service) {
            self.driver.escalation.action(service)
        } else {
            service.mildest()
        }
    }

    /// Waits for the placement's turn at each of its services, in the order in which all placements do.
    pub(super) async fn turn(&self) -> Result<Turns, Interrupt> {
        let mut turns = Turns::default();
        for (name, service) in self.services() {
            turns.add(name, self.switch.unless_stopped(service.turn()).await?);
        }
        Ok(turns)
    }

    /// Notifies the service in this way. Restarts are counted, whatever made them.
    pub(super) async fn tell(&mut self, action: &ReloadAction) -> Result<Result<(), ReloadError>, Interrupt> {
        let switch = &*self.switch;
        let about = About { may_restart: disturb::may_restart(switch, action), ..self.about() };
        let _dockerd = switch.unless_stopped(switch.shared.services.dockerd(action)).await?;
        disturb::note(switch, action).await?;
        let told = switch.unless_stopped(reload::notify(switch.config(), action, &about)).await?;
        match &told {
            // A unit that was to be reloaded was restarted.
            Ok(true) => disturb::note_restart(switch, action).await?,
            Err(error) if error.is_absence() => disturb::take_back(switch, action).await?,
            Ok(false) | Err(_) => {}
        }
        match &told {
            Ok(restarted) => self.status.notified(*restarted || action.is_disruptive()),
            Err(error) if error.is_absence() => {}
            Err(_) => self.status.notified(action.is_disruptive()),
        }
        Ok(told.map(drop))
    }

    /// Its services, by the names at which placements take turns.
    pub(super) fn services(&self) -> Vec<(&'a str, Arc<Service>)> {
        let services = &self.switch.shared.services;
        self.job.turns().into_iter().map(|name| (name, services.of(name))).collect()
    }

    /// Keeps the paths of what is in place from other placements, and no more.
    pub(super) fn keep_claims(&self) {
        let paths: Vec<&GuestPath> = self.switch.ledger.files().map(|file| &file.path).collect();
        self.switch.shared.keep_claims(&self.switch.name, &paths);
    }

    /// What hooks and programs learn of the placement.
    pub(super) fn about(&self) -> About {
        about(self.switch, self.job)
    }

    /// The goal, or as much of it as there is to see: the way back is no longer needed.
    pub(super) async fn reach(&mut self, stage: Stage) -> Result<(), Interrupt> {
        self.driver.escalation.reset();
        self.driver.blame_nobody();
        self.driver.told.forget();
        if let Some(held) = &mut self.switch.ledger.held
            && !held.unnotified
            && held.trusted != held.roots
        {
            held.trusted.clone_from(&held.roots);
            self.switch.changed();
        }
        self.publish_stage(stage);
        let held = self.switch.ledger.held.as_ref();
        self.status.renewal_ended(held.map_or(0, |held| held.bundle.generation()));
        self.switch.settle(self.driver.failures()).await
    }
}

/// What hooks and programs learn of a placement.
pub(super) fn about(switch: &FileSwitch, job: &Job) -> About {
    let (context, ledger) = (&switch.shared.context, &switch.ledger);
    let real = |file: &InstalledFile| (file.part, place::target(&*context.files, &context.config, &file.path));
    About {
        certificate: switch.name.clone(),
        generation: ledger.held.as_ref().map_or(0, |held| held.bundle.generation()),
        bundle: ledger.held.as_ref().map(|held| held.bundle.clone()),
        roots: ledger.spec.as_ref().map(|spec| spec.roots.clone()).unwrap_or_default(),
        files: ledger.held.iter().flat_map(|held| &held.files).map(real).collect(),
        touchable: job.touchable.clone(),
        may_restart: true,
    }
}

/// What is to be done, with everything decided; the paths of its files are claimed.
pub(super) fn decide(switch: &FileSwitch, status: &mut Status) -> Result<Job, Interrupt> {
    let config = switch.config();
    let Some(spec) = &switch.ledger.spec else { return Err(Interrupt::Stopped) };
    if spec.content.is_roots() && spec.roots.is_empty() && !spec.purge {
        return Err(Failure::no_roots().into());
    }
    let recipe = match &spec.recipe {
        Some(name) => Some(recipe::find(name, &config.recipes).map_err(|e| Failure::recipe(&e))?),
        None => None,
    };
    let kept = switch.ledger.kept();
    let job = recipe::resolve(spec, recipe.as_ref(), &config.allow, &kept).map_err(|e| Failure::job(&e))?;
    status.decided(&job);
    let claim = switch.shared.claim(&switch.name, job.files.iter().map(|file| &file.path));
    claim.map_err(|(path, owner)| Failure::claimed(&path, &owner))?;
    Ok(job)
}
