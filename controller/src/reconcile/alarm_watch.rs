//! What is wrong, for those who are told.
//!
//! Invariant: an issuer is down from the first call that it did not answer until one that it answered, and a guest is
//! silent from the moment at which its link was seen to be gone; both begin anew with the controller, which then knows
//! neither yet.

use std::collections::BTreeMap;

use pinion_proto::{clock::Timestamp, id::Guest, spec::PlainName, stage::Validity};

use super::{
    answers::{self, Health, View},
    effects::Effects,
};
use crate::{
    events::Events,
    inventory::GuestInfo,
    issuer::IssuerError,
    notify::{
        rules::{self, Facts, IssuerFacts, IssuerState, Patience, PlacementFacts, SilentGuest},
        subject,
    },
    planner::{Plan, Planned},
    world::{Link, PlacementEntry},
};

/// So many placements of a silent guest are named.
const MAX_NAMED: usize = 3;

/// What is remembered between two looks.
#[derive(Debug)]
pub(super) struct AlarmWatch {
    /// Nobody was silent or down before this, as far as is known.
    since: Timestamp,
    issuers: BTreeMap<PlainName, IssuerState>,
}

impl AlarmWatch {
    /// Nothing is known yet.
    pub(super) fn start(now: Timestamp) -> Self {
        Self { since: now, issuers: BTreeMap::new() }
    }

    /// An issuer has answered a call, or has not.
    pub(super) fn note_answer<T>(&mut self, issuer: &PlainName, result: &Result<T, IssuerError>, now: Timestamp) {
        let state = self.issuers.entry(issuer.clone()).or_default();
        *state = match result {
            Ok(_) => IssuerState::Up,
            Err(error) if error.is_answer() => IssuerState::Up,
            Err(error) => match state {
                IssuerState::Down(since, _) => IssuerState::Down((*since).min(now), error.to_string()),
                IssuerState::Unknown | IssuerState::Up => IssuerState::Down(now, error.to_string()),
            },
        };
    }

    /// Says what is wrong. Returns when that changes by itself.
    pub(super) fn step(
        &mut self,
        view: &View<'_>,
        plan: &Plan<'_>,
        patience: Patience,
        events: &Events,
        effects: &mut Effects,
    ) -> Option<Timestamp> {
        let (alarms, next) = rules::alarms(&self.facts(view, plan, events), patience, view.now);
        effects.alarms(alarms);
        next
    }

    fn facts(&self, view: &View<'_>, plan: &Plan<'_>, events: &Events) -> Facts {
        let (mut placements, mut unheard) = (Vec::new(), Vec::new());
        let mut silent: BTreeMap<Guest, Vec<String>> = BTreeMap::new();
        for planned in &plan.placements {
            if planned.guest.is_some_and(|guest| view.parts.departures.has(guest)) {
                placements.push(destroyed(view, planned));
                continue;
            }
            let entry = planned.guest.and_then(|guest| view.world.reports().guest(guest));
            let entry = entry.and_then(|guest| guest.placement(&planned.certificate.name));
            let report = entry.and_then(PlacementEntry::report);
            let health = Health::of(view, planned, report);
            if planned.guest.is_some_and(|guest| !view.world.is_linked(guest)) {
                unheard.push(planned.label());
            }
            if let Some(guest) = planned.guest.filter(|guest| health.is_due && is_missed(view, *guest)) {
                silent.entry(guest).or_default().push(planned.label());
            }
            if health.trouble.is_some() || health.validity.is_some_and(|validity| validity != Validity::Ok) {
                placements.push(PlacementFacts {
                    label: planned.label(),
                    trouble: health.trouble,
                    validity: health.validity.filter(|_| !planned.placement.purge),
                    renew_at: planned.renew_at,
                    not_after: answers::expires(planned, report),
                });
            }
        }
        Facts {
            placements,
            unheard,
            silent: silent.into_iter().map(|(guest, due)| self.silent(view, guest, due)).collect(),
            issuers: self.named_issuers(view),
            host: answers::host_troubles(*view, events),
            manifest: view.world.in_force().problem.clone(),
        }
    }

    fn silent(&self, view: &View<'_>, guest: Guest, mut due: Vec<String>) -> SilentGuest {
        let gone = match view.world.reports().link(guest) {
            Link::Away { since } => since,
            Link::NeverSeen | Link::Linked { .. } => self.since,
        };
        let more = due.len().saturating_sub(MAX_NAMED);
        due.truncate(MAX_NAMED);
        if more > 0 {
            due.push(format!("{more} more"));
        }
        let since = gone.max(self.since).min(view.now);
        SilentGuest { subject: subject(guest, view.world.inventory()), since, due }
    }

    fn named_issuers(&self, view: &View<'_>) -> Vec<IssuerFacts> {
        let state = |issuer: &PlainName| self.issuers.get(issuer).cloned().unwrap_or_default();
        let named = view.world.manifest().issuers().into_iter();
        named.map(|issuer| IssuerFacts { name: issuer.to_string(), state: state(issuer) }).collect()
    }
}

/// A placement whose guest was destroyed needs a person, who takes note of that.
fn destroyed(view: &View<'_>, planned: &Planned<'_>) -> PlacementFacts {
    let id = planned.id();
    let trouble = view.destroyed(id.as_ref()).map(|id| super::troubles::destroyed(&planned.label(), id.guest));
    PlacementFacts { label: planned.label(), trouble, validity: None, renew_at: None, not_after: None }
}

/// Whether a guest should be linked and is not.
fn is_missed(view: &View<'_>, guest: Guest) -> bool {
    let Guest::Vmid(vmid) = guest else { return !view.world.is_linked(guest) };
    let is_absent = |info: &GuestInfo| !info.is_here() || !info.may_run();
    let inventory = view.world.inventory();
    let is_absent = inventory.guest(vmid).map_or(inventory.is_complete(), is_absent);
    !view.world.is_linked(guest) && !is_absent && !view.parts.evictions.has(guest)
}

#[cfg(test)]
mod tests;
