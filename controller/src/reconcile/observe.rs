//! What is new of the manifest and the inventory, as events.
//!
//! Invariant: found by the difference to what was known, so that each problem is recorded when it begins and when it
//! ends.

use pinion_proto::clock::Timestamp;

use super::effects::Effects;
use crate::{
    events::{Events, HostEvent, What},
    inventory::Inventory,
    manifest::file::InForce,
};

/// Records what is wrong with the manifest's file when the controller starts.
pub(super) fn manifest_at_start(in_force: &InForce, events: &Events, now: Timestamp) {
    if let (Some(problem), Some(_)) = (&in_force.problem, in_force.since) {
        let rejected = HostEvent::ManifestRejected { since: in_force.since, problem: problem.clone() };
        events.record(What::Host(rejected).at(now));
    }
}

/// Records that another manifest is in force, or what is wrong with the file.
pub(super) fn manifest(before: &InForce, next: &InForce, effects: &mut Effects) {
    match &next.problem {
        Some(problem) if before.problem.as_ref() != Some(problem) => {
            effects.event(What::Host(HostEvent::ManifestRejected { since: None, problem: problem.clone() }));
        }
        Some(_) => {}
        None => {
            let (certificates, placements) = (next.manifest.certificates.len(), next.manifest.placement_count());
            effects.event(What::Host(HostEvent::ManifestInForce { certificates, placements }));
        }
    }
}

/// Records when Proxmox begins or ceases to be understood.
pub(super) fn inventory(before: &Inventory, next: &Inventory, effects: &mut Effects) {
    match (before.problem(), next.problem()) {
        (before, Some(problem)) if before != Some(problem) => {
            effects.event(What::Host(HostEvent::InventoryUnknown(problem.clone())));
        }
        (Some(_), None) => effects.event(What::Host(HostEvent::InventoryKnown)),
        _ => {}
    }
    match (before.trouble(), next.trouble()) {
        (before, Some(trouble)) if before != Some(trouble) => {
            effects.event(What::Host(HostEvent::RunningUnknown(trouble.clone())));
        }
        (Some(_), None) => effects.event(What::Host(HostEvent::RunningKnown)),
        _ => {}
    }
    for alike in next.alike().iter().filter(|alike| !before.alike().contains(alike)) {
        effects.event(What::Host(HostEvent::SameNetworkCard(alike.trouble.clone())));
    }
    if !before.alike().is_empty() && next.alike().is_empty() {
        effects.event(What::Host(HostEvent::NetworkCardsDiffer));
    }
}

#[cfg(test)]
mod tests;
