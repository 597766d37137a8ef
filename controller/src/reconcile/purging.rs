//! Purging: placements that the manifest does not name any more, and files that a person wants gone.
//!
//! Invariant: nothing is removed without a person's word, which is written before it is acted on.

use std::collections::BTreeSet;

use pinion_proto::id::PlacementId;

use super::effects::{Effects, Outgoing};
use crate::{
    admin::{caller::Caller, protocol::Answer},
    events::{PlacementEvent, What},
    planner::Plan,
    world::{Change, World},
};

/// What the manifest does not name any more.
#[derive(Debug, Default)]
pub(super) struct Purging {
    /// What guests hold and the manifest does not name, as of the last plan.
    retired: BTreeSet<PlacementId>,
    /// Those of which a person wants the files removed.
    asked: BTreeSet<PlacementId>,
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
        let over: Vec<_> = self.asked.difference(&retired).cloned().collect();
        for id in over {
            self.asked.remove(&id);
            effects.change(Change::PurgeOver(id));
        }
        self.retired = retired;
        // One that the manifest names is not among them: its guest reads of a purge in its spec.
        for id in self.asked.iter().filter(|id| !world.inventory().hands_off(id.guest)) {
            effects.send(id, Outgoing::Purge);
        }
    }

    /// Takes names of retired placements whose files are to be removed.
    pub(super) fn ask(&mut self, names: &[String], by: &Caller, plan: &Plan<'_>, effects: &mut Effects) -> Answer {
        let mut chosen = Vec::new();
        for name in names {
            let is_named = |id: &&PlacementId| id.to_string() == *name || id.certificate.as_str() == name;
            let before = chosen.len();
            chosen.extend(plan.retired.iter().filter(is_named).cloned());
            if chosen.len() == before {
                return refusal(name, plan);
            }
        }
        for id in chosen {
            effects.asked(What::Placement(id.clone(), PlacementEvent::PurgeAsked), by);
            effects.change(Change::PurgeAsked(id.clone()));
            effects.save_at_once(id.guest);
            self.asked.insert(id);
        }
        Answer::End
    }

    /// A guest has removed a placement's files.
    pub(super) fn purged(&mut self, id: &PlacementId) {
        self.asked.remove(id);
    }
}

fn refusal(name: &str, plan: &Plan<'_>) -> Answer {
    let mut wanted = plan.placements.iter();
    if wanted.any(|planned| planned.label() == name || planned.certificate.name.as_str() == name) {
        Answer::Refused(format!(
            "{name} is in the manifest: remove it there, or set `\"purge\": true` in its placement"
        ))
    } else {
        Answer::NoSuchName(format!("no retired placement is called {name}; `pinion status` lists them"))
    }
}

#[cfg(test)]
mod tests;
