//! Questions and answers of `pinion purge`.

use pinion_proto::message::PurgeManner;
use serde::{Deserialize, Serialize};

/// Files that are to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskPurge {
    /// Certificates or placements: retired ones, or such that have left files behind.
    pub names: Vec<String>,
    /// How.
    pub manner: PurgeManner,
}

/// Placements of which guests remove files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purging {
    /// Those whose guests are linked, and answer soon: `docker@1001`.
    pub at_once: Vec<String>,
    /// Those whose guests do it when they link.
    pub later: Vec<String>,
}
