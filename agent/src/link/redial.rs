//! How long an agent waits before it dials again.
//!
//! Answers: when thousands of guests lose their controller in one moment, who dials when?
//! Invariant: a controller that is there again has all of its guests within 15 s, however long it was away; and guests differ,
//! each by a function of its name, so that they do not come in one moment.

use std::time::Duration;

use pinion_proto::{backoff::Backoff, clock::Timestamp, id::Guest, report::PlacementReport, spread};

/// The first pause; it doubles with each failure in a row.
const FIRST: Duration = Duration::from_secs(1);

/// The whole while the controller does not answer. A dial is one packet.
const AWAY: Duration = Duration::from_secs(8);

/// The whole while it answers and refuses: each try costs it a handshake, and a person must do something first.
const REFUSED: Duration = Duration::from_secs(60);

/// Why there is no link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The controller does not answer, or the link broke.
    Away,
    /// The controller answered, and refused.
    Refused,
}

/// The pause after the n-th failure in a row; the same guest always waits the same. Those with something due come first.
#[must_use]
pub fn pause(guest: Guest, failures: u32, lost: Lost, is_urgent: bool) -> Duration {
    let max = match lost {
        Lost::Away => AWAY,
        Lost::Refused => REFUSED,
    };
    let whole = Backoff { initial: FIRST, max }.after(failures) / if is_urgent { 2 } else { 1 };
    whole - spread::duration(format!("{guest} {failures}").into_bytes(), whole / 2)
}

/// Whether a certificate is on its way, or has used up nine tenths of its life: then nobody comes before this guest.
#[must_use]
pub fn is_urgent<'r>(reports: impl IntoIterator<Item = &'r PlacementReport>, now: Timestamp) -> bool {
    reports.into_iter().any(|report| {
        let ends_soon = report.held.as_ref().is_some_and(|held| {
            let end = held.expires();
            now + end.since(held.leaf.not_before()) / 10 >= end
        });
        !report.retired && (report.incoming.is_some() || ends_soon)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(n: u32) -> Guest {
        Guest::Vmid(n.try_into().expect("a VMID"))
    }

    #[test]
    fn pauses_grow_and_differ_between_guests_and_end_within_seconds_while_nobody_answers() {
        for (lost, max) in [(Lost::Away, AWAY), (Lost::Refused, REFUSED)] {
            for failures in 1..40 {
                let pause = pause(guest(101), failures, lost, false);
                assert!(pause >= FIRST / 2 && pause <= max, "{failures}: {pause:?}");
            }
            assert!(pause(guest(101), 20, lost, false) >= max / 2);
            assert_eq!(pause(guest(101), 3, lost, false), pause(guest(101), 3, lost, false));
            assert_ne!(pause(guest(101), 9, lost, false), pause(guest(102), 9, lost, false));
        }
    }

    #[test]
    fn guests_with_something_due_come_before_the_others() {
        for failures in [1, 4, 20] {
            let of = |is_urgent| (100..1100).map(move |n| pause(guest(n), failures, Lost::Away, is_urgent));
            assert!(of(true).max() <= of(false).min(), "{failures}");
        }
    }
}
