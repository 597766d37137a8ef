//! What is known of one guest's identity.
//!
//! Invariant: a serial number that was good once is remembered as stale, not forgotten: whoever shows it is known for what it
//! is.

use pinion_proto::{bundle::Fingerprint, clock::Timestamp, report::GuestFacts};
use serde::{Deserialize, Serialize};

/// How many stale serial numbers are remembered: an identity lives 30 days and is renewed once or twice in them.
const MAX_STALE: usize = 16;

/// What is known of a guest's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRecord {
    /// How many identities the guest has been given, ever.
    pub generation: u64,
    /// The serial number of the identity that it showed last, or joined with; none when none of its is trusted.
    #[serde(default)]
    pub current: Option<String>,
    /// That of one given since and not seen yet.
    #[serde(default)]
    pub next: Option<String>,
    /// Those that were renewed away or given up since it joined, newest first.
    #[serde(default)]
    pub stale: Vec<String>,
    /// What it said of itself when it joined.
    pub facts: GuestFacts,
    /// Proxmox's `vmgenid` of the machine that these identities were given to, where it has one.
    #[serde(default)]
    pub vmgenid: Option<String>,
    /// When it joined last.
    pub joined_at: Timestamp,
    /// When it was given the newest identity.
    pub issued_at: Timestamp,
    /// Why all its identities are refused, if they are.
    #[serde(default)]
    pub locked: Option<String>,
    /// The root beside the one it joined under that its agent has said it trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Fingerprint>,
}

impl GuestRecord {
    /// Gives up what was given so far, without forgetting it: who shows it is known for what it is.
    pub(super) fn distrust(&mut self) {
        for serial in [self.current.take(), self.next.take()].into_iter().flatten() {
            self.remember_stale(serial);
        }
    }

    /// Whether an identity was given to the guest since it joined, good or not.
    pub(super) fn has(&self, serial: &str) -> bool {
        self.current.iter().chain(&self.next).chain(&self.stale).any(|own| own == serial)
    }

    pub(super) fn remember_stale(&mut self, serial: String) {
        self.stale.insert(0, serial);
        self.stale.truncate(MAX_STALE);
    }
}
