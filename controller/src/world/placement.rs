//! What is known of one placement: what its guest says, what was tried, what was asked for.

use serde::{Deserialize, Serialize};

use crate::{manifest::SpecHash, planner::Turn};
use pinion_proto::{
    bundle::{CertificateError, CertificateRequest},
    clock::Timestamp,
    message::PurgeManner,
    report::{Incoming, PlacementReport, Progress},
    stage::{Trouble, Validity},
};

/// Generations up to here are learned from what guests say: one that says the highest number there is must not make
/// the placement unusable for ever.
const MAX_LEARNED: u64 = u64::MAX / 2;

/// What is known of one placement.
#[derive(Debug, Clone, Default)]
pub struct PlacementEntry {
    pub(super) report: Option<PlacementReport>,
    pub(super) request: Option<Result<CertificateRequest, CertificateError>>,
    pub(super) incoming_since: Option<Timestamp>,
    pub(super) undelivered: u32,
    pub(super) attempt: Option<Attempt>,
    /// How often failed attempts were forgotten.
    pub(super) attempts_forgotten: u64,
    pub(super) renew_above: Option<u64>,
    pub(super) hurried: bool,
    /// Since when it is its turn to be disturbed.
    pub(super) turn: Option<Timestamp>,
    /// Somebody asked for the removal of its files, or of what it has left behind.
    pub(super) purge: Option<PurgeManner>,
    pub(super) delivery: Option<DeliveryNote>,
    /// The highest generation that was sent since the controller started, whatever has become of it.
    pub(super) sent: u64,
    pub(super) holds: Option<SpecHash>,
    pub(super) highest: u64,
    pub(super) reached: u64,
    /// The newest look that a person asked for.
    pub(super) look: u64,
    /// What was reported of its expiry last.
    pub(super) expiry: Option<ReportedExpiry>,
}

/// That a certificate was reported to be expiring, or expired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedExpiry {
    /// Its serial number.
    pub serial: String,
    /// The worse of what was reported.
    pub validity: Validity,
}

/// The last issuance that failed, when none has succeeded since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// How many failed in a row.
    pub failures: u32,
    /// When the next may be made.
    pub not_before: Timestamp,
    /// Why the last one failed.
    pub trouble: Trouble,
}

/// A certificate that was sent to a guest which has not said yet what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryNote {
    /// Which generation.
    pub generation: u64,
    /// When it was sent.
    pub sent: Timestamp,
    /// What the guest had to say against it, if it did.
    pub refused: Option<Trouble>,
}

impl PlacementEntry {
    /// What the guest last said.
    #[must_use]
    pub fn report(&self) -> Option<&PlacementReport> {
        self.report.as_ref()
    }

    /// The spec_hash of what is held, to compare with a placement's in one step.
    #[must_use]
    pub fn holds(&self) -> Option<SpecHash> {
        self.holds
    }

    /// The report's request, parsed; none when it has none, or an empty one because the key is shared.
    #[must_use]
    pub fn request(&self) -> Option<&Result<CertificateRequest, CertificateError>> {
        self.request.as_ref()
    }

    /// Since when the report's incoming generation has been where it is.
    #[must_use]
    pub fn incoming_since(&self) -> Option<Timestamp> {
        self.incoming_since
    }

    /// How many incoming generations in a row were given up before one was delivered.
    #[must_use]
    pub fn undelivered(&self) -> u32 {
        self.undelivered
    }

