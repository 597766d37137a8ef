//! A clock that was set back: what was put down by the clock as it was before.
//!
//! Answers: which moments that lie ahead now are no moments to wait for, and which certificates begin too late by it?
//! Invariant: each certificate is renewed for it once for each time that the clock is set back, and not while the clock is
//! behind what it showed when the controller started: then it may be wrong now, and what is held may be good.

use std::time::Duration;

use pinion_proto::{clock::Timestamp, id::PlacementId, report::Progress};
use tokio::time::Instant;

use super::Reconciler;
use crate::events::{HostEvent, What};

/// What a kept clock may go back by, and what agents take of a certificate that begins in the future.
pub(super) const SKEW: Duration = Duration::from_secs(5 * 60);

/// The clock's hands, as the loop has seen them.
#[derive(Debug)]
pub(super) struct Hands {
    last: Timestamp,
    /// When the loop began, by the clock and by what nobody sets.
    began: (Timestamp, Instant),
}

impl Hands {
    pub(super) fn at(now: Timestamp) -> Self {
        Self { last: now, began: (now, Instant::now()) }
    }

    /// Whether the clock shows less than at the last look.
    fn were_set_back(&mut self, now: Timestamp) -> bool {
        let before = std::mem::replace(&mut self.last, now);
        now + SKEW < before
    }

    /// Whether it shows less than it would had nobody set it since the loop began: it may be wrong now.
    fn are_behind(&self, now: Timestamp) -> bool {
        let (began, passed) = (self.began.0, self.began.1.elapsed());
        now + SKEW < began + passed
    }
}

impl Reconciler {
    /// Looks at the clock. When it was set back, nothing waits for a moment that was put down before.
    pub(super) fn look_at_clock(&mut self, now: Timestamp) {
        if !self.hands.were_set_back(now) {
            return;
        }
        // What was signed by the clock before is refused by whoever goes by this one.
        self.signing.retain(|_, ready| ready.delivery.chain.leaf().not_before() <= now + SKEW);
        let behind = self.hands.are_behind(now);
        let renewed: Vec<PlacementId> = self
            .placements()
            .filter(|id| (!behind && self.may_begin_too_late(id, now)) || self.is_asked_for(id))
            .collect();
        for id in &renewed {
            // While it is still known what was sent: the guest may install that yet.
            self.reports.request_another(id);
            self.touch(id.guest);
        }
        self.reports.clock_was_set_back(now);
        self.event(What::Host(HostEvent::ClockSetBack { to: now, renewed }), now);
    }

    /// Every placement of the manifest that is in a guest which is known.
    fn placements(&self) -> impl Iterator<Item = PlacementId> {
        let known = self.reports.guests().flat_map(|(guest, entry)| {
            entry.placements().map(move |(certificate, _)| PlacementId { guest, certificate: certificate.clone() })
        });
        known.filter(|id| {
            let asked_for = self.manifest.manifest.certificate(&id.certificate);
            let report = self.reports.placement(id).and_then(|entry| entry.report());
            asked_for.is_some() && report.is_some_and(|report| !report.retired)
        })
    }

    /// Whether a guest asks for something: perhaps it was due by the clock before and is not now, and is brought to its end.
    fn is_asked_for(&self, id: &PlacementId) -> bool {
        let report = self.reports.placement(id).and_then(|entry| entry.report());
        let incoming = report.and_then(|report| report.incoming.as_ref());
        incoming.is_some_and(|incoming| matches!(incoming.progress, Progress::Requested(_)))
    }

    /// Whether nobody who goes by this clock takes what a placement holds, or may soon hold: what a guest is installing was
    /// signed by the clock before.
    fn may_begin_too_late(&self, id: &PlacementId, now: Timestamp) -> bool {
        let Some(report) = self.reports.placement(id).and_then(|entry| entry.report()) else { return false };
        let installing = report.incoming.as_ref().is_some_and(|incoming| incoming.progress == Progress::Delivered);
        installing || report.held.as_ref().is_some_and(|held| held.leaf.not_before() > now + SKEW)
    }
}
