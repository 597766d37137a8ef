//! The clock watch: whether the clock was set back, and what is done about what was recorded before.
//!
//! Answers: which recorded moments that now lie ahead delay nothing, and which certificates begin too late?
//! Invariant: timestamps recorded before the clock was set back never delay work. Each certificate is renewed for it
//! once for each time that the clock is set back, and not while the clock is behind what it showed when the controller
//! started: then it may be wrong now, and what is held may be good.

use std::time::Duration;

use pinion_proto::{clock::Timestamp, id::PlacementId, report::Progress};
use tokio::time::Instant;

use super::effects::Effects;
use crate::{
    events::{HostEvent, What},
    world::{Change, World},
};

/// What a kept clock may go back by, and what agents accept of a certificate that begins in the future.
pub(super) const SKEW: Duration = Duration::from_secs(5 * 60);

/// The clock, as the loop has seen it.
#[derive(Debug)]
pub(super) struct ClockWatch {
    last: Timestamp,
    /// When the loop began, by the clock and by what nobody sets.
    began: (Timestamp, Instant),
}

impl ClockWatch {
    pub(super) fn start(now: Timestamp) -> Self {
        Self { last: now, began: (now, Instant::now()) }
    }

    /// Looks at the clock. True when it was set back: then what was signed by the clock before is not good either.
    pub(super) fn step(&mut self, world: &World, effects: &mut Effects) -> bool {
        let now = effects.now();
        if !self.has_moved_back(now) {
            return false;
        }
        let behind = self.is_behind(now);
        let renewed: Vec<PlacementId> = placements(world)
            .filter(|id| (!behind && may_begin_too_late(world, id, now)) || is_requested(world, id))
            .collect();
        for id in &renewed {
            // While it is still known what was sent: the guest may install that yet.
            effects.change(Change::Another(id.clone()));
            effects.save(id.guest);
        }
        effects.change(Change::ClockMovedBack);
        effects.event(What::Host(HostEvent::ClockMovedBack { to: now, renewed }));
        true
    }

    /// Whether the clock shows less than at the last look.
    fn has_moved_back(&mut self, now: Timestamp) -> bool {
        let before = std::mem::replace(&mut self.last, now);
        now + SKEW < before
    }

    /// Whether it shows less than it would had nobody set it since the loop began: it may be wrong now.
    fn is_behind(&self, now: Timestamp) -> bool {
        let (began, passed) = (self.began.0, self.began.1.elapsed());
        now + SKEW < began + passed
    }
}

/// Every placement of the manifest that is in a guest which is known.
fn placements(world: &World) -> impl Iterator<Item = PlacementId> {
    let known = world.reports().guests().flat_map(|(guest, entry)| {
        entry.placements().map(move |(certificate, _)| PlacementId { guest, certificate: certificate.clone() })
    });
    known.filter(|id| {
        world.manifest().certificate(&id.certificate).is_some()
            && world.report(id).is_some_and(|report| !report.retired)
    })
}

/// Whether a guest requests something: perhaps it was due by the clock before and is not now, and is brought to its
/// end.
fn is_requested(world: &World, id: &PlacementId) -> bool {
    let incoming = world.report(id).and_then(|report| report.incoming.as_ref());
    incoming.is_some_and(|incoming| matches!(incoming.progress, Progress::Requested(_)))
}

/// Whether nobody who goes by this clock accepts what a placement holds, or may soon hold: what a guest is installing
/// was signed by the clock before.
fn may_begin_too_late(world: &World, id: &PlacementId, now: Timestamp) -> bool {
    let Some(report) = world.report(id) else { return false };
    let installing = report.incoming.as_ref().is_some_and(|incoming| incoming.progress == Progress::Delivered);
    installing || report.held.as_ref().is_some_and(|held| held.leaf.not_before() > now + SKEW)
}

#[cfg(test)]
mod tests;
