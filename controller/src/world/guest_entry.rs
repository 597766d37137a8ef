//! What is known of one guest: whether it is linked, how old its state is, its placements.

use std::collections::HashMap;

use pinion_proto::{clock::Timestamp, id::CertificateName, stage::Trouble, wire::MAX_PLACEMENTS};
use serde::{Deserialize, Serialize};

use super::{age::Age, placement::PlacementEntry};

/// Placements that a guest does not hold any more, and of which the generations are remembered, are no more than it may
/// hold at once.
pub(super) const MAX_REMEMBERED: usize = MAX_PLACEMENTS;

/// What is known of one guest.
#[derive(Debug, Clone, Default)]
pub struct GuestEntry {
    pub(super) link: Link,
    /// As its last hello said; none before the first.
    pub(super) age: Option<Age>,
    pub(super) enrolment: Option<Trouble>,
    /// Boxed: a map of one has room for four.
    pub(super) placements: HashMap<CertificateName, Box<PlacementEntry>>,
    /// How many of the placements have a report.
    pub(super) reported: usize,
}

/// Whether a guest's agent can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "link")]
pub enum Link {
    /// It has never been.
    #[default]
    NeverSeen,
    /// It is linked.
    Linked {
        /// Since when.
        since: Timestamp,
    },
    /// It was linked once.
    Away {
        /// Since when it is not.
        since: Timestamp,
    },
}

impl GuestEntry {
    /// Whether its agent can be reached.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link
    }

    /// What keeps the hypervisor from bringing an agent into it.
    #[must_use]
    pub fn enrolment(&self) -> Option<&Trouble> {
        self.enrolment.as_ref()
    }

    /// What is known of one of its placements.
    #[must_use]
    pub fn placement(&self, certificate: &CertificateName) -> Option<&PlacementEntry> {
        self.placements.get(certificate).map(|placement| &**placement)
    }

    /// How many placements it has reported.
    #[must_use]
    pub fn reported(&self) -> usize {
        self.reported
    }

    /// Forgets the generations of placements that are not held, when there are more of them than a guest may hold.
    pub(super) fn limit_memory(&mut self) {
        self.placements.retain(|_, placement| !placement.is_memory() || placement.highest > 0);
        if self.placements.len() > MAX_REMEMBERED + self.reported {
            self.placements.retain(|_, placement| !placement.is_memory());
        }
    }

    pub(super) fn count_reported(&mut self) {
        self.reported = self.placements.values().filter(|placement| placement.report.is_some()).count();
    }

    /// Everything known of its placements, in no order.
    pub fn placements(&self) -> impl ExactSizeIterator<Item = (&CertificateName, &PlacementEntry)> {
        self.placements.iter().map(|(certificate, placement)| (certificate, &**placement))
    }
}
