//! The parts of the loop, each with its own state.

use super::{
    clock_watch::ClockWatch, delivery::Deliveries, departures::Departures, enrolment::Enrolment, evictions::Evictions,
    examining::Examining, guest_names::GuestNames, purging::Purging, revocation::Revocations, roots::RootQueries,
    signing::Signing, timing::Timings,
};

/// The parts of the loop, each with its own state.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) clock_watch: ClockWatch,
    pub(super) departures: Departures,
    pub(super) evictions: Evictions,
    pub(super) enrolment: Enrolment,
    pub(super) examining: Examining,
    pub(super) guest_names: GuestNames,
    pub(super) signing: Signing,
    pub(super) timings: Timings,
    pub(super) deliveries: Deliveries,
    pub(super) revocations: Revocations,
    pub(super) roots: RootQueries,
    pub(super) purging: Purging,
}
