//! What a guest's report brings that is new, as events.
//!
//! Invariant: found by the difference to what was known, so that a report which is repeated says nothing twice.

use pinion_proto::{
    bundle::CertificateRequest,
    content::Content,
    id::{Guest, PlacementId},
    report::{Found, Held, Original, PlacementReport, Progress},
    stage::{Stage, Trouble},
};

use super::effects::Effects;
use crate::{
    events::{PlacementEvent, What},
    manifest::Placement,
    planner::misfit,
    world::World,
};

/// Records what a report brings that is new; `ordered` is the generation that its guest was asked to prepare.
pub(super) fn step(world: &World, guest: Guest, report: &PlacementReport, ordered: Option<u64>, effects: &mut Effects) {
    let id = PlacementId { certificate: report.certificate.clone(), guest };
    let before = world.report(&id);
    let news = [
        adopted(before, report),
        watched(before, report),
        stage(before, report),
        trouble(before, report),
        refused_request(world, &id, report, ordered),
    ];
    for what in news.into_iter().flatten() {
        effects.limited_event(Some(guest), What::Placement(id.clone(), what));
    }
    for original in replaced(before, report) {
        let what = PlacementEvent::Replaces(Box::new(original.clone()));
        effects.limited_event(Some(guest), What::Placement(id.clone(), what));
    }
}

fn adopted(before: Option<&PlacementReport>, report: &PlacementReport) -> Option<PlacementEvent> {
    let is_adopted = |held: &&Held| held.adopted;
    let held = report.held.as_ref().filter(is_adopted)?;
    let known = before.and_then(|before| before.held.as_ref()).filter(is_adopted);
    known.is_none().then(|| PlacementEvent::Adopted {
        generation: held.generation,
        serial: held.leaf.serial().to_owned(),
        not_after: held.expires(),
    })
}

fn watched(before: Option<&PlacementReport>, report: &PlacementReport) -> Option<PlacementEvent> {
    let shown = report.watched.as_ref()?;
    let known = before.and_then(|before| before.watched.as_ref());
    (known.map(|known| &known.serial) != Some(&shown.serial))
        .then(|| PlacementEvent::Watched { serial: shown.serial.clone(), not_after: shown.expires })
}

/// Whether its files of before Pinion are about to go, or are gone.
fn replaces(report: &PlacementReport) -> bool {
    let is_good = matches!(report.found.as_deref(), Some(Found::Good(_)));
    // Until a certificate is under way, nobody knows yet what becomes of them.
    let is_under_way = report.incoming.is_some() || report.held.is_some();
    is_under_way && !is_good && report.held.as_ref().is_none_or(|held| !held.adopted)
}

/// Files of before Pinion that were not known.
fn replaced<'r>(
    before: Option<&'r PlacementReport>,
    report: &'r PlacementReport,
) -> impl Iterator<Item = &'r Original> {
    let is_known = move |new: &Original| {
        let before = before.filter(|before| replaces(before));
        let mut known = before.iter().flat_map(|before| &before.originals);
        known.any(|known| Original { kept: None, ..known.clone() } == Original { kept: None, ..new.clone() })
    };
    let originals = report.originals.iter().filter(|_| replaces(report));
    originals.filter(move |new| !is_known(new))
}

fn stage(before: Option<&PlacementReport>, report: &PlacementReport) -> Option<PlacementEvent> {
    let held = report.held.as_ref()?;
    let generation = |report: &PlacementReport| report.held.as_ref().map(|held| held.generation);
    let at = |report: &PlacementReport| (generation(report), report.stage);
    if before.map(at) == Some(at(report)) || report.stage < Stage::Installed {
        return None;
    }
    Some(PlacementEvent::Stage {
        stage: report.stage,
        // What comes back has been served, and is what the service has if it does not take the newer one.
        back: before.is_some_and(|before| generation(before) > Some(held.generation)),
        generation: held.generation,
        serial: held.leaf.serial().to_owned(),
    })
}

fn trouble(before: Option<&PlacementReport>, report: &PlacementReport) -> Option<PlacementEvent> {
    let trouble = report.trouble.as_ref()?;
    let is_known =
        |old: &Trouble| (old.halt, &old.attempt, &old.cause) == (trouble.halt, &trouble.attempt, &trouble.cause);
    let known = before.and_then(|before| before.trouble.as_ref()).is_some_and(is_known);
    (!known).then(|| PlacementEvent::HeldUp(trouble.clone()))
}

/// A request with other names or another kind of key than were ordered is never signed; here it is told.
fn refused_request(
    world: &World,
    id: &PlacementId,
    report: &PlacementReport,
    ordered: Option<u64>,
) -> Option<PlacementEvent> {
    let incoming = report.incoming.as_ref()?;
    let Progress::Requested(der) = &incoming.progress else { return None };
    let known = world.report(id).and_then(|report| report.incoming.as_ref());
    if der.is_empty() || ordered != Some(incoming.generation) || known == Some(incoming) {
        return None;
    }
    let certificate = world.manifest().certificate(&id.certificate)?;
    let here = |placement: &&Placement| world.inventory().resolve(&placement.guest) == Ok(id.guest);
    let placement = certificate.placements.iter().find(here)?;
    let Content::Leaf(leaf) = certificate.content_at(placement) else { return None };
    let why = match CertificateRequest::parse(der) {
        Ok(request) => misfit(&request, leaf)?.to_string(),
        Err(error) => error.to_string(),
    };
    Some(PlacementEvent::RequestRefused { generation: incoming.generation, why })
}

#[cfg(test)]
mod tests;
