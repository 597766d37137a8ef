//! What the loop's parts learn or decide, as changes of what is known.
//!
//! Invariant: a part that reads the world cannot change it: it hands over one of these, which is applied between two
//! parts.

use std::time::Duration;

use pinion_proto::{
    clock::Timestamp,
    id::{CertificateName, Guest, PlacementId},
    message::PurgeManner,
    spec::PlainName,
    stage::{Trouble, Validity},
};

use super::{SharedKey, World};
use crate::{freeze::Freezes, inventory::KnownNames, issuer::IssuerRoots, planner::Turn};

/// One change of what is known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// A guest's link is gone.
    LinkDown(Guest),
    /// A guest holds an identity newer than what is on record.
    MustRejoin(Guest),
    /// Nothing is known of a guest any more.
    Forgotten(Guest),
    /// This keeps the hypervisor from bringing an agent into a guest, or nothing does.
    Enrolment(Guest, Option<Trouble>),
    /// A certificate could not be signed.
    AttemptFailed(PlacementId, Trouble),
    /// A certificate was signed.
    AttemptSucceeded(PlacementId),
    /// What failed for a placement is tried again at once.
    AttemptForgotten(PlacementId),
    /// What failed anywhere is tried again at once.
    AttemptsForgotten,
    /// A placement gets another certificate as soon as may be.
    Renewal(PlacementId),
    /// A placement gets another certificate, whatever has been sent to it.
    Another(PlacementId),
    /// The clock shows less than before.
    ClockMovedBack,
    /// A placement's turn to be disturbed begins, or is over.
    Turn(PlacementId, Turn),
    /// It was reported that the certificate of this serial number is expiring, or expired.
    ExpiryReported(PlacementId, String, Validity),
    /// A person wants a placement's files removed, or what it has left behind.
    PurgeAsked(PlacementId, PurgeManner),
    /// Nobody wants that any more.
    PurgeOver(PlacementId),
    /// An issuer's certificates end at these roots.
    Roots(PlainName, IssuerRoots),
    /// The key that certificates of this name share from now on; none when it was given up.
    SharedKey(CertificateName, Option<SharedKey>),
    /// The longest that an issuer allows, where certificates were shortened to it.
    Shortened(PlainName, Option<Duration>),
    /// All that is frozen.
    Freezes(Freezes),
    /// Which guests the manifest's names mean.
    KnownNames(KnownNames),
    /// Why the state that nodes share cannot be written, if so.
    SharedState(Option<String>),
}

impl World {
    /// Applies a change.
    pub(crate) fn apply(&mut self, change: Change, now: Timestamp) {
        let reports = &mut self.reports;
        match change {
            Change::LinkDown(guest) => reports.link_down(guest, now),
            Change::MustRejoin(guest) => drop(self.must_rejoin.insert(guest)),
            Change::Forgotten(guest) => {
                reports.forget(guest);
                self.facts.remove(&guest);
                self.must_rejoin.remove(&guest);
            }
            Change::Enrolment(guest, trouble) => reports.set_enrolment(guest, trouble),
            Change::AttemptFailed(id, trouble) => reports.attempt_failed(&id, trouble, &self.backoff, now),
            Change::AttemptSucceeded(id) => reports.attempt_succeeded(&id),
            Change::AttemptForgotten(id) => reports.forget_attempt(&id),
            Change::AttemptsForgotten => reports.forget_attempts(),
            Change::Renewal(id) => drop(reports.request_renewal(&id)),
            Change::Another(id) => reports.request_another(&id),
            Change::ClockMovedBack => reports.clock_moved_back(now),
            Change::Turn(id, turn) => reports.note_turn(&id, turn, now),
            Change::ExpiryReported(id, serial, validity) => reports.note_expiry(&id, serial, validity),
            Change::PurgeAsked(id, manner) => reports.request_purge(&id, manner),
            Change::PurgeOver(id) => reports.forget_purge(&id),
            Change::Roots(issuer, roots) => reports.set_roots(issuer, roots),
            Change::SharedKey(certificate, Some(key)) => reports.set_shared_key(certificate, key),
            Change::SharedKey(certificate, None) => reports.forget_shared_key(&certificate),
            Change::Shortened(issuer, Some(to)) => drop(self.shortened.insert(issuer, to)),
            Change::Shortened(issuer, None) => drop(self.shortened.remove(&issuer)),
            Change::Freezes(freezes) => reports.set_freezes(freezes),
            Change::KnownNames(names) => self.set_known_names(names),
            Change::SharedState(problem) => self.shared_state_problem = problem,
        }
    }
}
