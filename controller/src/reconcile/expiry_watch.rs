//! The watch over what expires: a certificate that cannot be renewed in time is reported before it ends, and when it has.
//!
//! Invariant: each certificate is reported as expiring at most once and as expired at most once, also over a restart of
//! the controller.

use std::time::Duration;

use pinion_proto::{
    clock::Timestamp,
    content::Content,
    id::PlacementId,
    report::PlacementReport,
    stage::Validity,
    verdict::{Tally, Verdict},
};

use super::{
    answers::{Health, View},
    effects::Effects,
};
use crate::{
    events::{PlacementEvent, What},
    planner::{Plan, Planned},
    world::{Change, PlacementEntry},
};

/// A certificate is valid up to the end of its last second.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// Reports what begins to expire and what has expired, and says how all placements are. Returns when the next one ends.
pub(super) fn step(view: &View<'_>, plan: &Plan<'_>, effects: &mut Effects) -> Option<Timestamp> {
    let mut tally = Tally::default();
    let mut next = None;
    for planned in &plan.placements {
        let entry = planned.guest.and_then(|guest| view.world.reports().guest(guest));
        let entry = entry.and_then(|guest| guest.placement(&planned.certificate.name));
        let report = entry.and_then(PlacementEntry::report);
        if planned.guest.is_some_and(|guest| view.parts.departures.has(guest)) {
            tally.add(Verdict::Blocked, || planned.label());
            continue;
        }
        let health = Health::of(view, planned, report);
        let halt = health.trouble.as_ref().map(|trouble| trouble.halt);
        tally.add(Verdict::of(health.validity, halt, health.is_due), || planned.label());
        if let (Some(ending), Some(entry)) = (Ending::of(planned, report), entry) {
            report_once(planned, &ending, entry, &health, effects);
            let moments = [Some(ending.expires + LAST_SECOND), ending.expiring_from];
            next = next.into_iter().chain(moments.into_iter().flatten().filter(|at| *at > view.now)).min();
        }
    }
    let guests = view.world.reports().guests().filter(|(guest, _)| view.world.is_linked(*guest)).count();
    effects.summary(format!("{tally}; {guests} guests linked"));
    next
}

/// A certificate that somebody has to renew before it ends.
struct Ending<'r> {
    /// Its number; none where it is only watched.
    generation: Option<u64>,
    serial: &'r str,
    expires: Timestamp,
    /// From when it is expiring, where that depends on the time alone.
    expiring_from: Option<Timestamp>,
}

impl<'r> Ending<'r> {
    /// What a placement holds that is to be renewed, or shows while it is only watched.
    fn of(planned: &Planned<'_>, report: Option<&'r PlacementReport>) -> Option<Self> {
        match planned.content() {
            _ if planned.placement.purge => None,
            Content::Roots => None,
            Content::Leaf(_) => {
                let held = report?.held.as_ref()?;
                let (generation, serial) = (Some(held.generation), held.leaf.serial());
                Some(Self { generation, serial, expires: held.expires(), expiring_from: None })
            }
            Content::Watched => {
                let watched = report?.watched.as_ref()?;
                let (serial, expires) = (&watched.serial, watched.expires);
                Some(Self { generation: None, serial, expires, expiring_from: Some(watched.expiring_from()) })
            }
        }
    }
}

fn report_once(
    planned: &Planned<'_>,
    ending: &Ending<'_>,
    entry: &PlacementEntry,
    health: &Health,
    effects: &mut Effects,
) {
    let Some(validity) = health.validity.filter(|validity| *validity != Validity::Ok) else { return };
    let (generation, serial) = (ending.generation, ending.serial);
    if entry.is_reported(serial, validity) {
        return;
    }
    let Some(guest) = planned.guest else { return };
    let id = PlacementId { certificate: planned.certificate.name.clone(), guest };
    let expiry = PlacementEvent::Expiry {
        expired: validity == Validity::Expired,
        generation,
        serial: serial.to_owned(),
        not_after: ending.expires,
        trouble: health.trouble.clone(),
    };
    effects.limited_event(Some(guest), What::Placement(id.clone(), expiry));
    effects.change(Change::ExpiryReported(id, serial.to_owned(), validity));
    effects.save(guest);
}

#[cfg(test)]
mod tests;
