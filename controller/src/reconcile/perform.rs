//! Performs what the parts want done.
//!
//! Answers: where does each effect go?
//! Invariant: nothing else in the loop records an event, sends a message, asks an issuer or ends a session; effects are
//! performed in the order in which they were said.

use pinion_proto::daemon;
use tokio::time::Instant;

use super::{
    calls::Calls,
    effects::{Effect, Effects, Outgoing},
    parts::Parts,
    persist::Persist,
    resources::Resources,
    sessions::Sessions,
};
use crate::{
    events::EventLimit,
    world::{Change, World, remove_record},
};

/// Where effects go.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) sessions: Sessions,
    pub(super) persist: Persist,
    event_limit: EventLimit,
    calls: Calls,
    /// What the service manager was told last.
    summary: String,
}

impl Outlets {
    /// With no session yet, and these ways back from the issuers.
    pub(super) fn new(calls: Calls) -> Self {
        Self {
            sessions: Sessions::default(),
            persist: Persist::default(),
            event_limit: EventLimit::default(),
            calls,
            summary: String::new(),
        }
    }

    /// Performs effects, in order.
    pub(super) fn perform(&mut self, effects: Effects, world: &mut World, parts: &mut Parts, resources: &Resources) {
        let now = effects.now();
        for effect in effects {
            match effect {
                Effect::Event(event) => resources.events.record(*event),
                Effect::LimitedEvent(who, event) => {
                    if let Some(event) = self.event_limit.pass(who, *event) {
                        resources.events.record(event);
                    }
                }
                Effect::Change(change) => world.apply(*change, now),
                Effect::Save(guest, when) => self.persist.save(guest, when),
                Effect::SaveRevocations(when) => self.persist.write(when),
                Effect::SaveDepartures(listed) => listed.write(&resources.store),
                Effect::Forget(guest) => {
                    self.sessions.end(guest);
                    world.apply(Change::Forgotten(guest), now);
                    remove_record(&resources.store, guest);
                    let mut forgotten = Effects::at(now);
                    parts.deliveries.forget_guest(guest, &mut forgotten);
                    self.perform(forgotten, world, parts, resources);
                }
                Effect::EndSession(guest) => self.sessions.end(guest),
                Effect::StopEnrolment(guest, why) => parts.enrolment.stop(guest, &why),
                Effect::Send(id, Outgoing::Delivery(delivery)) => {
                    let generation = delivery.generation;
                    if self.sessions.deliver(id.guest, delivery) {
                        world.sent(&id, generation, now);
                        parts.timings.sent(&id, generation, Instant::now());
                    }
                }
                Effect::Send(id, Outgoing::Retry) => self.sessions.retry(&id),
                Effect::Send(id, Outgoing::Look(number)) => self.sessions.look(&id, number),
                Effect::Send(id, Outgoing::Purge(purge)) => self.sessions.purge(id.guest, purge),
                Effect::Examine(guest, number, subject) => self.sessions.examine(guest, number, subject),
                Effect::Sign(call) => self.calls.sign(*call, now, resources),
                Effect::Revoke(call) => self.calls.revoke(call, &resources.issuers),
                Effect::Discard(id, generation) => self.calls.discard(id, generation, &resources.store),
                Effect::Alarms(alarms) => resources.notifier.found(*alarms),
                Effect::Summary(line) if line == self.summary => {}
                Effect::Summary(line) => {
                    daemon::status(&line);
                    self.summary = line;
                }
            }
        }
    }
}
