//! Guests that enrol themselves: who needs an agent or an identity, and how far bringing it in has come.
//!
//! Answers: for each guest of this node that is wanted, what is done about it now, and what keeps it from being done?
//! Invariant: level-triggered. Whether a guest needs anything is seen from its link alone; each try begins with a look
//! into the guest and does what is missing there, so that a try which was cut off at any step is simply made again.
//! At most `AT_ONCE` guests are worked on at a time, each by one task.

mod notes;
mod rollout;
mod state;
mod steps;
mod stop;
mod version;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use pinion_proto::{
    clock::Timestamp,
    id::Vmid,
    stage::{Halt, Trouble},
};
use tokio::sync::{Semaphore, mpsc};

pub use notes::{EnrolStep, Tools};
pub(crate) use notes::{Happened, Identity, Note, Seen};
pub(crate) use version::{is_older, misfit};

use crate::{
    admin::protocol::Answer,
    channel::protocol::{Cause, Failure, Target},
    config::Enroll,
    events::GuestEvent,
    inventory::{GuestInfo, Inventory},
    world::Link,
};
use rollout::{PROVING_TIME, Rollout};
use state::{Job, Phase, State};

/// Guests that are worked on at once: each is a few processes on the host, which runs guests and not only Pinion.
const AT_ONCE: usize = 8;

/// An agent that has its identity dials within a second; a busy guest's within ten.
const LINK_TIME: Duration = Duration::from_secs(60);

/// A guest whose agent should only have to dial again is left alone for so long: longer than an agent's longest pause
/// between two dials.
const REDIAL_TIME: Duration = Duration::from_secs(90);

/// How the packaged agent went wrong.
const UNLINKED: &str = "the packaged agent did not link within a minute";
const UNSERVED: &str = "the packaged agent is linked, but not everything that was served before is served again";

/// A guest that was only just started, or has never been linked since the controller's start, is looked at after this.
const SETTLE_TIME: Duration = Duration::from_secs(3);

/// How far every guest is that has something to be done.
#[derive(Debug)]
pub(crate) struct Enrolments {
    tools: Tools,
    places: Arc<Semaphore>,
    guests: HashMap<Vmid, State>,
    rollout: Rollout,
    happened: mpsc::UnboundedSender<Happened>,
}

impl Enrolments {
    pub(crate) fn new(tools: Tools) -> (Self, mpsc::UnboundedReceiver<Happened>) {
        let (happened, receiver) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        (Self { tools, places, guests: HashMap::new(), rollout: Rollout::default(), happened }, receiver)
    }

    /// Someone showed this guest's identity, or this guest another one's, and was refused.
    pub(crate) fn must_rejoin(&mut self, guest: Vmid, now: Timestamp) {
        let state = self.guests.entry(guest).or_insert_with(|| State::new(now));
        if !std::mem::replace(&mut state.must_rejoin, true) {
            state.not_before = None;
            if state.shows_as_before() {
                state.phase = Phase::Resting;
            }
        }
    }

    /// A person, or a hookscript, says that it is worth looking at this guest now.
    pub(crate) fn wake(&mut self, guest: Vmid) {
        if let Some(state) = self.guests.get_mut(&guest) {
            state.not_before = None;
        }
    }

    /// A person asks for it, and waits for what becomes of it.
    ///
    /// # Errors
    /// Why that makes no sense.
    pub(crate) fn ask(
        &mut self,
        guest: Vmid,
        inventory: &Inventory,
        seen: Seen<'_>,
        answers: mpsc::Sender<Answer>,
        now: Timestamp,
    ) -> Result<(), Answer> {
        let Some(info) = inventory.guest(guest) else {
            return Err(Answer::NoSuchName(format!("no guest {guest} on this cluster")));
        };
        if info.template {
            return Err(Answer::Refused(format!(
                "guest {guest} is a template: enrol the guests that are cloned from it"
            )));
        }
        let state = self.guests.entry(guest).or_insert_with(|| State::new(now));
        if matches!(seen.link, Link::Linked { .. }) && (seen.is_older() || seen.is_newer()) {
            // An older agent takes a newer one's place only here: it may not know what that one has written.
            state.replace_newer = seen.is_newer();
            // Also after it went wrong, here or elsewhere.
            self.rollout.resume();
        } else if matches!(seen.link, Link::Linked { .. }) && !state.must_rejoin && state.phase == Phase::Resting {
            return Err(Answer::Enrolled(format!("guest {guest} is linked already")));
        }
        state.not_before = None;
        state.missing_since = Timestamp::from_unix(0);
        state.asked.push(answers);
        Ok(())
    }

