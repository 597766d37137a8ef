//! How far a placement has come, and what holds it up.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{clock::Timestamp, printable::Shown};

/// How far a placement has come. Stages are ordered: a later one includes the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Nothing is there yet.
    Pending,
    /// The certificate is signed and verified by the agent, and not in place.
    Issued,
    /// Its files are in place.
    Installed,
    /// The service was notified, or needs no notification.
    Reloaded,
    /// A TLS handshake with the service shows the new leaf.
    Served,
}

impl Stage {
    /// Every stage, first to last.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Issued, Self::Installed, Self::Reloaded, Self::Served];

    /// The stage's word, the same in the CLI, in logs and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Issued => "issued",
            Self::Installed => "installed",
            Self::Reloaded => "reloaded",
            Self::Served => "served",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(text: &str) -> Result<Self, UnknownStage> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or_else(|| UnknownStage(crate::id::shown(text)))
    }
}

/// A word that names no stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stage: use pending, issued, installed, reloaded or served")]
pub struct UnknownStage(String);

/// How good the certificate is that a placement holds. It stands beside the stage, and is about time alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Validity {
    /// It is valid, and nothing keeps it from being renewed in time.
    Ok,
    /// Its renewal is due, and something holds that up.
    Expiring,
    /// It is past its end.
    Expired,
}

impl Validity {
    /// Of a certificate whose last second is `not_after`, and whose renewal is late or not.
    #[must_use]
    pub fn at(now: Timestamp, not_after: Timestamp, is_late: bool) -> Self {
        if not_after < now {
            Self::Expired
        } else if is_late {
            Self::Expiring
        } else {
            Self::Ok
        }
    }

    /// Its word, the same in the CLI, in JSON and in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a placement is not further on. Everything a person at 3 a.m. needs, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Trouble {
    /// Whether it continues by itself.
    pub halt: Halt,
    /// What was tried, on what: `reload nginx.service`.
    pub attempt: String,
    /// The whole chain of causes.
    pub cause: String,
    /// What a person can do; empty when there is nothing to do but wait.
    #[serde(default)]
    pub remedy: String,
    /// When it is tried again; none when an event is awaited instead.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.halt, Shown(&self.attempt), Shown(&self.cause))?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", Shown(&self.remedy))?;
        }
        if let Some(at) = self.retry_at {
            write!(f, " (next try {at})")?;
        }
        Ok(())
    }
}

/// Whether a placement that is held up needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Halt {
    /// It continues by itself when the cause goes.
    Waiting,
    /// It needs a person; it is still retried, slowly.
    Blocked,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
        })
    }
}
