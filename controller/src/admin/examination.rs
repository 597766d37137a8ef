//! What guests' agents are asked to look at, and what each answered.

use pinion_proto::{
    examination::{Examined, Subject},
    id::Guest,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What guests are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskExamine {
    /// Which guests: VMIDs, names, or `host`; none means all that are linked.
    pub guests: Vec<String>,
    /// What a person wants to know.
    pub subject: Subject,
}

/// What became of the question to one guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExaminedGuest {
    /// Its VMID, or `host`.
    pub guest: Guest,
    /// Its name; null if it has none.
    pub name: Option<String>,
    /// What its agent saw; null if it did not answer.
    pub examined: Option<Examined>,
    /// Why it did not answer; null if it did.
    pub unanswered: Option<String>,
    /// By how many seconds its clock was ahead of this host's when it answered; null if it did not answer.
    #[serde(default)]
    pub clock_difference: Option<i64>,
}
