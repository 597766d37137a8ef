//! What is worth keeping of a guest over a restart of the controller.

use std::collections::BTreeMap;

use pinion_proto::{
    clock::Timestamp,
    id::{CertificateName, Guest},
    message::PurgeManner,
    report::PlacementReport,
};
use serde::{Deserialize, Serialize};

use super::{
    age::Age,
    guest_entry::{GuestEntry, Link},
    placement::{Attempt, PlacementEntry, ReportedExpiry},
};

/// What is worth keeping of a guest over a restart of the controller; a document of its own for each guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRecord {
    /// Which guest.
    pub guest: Guest,
    /// Since when it is away, as seen from a controller that has just started; none if it was never seen.
    pub last_seen: Option<Timestamp>,
    /// As its last hello said.
    #[serde(default)]
    pub age: Option<Age>,
    /// What it last said, and what was tried.
    pub placements: Vec<PlacementRecord>,
}

/// What is worth keeping of a placement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementRecord {
    /// Which certificate.
    pub certificate: CertificateName,
    /// What the guest last said.
    #[serde(default)]
    pub report: Option<PlacementReport>,
    /// Since when the report's incoming generation is known.
    #[serde(default)]
    pub incoming_since: Option<Timestamp>,
    /// What was tried.
    #[serde(default)]
    pub attempt: Option<Attempt>,
    /// The generation that must be exceeded, when a renewal was asked for.
    #[serde(default)]
    pub renew_above: Option<u64>,
    /// Whether a renewal that was asked for has not come to its goal.
    #[serde(default)]
    pub hurried: bool,
    /// Whether somebody asked for the removal of its files, which has not been done yet.
    #[serde(default)]
    pub purge: bool,
    /// How.
    #[serde(default, skip_serializing_if = "PurgeManner::is_usual")]
    pub purge_manner: PurgeManner,
    /// The highest generation that the guest has ever reported.
    #[serde(default)]
    pub highest: u64,
    /// The highest generation that has come to its goal.
    #[serde(default)]
    pub reached: u64,
    /// What was reported of its expiry last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<ReportedExpiry>,
}

impl ReportRecord {
    /// What is worth keeping of a guest; `now` stands for its last sign of life while it is linked.
    pub(super) fn of(guest: Guest, entry: &GuestEntry, now: Timestamp) -> Self {
        let last_seen = match entry.link {
            Link::NeverSeen => None,
            Link::Linked { .. } => Some(now),
            Link::Away { since } => Some(since),
        };
        // Sorted, so that the same knowledge is the same document.
        let placements: BTreeMap<_, _> = entry.placements().collect();
        let placements = placements.into_iter().map(|(certificate, placement)| PlacementRecord {
            certificate: certificate.clone(),
            report: placement.report.clone(),
            incoming_since: placement.incoming_since,
            attempt: placement.attempt.clone(),
            renew_above: placement.renew_above,
            hurried: placement.hurried,
            purge: placement.purge.is_some(),
            purge_manner: placement.purge.unwrap_or_default(),
            highest: placement.highest,
            reached: placement.reached,
            expiry: placement.expiry.clone(),
        });
        Self { guest, last_seen, age: entry.age, placements: placements.collect() }
    }

    /// What was kept, as it is known before the guest has linked again.
    pub(super) fn into_entry(self) -> GuestEntry {
        let link = self.last_seen.map_or(Link::NeverSeen, |since| Link::Away { since });
        let placements = self.placements.into_iter().map(|kept| {
            let mut entry = Box::new(PlacementEntry {
                attempt: kept.attempt,
                renew_above: kept.renew_above,
                hurried: kept.hurried,
                purge: kept.purge.then_some(kept.purge_manner),
                expiry: kept.expiry,
                ..PlacementEntry::default()
            });
            if let Some(report) = kept.report {
                // Any moment does: the one that was kept replaces it.
                entry.take(report, Timestamp::from_unix(0));
            }
            entry.incoming_since = kept.incoming_since;
            entry.highest = entry.highest.max(kept.highest);
            entry.reached = entry.reached.max(kept.reached);
            (kept.certificate, entry)
        });
        let placements = placements.collect();
        let mut entry = GuestEntry { link, age: self.age, enrolment: None, placements, reported: 0 };
        entry.count_reported();
        entry
    }
}
