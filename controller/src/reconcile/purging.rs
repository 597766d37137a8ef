//! Purging: placements that the manifest does not name any more, files that others left behind, and what a person wants
//! gone.
//!
//! Invariant: nothing is removed without a person's word, which is written before it is acted on.

use std::collections::{BTreeMap, BTreeSet};

use pinion_proto::{
    id::PlacementId,
    message::{Purge, PurgeManner},
};

use super::effects::{Effects, Outgoing};
use crate::{
    admin::{
        caller::Caller,
        protocol::Answer,
        purge::{AskPurge, Purging as PurgingNow},
    },
    events::{PlacementEvent, What},
    planner::{Plan, Planned},
    world::{Change, World},
};

/// What is removed, or may be.
#[derive(Debug, Default)]
pub(super) struct Purging {
    /// What guests hold and the manifest does not name, as of the last plan.
    retired: BTreeSet<PlacementId>,
    /// Those of which a person wants files removed.
    asked: BTreeMap<PlacementId, PurgeManner>,
}

impl Purging {
    /// What was asked for when the controller stopped.
    pub(super) fn restore(world: &World) -> Self {
        Self { retired: BTreeSet::new(), asked: world.reports().purges_asked().collect() }
    }

    /// Notes what is retired now, and asks guests to remove what a person wants removed.
    pub(super) fn step(&mut self, world: &World, plan: &Plan<'_>, effects: &mut Effects) {
        let retired: BTreeSet<_> = plan.retired.iter().cloned().collect();
        for id in retired.difference(&self.retired) {
            effects.limited_event(Some(id.guest), What::Placement(id.clone(), PlacementEvent::Retired));
        }
        self.retired = retired;
        if self.asked.is_empty() {
            return;
        }
        let others = others(world, plan);
        self.asked.retain(|id, manner| {
            let left_behind = match others.get(id) {
                _ if self.retired.contains(id) => false,
                Some(Other::LeftBehind) => true,
                Some(Other::Purged) if manner.force || manner.restore => false,
                Some(Other::Purged) | None => {
                    effects.change(Change::PurgeOver(id.clone()));
                    return false;
                }
            };
            if !world.inventory().hands_off(id.guest) {
                let (certificate, PurgeManner { restore, force }) = (id.certificate.clone(), *manner);
                effects.send(id, Outgoing::Purge(Purge { certificate, left_behind, restore, force }));
            }
            true
        });
    }

    /// Takes names of placements of which files are to be removed: retired ones, else such as have left files behind, or
    /// are removed by the manifest and held up.
    pub(super) fn ask(
        &mut self,
        ask: &AskPurge,
        by: &Caller,
        world: &World,
        plan: &Plan<'_>,
        effects: &mut Effects,
    ) -> Answer {
        let (others, mut chosen) = (others(world, plan), BTreeSet::new());
        for name in &ask.names {
            let is_named = |id: &&PlacementId| id.to_string() == *name || id.certificate.as_str() == name;
            let mut found: Vec<_> = plan.retired.iter().filter(is_named).cloned().collect();
            if found.is_empty() {
                found.extend(others.keys().filter(is_named).cloned());
            }
            if found.is_empty() {
                return refusal(name, plan);
            }
            chosen.extend(found);
        }
        let mut purging = PurgingNow { at_once: Vec::new(), later: Vec::new() };
        for id in chosen {
            effects.asked(What::Placement(id.clone(), PlacementEvent::PurgeAsked), by);
            effects.change(Change::PurgeAsked(id.clone(), ask.manner));
            effects.save_at_once(id.guest);
            let is_near = world.is_linked(id.guest) && !world.inventory().hands_off(id.guest);
            if is_near { &mut purging.at_once } else { &mut purging.later }.push(id.to_string());
            self.asked.insert(id, ask.manner);
        }
        Answer::Purging(purging)
    }

    /// A guest has answered what it was asked to remove.
    pub(super) fn purged(&mut self, id: &PlacementId, effects: &mut Effects) {
        if self.asked.remove(id).is_some() {
            effects.change(Change::PurgeOver(id.clone()));
        }
    }
}

/// Why files of a placement that the manifest names may be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    /// An earlier manifest had them elsewhere.
    LeftBehind,
    /// The manifest says so.
    Purged,
}

/// Placements of the manifest that have files to be removed.
fn others(world: &World, plan: &Plan<'_>) -> BTreeMap<PlacementId, Other> {
    let other = |planned: &Planned<'_>| {
        let id = planned.id()?;
        let report = world.report(&id)?;
        let other = match planned.placement.purge {
            true => Other::Purged,
            false if !report.left_behind.is_empty() => Other::LeftBehind,
            false => return None,
        };
        Some((id, other))
    };
    plan.placements.iter().filter_map(other).collect()
}

fn refusal(name: &str, plan: &Plan<'_>) -> Answer {
    let mut wanted = plan.placements.iter();
    if wanted.any(|planned| planned.label() == name || planned.certificate.name.as_str() == name) {
        Answer::Refused(format!(
            "{name} is in the manifest and has left no files behind: remove it there, or set `\"purge\": true` in its \
             placement"
        ))
    } else {
        Answer::NoSuchName(format!("no retired placement is called {name}; `pinion status` lists them"))
    }
}

#[cfg(test)]
mod tests;