    /// Why no agent is replaced any more, if so.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.rollout.trouble()
    }

    /// Whether Pinion brings agents into this guest by itself.
    fn wants(&self, info: &GuestInfo, named: bool) -> bool {
        match self.tools.proxmox.enroll {
            Enroll::Manifest => named,
            Enroll::Tagged => named && info.has_tag(&self.tools.proxmox.tag),
            Enroll::Never => false,
        }
    }

    /// Whether a guest that the manifest names is brought in by itself.
    pub(crate) fn brings_in(&self, guest: Vmid, inventory: &Inventory) -> bool {
        inventory.guest(guest).is_some_and(|info| info.is_here() && info.kind.is_some() && self.wants(info, true))
    }

    /// Starts what is to be started. `named` are the guests that the manifest names, `seen` tells of each guest.
    /// Returns when to look again.
    pub(crate) fn pass<'s>(
        &mut self,
        inventory: &Inventory,
        named: &BTreeSet<Vmid>,
        seen: impl Fn(Vmid) -> Seen<'s>,
        now: Timestamp,
        notes: &mut Vec<Note>,
    ) -> Option<Timestamp> {
        let mut wake_at: Option<Timestamp> = None;
        let mut wake = |at: Timestamp| wake_at = Some(wake_at.map_or(at, |before| before.min(at)));
        for (vmid, info) in inventory.guests() {
            let asked = self.guests.get(&vmid).is_some_and(|state| !state.asked.is_empty());
            let wanted = asked || self.wants(info, named.contains(&vmid));
            let there = info.is_here() && !info.template && info.lock.is_none() && info.kind.is_some();
            if !wanted || !there || (info.running == Some(false) && !asked) {
                self.rest(vmid, notes);
                continue;
            }
            let seen = seen(vmid);
            if let Link::Linked { .. } = seen.link {
                if let Some(at) = self.linked(vmid, info, seen, now, notes) {
                    wake(at);
                }
                continue;
            }
            // Its agent is not let in: another identity would not be either.
            if let (Some(trouble), false) = (inventory.alike_trouble(vmid), asked) {
                self.guests.entry(vmid).or_insert_with(|| State::new(now));
                notes.push(Note::Trouble { guest: vmid, trouble: Some(trouble.clone()) });
                continue;
            }
            if let Some(at) = self.unlinked(vmid, info, now, notes) {
                wake(at);
            }
        }
        wake_at
    }

    /// A guest that is not wanted, or not there: what a task of it still does ends by itself.
    fn rest(&mut self, vmid: Vmid, notes: &mut Vec<Note>) {
        if self
            .guests
            .get(&vmid)
            .is_some_and(|state| !matches!(state.phase, Phase::Working(_)) && state.asked.is_empty())
        {
            self.guests.remove(&vmid);
            notes.push(Note::Trouble { guest: vmid, trouble: None });
        }
    }

    fn linked(
        &mut self,
        vmid: Vmid,
        info: &GuestInfo,
        seen: Seen<'_>,
        now: Timestamp,
        notes: &mut Vec<Note>,
    ) -> Option<Timestamp> {
        let unwanted = self.guests.get(&vmid).is_some_and(|state| state.replace_newer) && seen.is_newer();
        let old = seen.is_older() || unwanted;
        if let Some(state) = self.guests.get_mut(&vmid) {
            match state.phase {
                Phase::Working(_) => return None,
                Phase::Upgrading { until } if old && now < until => return Some(until),
                Phase::Upgrading { .. } if old => return self.put_back(vmid, info, UNLINKED, now, notes),
                Phase::Upgrading { .. } => state.phase = Phase::Proving { until: now + PROVING_TIME },
                _ => {}
            }
            if let Phase::Proving { until } = state.phase {
                if seen.served || !state.was_served {
                    self.rollout.proven();
                } else if now < until {
                    return Some(until);
                } else {
                    return self.put_back(vmid, info, UNSERVED, now, notes);
                }
            }
            if !old {
                for asked in state.asked.drain(..) {
                    asked.try_send(Answer::Enrolled(format!("guest {vmid} is enrolled and linked"))).ok();
                }
                self.guests.remove(&vmid);
                notes.push(Note::Trouble { guest: vmid, trouble: None });
                return None;
            }
        }
        let under_way = self.guests.values().filter(|state| state.is_upgrading()).count();
        if !old || !self.rollout.may_start(under_way) {
            return None;
        }
        let state = self.guests.entry(vmid).or_insert_with(|| State::new(now));
        state.was_served = seen.served;
        if let Some(at) = state.not_before.filter(|at| *at > now) {
            return Some(at);
        }
        self.start(vmid, info, Job::Upgrade, now);
        None
    }

    fn unlinked(&mut self, vmid: Vmid, info: &GuestInfo, now: Timestamp, notes: &mut Vec<Note>) -> Option<Timestamp> {
        let state = self.guests.entry(vmid).or_insert_with(|| State::new(now));
        match state.phase {
            Phase::Working(_) => return None,
            Phase::Linking { until, .. } | Phase::Upgrading { until } | Phase::Proving { until } if now < until => {
                return Some(until);
            }
            Phase::Linking { .. } => {
                state.phase = Phase::Resting;
                let text = "its agent has an identity, but did not link within a minute";
                self.failed(vmid, Failure::new(Cause::NoWayBack, text), now, notes);
            }
            Phase::Upgrading { .. } | Phase::Proving { .. } => {
                return self.put_back(vmid, info, UNLINKED, now, notes);
            }
            Phase::Resting => {}
        }
        let state = self.guests.entry(vmid).or_insert_with(|| State::new(now));
        let settled = state.missing_since + if state.must_rejoin { Duration::ZERO } else { SETTLE_TIME };
        let due = state.not_before.map_or(settled, |at| at.max(settled));
        if now < due {
            return Some(due);
        }
        let patient = !state.must_rejoin && now < state.missing_since + REDIAL_TIME;
        if state.failures == 0 {
            let trouble = Trouble {
                halt: Halt::Waiting,
                attempt: format!("enrol guest {vmid}"),
                cause: "its agent is not linked, and Pinion checks it through the hypervisor".into(),
                remedy: "nothing: Pinion continues as soon as it links".into(),
                retry_at: None,
            };
            notes.push(Note::UnderWay { guest: vmid, trouble });
        }
        self.start(vmid, info, Job::Enrol { patient }, now);
        None
    }

    /// With the packaged agent a guest did not come back as it was.
    fn put_back(
        &mut self,
        vmid: Vmid,
        info: &GuestInfo,
        why: &str,
        now: Timestamp,
        notes: &mut Vec<Note>,
    ) -> Option<Timestamp> {
        notes.push(Note::Happened { guest: vmid, what: GuestEvent::AgentPutBack(why.to_owned()) });
        self.rollout.stop(vmid, why);
        if let (Some(state), Some(trouble)) = (self.guests.get_mut(&vmid), self.rollout.trouble()) {
            for asked in state.asked.drain(..) {
                asked.try_send(Answer::NotEnrolled(trouble.clone())).ok();
            }
            state.replace_newer = false;
        }
        self.start(vmid, info, Job::Restore, now);
        None
    }

    fn start(&mut self, vmid: Vmid, info: &GuestInfo, job: Job, now: Timestamp) {
        let Some(kind) = info.kind else { return };
        if let Some(state) = self.guests.get_mut(&vmid) {
            state.phase = Phase::Working(job);
        }
        let (tools, places, happened) = (self.tools.clone(), self.places.clone(), self.happened.clone());
        let target = Target { vmid, kind };
        let task = tokio::spawn(async move {
            // The semaphore is never closed.
            let Ok(_place) = places.acquire().await else { return };
            let tell = |step| {
                // The loop is gone only at shutdown.
                happened.send(Happened::Step(vmid, step)).ok();
            };
            let ended = match job {
                Job::Enrol { patient } => steps::enrol(&tools, target, patient, now, tell).await,
                Job::Upgrade => steps::upgrade(&tools, target, tell).await,
                Job::Restore => steps::restore(&tools, target, tell).await,
            };
            happened.send(Happened::Ended(vmid, ended)).ok();
        });
        if let Some(state) = self.guests.get_mut(&vmid) {
            state.task = Some(task.abort_handle());
        }
    }

    /// Takes what a task has done.
    pub(crate) fn take(&mut self, happened: Happened, now: Timestamp, notes: &mut Vec<Note>) {
        let (Happened::Step(guest, _) | Happened::Ended(guest, _)) = happened;
        let Some(state) = self.guests.get_mut(&guest) else { return };
        match happened {
            Happened::Step(_, step) => {
                state.tell(&step.to_string());
                if step.is_told() {
                    notes.push(Note::Happened { guest, what: GuestEvent::Enrolled(step.to_string()) });
                }
            }
            // It was refused in the meantime, with what it still shows.
            Happened::Ended(_, Ok(Identity::AsBefore)) if state.must_rejoin => state.phase = Phase::Resting,
            Happened::Ended(_, Ok(shows)) => {
                let until = now + LINK_TIME;
                state.must_rejoin = false;
                state.phase = match state.phase {
                    Phase::Working(Job::Upgrade) => Phase::Upgrading { until },
                    _ => Phase::Linking { until, shows },
                };
            }
            Happened::Ended(_, Err(failure)) => {
                state.phase = Phase::Resting;
                self.failed(guest, failure, now, notes);
            }
        }
    }

    fn failed(&mut self, guest: Vmid, failure: Failure, now: Timestamp, notes: &mut Vec<Note>) {
        let Some(state) = self.guests.get_mut(&guest) else { return };
        let trouble = state.failed(guest, failure, now);
        notes.push(Note::Trouble { guest, trouble: Some(trouble) });
    }
}

#[cfg(test)]
mod tests;
