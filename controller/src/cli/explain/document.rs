//! A placement's story, as it is printed.

use pinion_proto::{clock::Timestamp, relative};
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::protocol::{GuestStatus, PlacementStatus};

/// The story of everything that a name means.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Explained {
    /// The guest, if the name is one.
    pub(super) guest: Option<GuestStatus>,
    /// How many placements the name means; at most the first 20 are explained.
    pub(super) total: usize,
    /// What concerns everything: about this host, and about the manifest.
    pub(super) notes: Vec<String>,
    /// Each placement.
    pub(super) placements: Vec<Explanation>,
}

/// The story of one placement, in sentences.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::cli) struct Explanation {
    /// `docker@1001`.
    pub(super) placement: String,
    /// How it is.
    pub(super) state: State,
    /// Since when, as far as the recorded events tell.
    pub(super) since: Option<Timestamp>,
    /// What the manifest asks for.
    pub(super) wanted: Vec<String>,
    /// What is there.
    pub(super) found: Vec<String>,
    /// Why it is so.
    pub(super) why: Vec<String>,
    /// What comes next.
    pub(super) next: Vec<String>,
    /// What you can do.
    pub(super) options: Vec<String>,
    /// The facts behind the sentences.
    pub(super) status: PlacementStatus,
}

/// How a placement is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum State {
    /// All is as it should be.
    Good,
    /// Something is being done for it.
    UnderWay,
    /// All is as it should be, and nothing disruptive is done to it for now.
    Frozen,
    /// Something is in the way, and goes by itself.
    Waiting,
    /// Something is in the way, and needs a person.
    Blocked,
    /// Its renewal is due, and something is in the way.
    Expiring,
    /// What is installed has expired.
    Expired,
    /// The manifest does not name it any more.
    Retired,
}

impl State {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Good => "is as it should be",
            Self::UnderWay => "is under way",
            Self::Frozen => "is as it should be, and frozen",
            Self::Waiting => "waits",
            Self::Blocked => "is blocked and needs you",
            Self::Expiring => "is expiring",
            Self::Expired => "has expired",
            Self::Retired => "is retired",
        }
    }
}

/// A moment, exact and at a glance.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> String {
    format!("{at} ({})", relative::from_now(at, now))
}
