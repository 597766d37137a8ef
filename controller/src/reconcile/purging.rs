//! Placements that the manifest does not name any more, and files that a person wants gone.
//!
//! Invariant: nothing is removed without a person's word, which is written down before it is acted on.

use std::collections::BTreeSet;

use pinion_proto::clock::Timestamp;

use super::Reconciler;
use crate::{
    admin::{caller::Caller, protocol::Answer},
    events::{PlacementEvent, What},
    planner::{self, Decision, Plan},
};

impl Reconciler {
    pub(super) fn note_retired(&mut self, plan: &Plan<'_>, now: Timestamp) {
        let retired: BTreeSet<_> = plan.retired.iter().cloned().collect();
        let fresh: Vec<_> = retired.difference(&self.retired).cloned().collect();
        for id in fresh {
            self.heard(Some(id.guest), What::Placement(id, PlacementEvent::Retired).at(now));
        }
        let over: Vec<_> = self.purging.difference(&retired).cloned().collect();
        for id in over {
            self.reports.forget_purge(&id);
            self.purging.remove(&id);
        }
        self.retired = retired;
    }

    /// Takes names of retired placements whose files are to be removed.
    pub(super) fn ask_purge(&mut self, names: &[String], caller: &Caller, plan: &Plan<'_>, now: Timestamp) -> Answer {
        let mut chosen = Vec::new();
        for name in names {
            let matching: Vec<_> = plan
                .retired
                .iter()
                .filter(|id| id.to_string() == *name || id.certificate.as_str() == name)
                .cloned()
                .collect();
            if matching.is_empty() {
                let wanted = plan.placements.iter().any(|p| p.label() == *name || p.certificate.name.as_str() == name);
                return if wanted {
                    Answer::Refused(format!(
                        "{name} is in the manifest: take it out, or write `\"purge\": true` into its placement"
                    ))
                } else {
                    Answer::NoSuchName(format!("no retired placement is called {name}; `pinion status` lists them"))
                };
            }
            chosen.extend(matching);
        }
        for id in chosen {
            self.record(What::Placement(id.clone(), PlacementEvent::PurgeAsked).at(now).by(caller));
            self.reports.request_purge(&id);
            self.touch_now(id.guest);
            self.purging.insert(id);
        }
        Answer::End
    }

    pub(super) fn purge(&mut self, plan: &Plan<'_>) -> bool {
        let by_manifest = plan
            .placements
            .iter()
            .filter(|planned| planned.decision == Decision::Purge)
            .filter_map(planner::Planned::id);
        // A placement that the manifest purges is told so in its spec.
        let told: BTreeSet<_> = by_manifest.collect();
        let asked = self.purging.iter().filter(|id| !told.contains(id) && !self.inventory.hands_off(id.guest));
        self.sessions.purge(asked)
    }
}
