//! What the loop holds, and what it does each time it is woken.
//!
//! Answers: in which order do the parts act?
//! Invariant: what parts want done is performed when they have returned, and before the next ones are asked.

use std::time::Duration;

use pinion_proto::clock::Timestamp;
use tokio::{sync::mpsc, time::Instant};

use super::{
    alarm_watch::AlarmWatch, answers, effects::Effects, expiry_watch, freezing, parts::Parts, perform,
    resources::Resources, rest::Rest, shared_state, waiting,
};
use crate::{
    admin::{caller::Caller, protocol::Answer, question::FromPlan},
    manifest::Manifest,
    planner::{Plan, Turn},
    world::{Change, World},
};

/// The loop's state: all of it can be lost, and comes back with the agents' reports.
pub(super) struct Reconciler {
    pub(super) resources: Resources,
    pub(super) world: World,
    pub(super) parts: Parts,
    pub(super) outlets: perform::Outlets,
    /// What is to be answered from the next plan.
    pub(super) asked: Option<(FromPlan, Caller, mpsc::Sender<Answer>)>,
    pub(super) waiting: waiting::Waiting,
    pub(super) alarm_watch: AlarmWatch,
    /// Of the look for what expires or is wrong.
    pub(super) watch_rest: Rest,
}

/// When the loop plans again although nothing has happened.
pub(super) struct Wake {
    pub(super) at: Option<Timestamp>,
    /// When it goes on with what was put off: a look for what expires or is wrong, what found a queue full, orders.
    pub(super) put_off_until: Option<Instant>,
    /// How long the work took that has a rest of its own.
    pub(super) aside: Duration,
}

impl Reconciler {
    /// Plans and acts.
    pub(super) fn pass(&mut self) -> Wake {
        let now = self.resources.clock.now();
        let manifest = self.world.manifest().clone();
        // Which guest each name means comes first: everything else is about guests.
        self.act(now, |this, effects| this.parts.guest_names.step(&this.world, &this.resources.store, effects));
        // What has changed by itself.
        let before = self.act(now, |this, effects| {
            let (world, resources, parts) = (&this.world, &this.resources, &mut this.parts);
            if parts.clock_watch.step(world, effects) {
                parts.deliveries.forget_early(effects);
            }
            shared_state::step(world, &resources.store, &resources.identities, effects);
            parts.evictions.step(world, &mut parts.revocations, resources, effects);
            let thaws_at = freezing::step(world, &resources.store, effects);
            let departs_at = parts.departures.step(world, |guest| resources.refuse(guest), effects);
            [thaws_at, departs_at]
        });
        self.parts.roots.step(&manifest, &self.resources.issuers);
        // What is to be done now; who asks is shown that, and the issuers are asked for what it orders.
        let mut plan = self.plan(&manifest, now);
        self.answer_from(&plan, now);
        let is_outdated = self.act(now, |this, effects| {
            let Parts { signing, deliveries, .. } = &mut this.parts;
            signing.step(&this.world, &plan, deliveries, &this.resources.store, effects)
        });
        if is_outdated {
            plan = self.plan(&manifest, now);
        }
        // Guests are sent what they should hold, and then what was signed for it.
        self.outlets.sessions.send_manifest_problem(self.world.in_force().problem.as_deref());
        let decided = Instant::now();
        self.outlets.sessions.send_desired(&plan, &self.world, decided);
        self.parts.timings.step(&plan, |id| self.outlets.sessions.ordered(id), decided);
        self.outlets.sessions.send_addresses(&self.resources.node, &self.world.reachable().addresses);
        self.outlets.sessions.send_root(self.resources.identities.next_root());
        let after = self.act(now, |this, effects| {
            let (world, parts) = (&this.world, &mut this.parts);
            parts.deliveries.step(world, &plan, effects);
            parts.purging.step(world, &plan, effects);
            let enrols_at = parts.enrolment.step(world, &plan, &parts.evictions, effects);
            [enrols_at, parts.revocations.step(world, effects)]
        });
        let aside = Instant::now();
        self.act(now, |this, effects| {
            let Self { world, parts, waiting, .. } = this;
            parts.examining.step(world, Instant::now());
            waiting.step(&answers::View { world, parts, now }, &plan, effects);
        });
        let watch_at = self.watch_rest.until(Instant::now());
        let watched = if watch_at.is_none() { self.watch(&plan, now) } else { [None; 2] };
        let aside = aside.elapsed();
        let at = before.into_iter().chain(after).chain([plan.wake_at]).chain(watched).flatten().min();
        let resend_at = self.outlets.sessions.resend_at(Instant::now());
        Wake { at, put_off_until: watch_at.into_iter().chain(resend_at).min(), aside }
    }