    /// The last issuance that failed.
    #[must_use]
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }

    /// How often failed attempts were forgotten. A try that began before the last time, and fails, counts for nothing.
    #[must_use]
    pub fn attempts_forgotten(&self) -> u64 {
        self.attempts_forgotten
    }

    /// The generation that must be exceeded, when a renewal was asked for.
    #[must_use]
    pub fn renew_above(&self) -> Option<u64> {
        self.renew_above
    }

    /// Whether a renewal was asked for that has not come to its goal: it waits for no window.
    #[must_use]
    pub fn is_hurried(&self) -> bool {
        self.hurried
    }

    /// Since when it is its turn, among those that are disturbed one after the other; none when it has none.
    #[must_use]
    pub fn turn(&self) -> Option<Timestamp> {
        self.turn
    }

    /// The highest generation that the guest has ever reported: the next order is above it, whatever the guest knows
    /// by now.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest.max(self.report.as_ref().map_or(0, |report| report.last_generation))
    }

    /// The highest generation that has come to its goal. A guest gives that up only by being taken back to an earlier
    /// state.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.reached
    }

    /// Whether it was reported already that the certificate of this serial number is in so bad a state.
    #[must_use]
    pub fn is_reported(&self, serial: &str, validity: Validity) -> bool {
        self.expiry.as_ref().is_some_and(|reported| reported.serial == serial && reported.validity >= validity)
    }

    /// A certificate on its way.
    #[must_use]
    pub fn delivery(&self) -> Option<&DeliveryNote> {
        self.delivery.as_ref()
    }

    /// Its turn begins, or is over.
    pub(super) fn take_turn(&mut self, turn: Turn, now: Timestamp) {
        match turn {
            Turn::None => {}
            Turn::Begins => self.turn = Some(now),
            Turn::Ends => self.turn = None,
        }
    }

    /// Another try is worth it, whatever failed until now.
    pub(super) fn forget_attempt(&mut self) {
        self.attempt = None;
        self.attempts_forgotten += 1;
    }

    /// Takes a report, which replaces the one before it.
    pub(super) fn take(&mut self, report: PlacementReport, now: Timestamp) {
        let incoming = report.incoming.as_ref();
        let before = self.report.as_ref().and_then(|report| report.incoming.as_ref());
        if incoming.map(place) != before.map(place) {
            self.incoming_since = incoming.map(|_| now);
        }
        let held = report.held.as_ref().map(|held| held.generation);
        match (before, incoming) {
            // It was given up for another before it was delivered.
            (Some(old), Some(new)) if new.generation != old.generation && old.progress != Progress::Delivered => {
                self.undelivered = self.undelivered.saturating_add(1);
            }
            (_, Some(new)) if new.progress == Progress::Delivered => self.undelivered = 0,
            _ => {}
        }
        let unchanged = before.is_some() && before == incoming;
        if !unchanged {
            self.request = match incoming.map(|incoming| &incoming.progress) {
                Some(Progress::Requested(der)) if !der.is_empty() => Some(CertificateRequest::parse(der)),
                _ => None,
            };
        }
        if let Some(note) = &mut self.delivery {
            match incoming {
                Some(incoming)
                    if incoming.generation == note.generation && incoming.progress != Progress::Delivered =>
                {
                    // Perhaps written before the delivery arrived; with a trouble, the answer to it.
                    note.refused.clone_from(&report.trouble);
                }
                _ => self.delivery = None,
            }
        }
        if let Some(above) = self.renew_above
            && held.is_some_and(|generation| generation > above)
        {
            self.renew_above = None;
        }
        if self.renew_above.is_none() && report.stage >= report.goal {
            self.hurried = false;
        }
        let held_before = self.report.as_ref().and_then(|report| report.held.as_ref()).map(|held| held.generation);
        if held > held_before {
            self.undelivered = 0;
        }
        self.highest = self.highest.max(report.last_generation.min(MAX_LEARNED));
        if let Some(generation) = held.filter(|_| report.stage >= report.goal) {
            self.reached = self.reached.max(generation.min(MAX_LEARNED));
        }
        self.holds = report.held.as_ref().and_then(|held| {
            Some(SpecHash::of(held.common_name.as_ref()?, held.leaf.names(), held.leaf.key_algorithm()?, &held.issuer))
        });
        self.report = Some(report);
    }

    /// Whether nothing is left but which generations there were.
    pub(super) fn is_memory(&self) -> bool {
        self.report.is_none() && self.attempt.is_none() && self.renew_above.is_none() && self.delivery.is_none()
    }

    /// Nothing but which generations there were.
    pub(super) fn memory(&self) -> Self {
        Self { highest: self.highest, ..Self::default() }
    }
}

/// What makes an incoming generation another one, or further on.
fn place(incoming: &Incoming) -> (u64, bool) {
    (incoming.generation, incoming.progress == Progress::Delivered)
}
