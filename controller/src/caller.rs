//! The local user who asked for something, as events, freezes and answers name that user.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A local user who asks something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Caller {
    /// The user's number.
    pub uid: u32,
    /// The user's name, where `/etc/passwd` has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) if self.uid == 0 => f.write_str(name),
            Some(name) => write!(f, "{name} (uid {})", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}