    /// Looks for what expires, and for what is wrong. Returns when either changes by itself.
    fn watch(&mut self, plan: &Plan<'_>, now: Timestamp) -> [Option<Timestamp>; 2] {
        let began = Instant::now();
        let expires_at = self.act(now, |this, effects| {
            let view = answers::View { world: &this.world, parts: &this.parts, now };
            expiry_watch::step(&view, plan, effects)
        });
        let alarms_at = self.look_for_alarms(plan, now);
        self.watch_rest.worked(began, Instant::now());
        [expires_at, alarms_at]
    }

    /// Says what is wrong, where somebody is told. Returns when that changes by itself.
    fn look_for_alarms(&mut self, plan: &Plan<'_>, now: Timestamp) -> Option<Timestamp> {
        let patience = self.resources.notifier.patience()?;
        self.act(now, |this, effects| {
            let Self { world, parts, alarm_watch, resources, .. } = this;
            let view = answers::View { world, parts, now };
            alarm_watch.step(&view, plan, patience, &resources.events, effects)
        })
    }

    /// Answers what was left to this plan.
    fn answer_from(&mut self, plan: &Plan<'_>, now: Timestamp) {
        let Some((ask, caller, answers)) = self.asked.take() else { return };
        let view = answers::View { world: &self.world, parts: &self.parts, now };
        let answer = match ask {
            FromPlan::Status(selection) => answers::status(view, &self.resources, &selection, plan),
            FromPlan::Show(ask) => answers::show(view, &ask, plan),
            FromPlan::Plan => answers::plan(&self.world, self.world.manifest(), plan),
            FromPlan::PlanOf(manifest) => answers::plan(&self.world, &manifest, &self.world.plan(&manifest, now)),
            FromPlan::Purge(ask) => {
                self.act(now, |this, effects| this.parts.purging.ask(&ask, &caller, &this.world, plan, effects))
            }
        };
        answers.try_send(answer).ok();
    }

    /// What is to be done now, with the turns that begin and end by it.
    fn plan<'m>(&mut self, manifest: &'m Manifest, now: Timestamp) -> Plan<'m> {
        let mut plan = self.world.plan(manifest, now);
        if self.note_turns(&plan, now) {
            // Whoever waited for them goes on.
            plan = self.world.plan(manifest, now);
            self.note_turns(&plan, now);
        }
        plan
    }

    /// Notes the turns that begin and end with this plan; true when one has ended.
    fn note_turns(&mut self, plan: &Plan<'_>, now: Timestamp) -> bool {
        let turns = plan.placements.iter().filter(|planned| planned.turn != Turn::None);
        let turns: Vec<_> = turns.filter_map(|planned| Some((planned.id()?, planned.turn))).collect();
        for (id, turn) in &turns {
            self.world.apply(Change::Turn(id.clone(), *turn), now);
        }
        turns.iter().any(|(_, turn)| *turn == Turn::Ends)
    }

    /// Lets parts say what is to be done, and does it.
    pub(super) fn act<T>(&mut self, now: Timestamp, parts: impl FnOnce(&mut Self, &mut Effects) -> T) -> T {
        let mut effects = Effects::at(now);
        let result = parts(self, &mut effects);
        self.outlets.perform(effects, &mut self.world, &mut self.parts, &self.resources);
        result
    }
}
