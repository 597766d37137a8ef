//! How each target is, for `pinion status`.

use std::{collections::BTreeMap, sync::Mutex};

use pinion_proto::{clock::Timestamp, lock::lock, spec::PlainName, stage::Trouble};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a target of alarms is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetStatus {
    /// Its name in controller.toml.
    pub target: String,
    /// `webhook`, `mail` or `hook`.
    pub kind: String,
    /// Where messages go, without what may be secret in an address.
    pub place: String,
    /// How many alarms it has been told of that are not over.
    pub told: usize,
    /// When it took the last message; null if it has taken none yet.
    pub last_sent: Option<Timestamp>,
    /// Why it did not take the last message; null if it did.
    pub trouble: Option<Trouble>,
}

/// How all targets are.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<BTreeMap<PlainName, TargetStatus>>);

impl Board {
    /// A target is so.
    pub(super) fn set(&self, name: &PlainName, status: TargetStatus) {
        lock(&self.0).insert(name.clone(), status);
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> Vec<TargetStatus> {
        lock(&self.0).values().cloned().collect()
    }
}
