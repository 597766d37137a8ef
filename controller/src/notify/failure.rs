//! Why a target did not take a message.
//!
//! Invariant: no secret is in it: neither a URL's path, nor a token, nor what a header had.

use std::{path::Path, time::Duration};

use pinion_proto::{
    clock::Timestamp,
    length::Length,
    printable::line,
    stage::{Halt, Trouble},
};

/// The longest cause (characters): a target's words are foreign.
const MAX_CAUSE: usize = 300;

/// Why a target did not take a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SendError {
    halt: Halt,
    cause: String,
    remedy: String,
}

impl SendError {
    /// It may pass by itself: the target cannot be reached, is slow, or has too much to do.
    pub(super) fn passing(cause: impl AsRef<str>) -> Self {
        let remedy = "check that the target is up; Pinion tries again by itself".to_owned();
        Self { halt: Halt::Waiting, cause: line(cause.as_ref(), MAX_CAUSE), remedy }
    }

    /// A program ran and did not do its work.
    pub(super) fn program(cause: impl AsRef<str>) -> Self {
        let remedy =
            "find out why: it runs as this user in this unit's sandbox, and what it writes to standard error is \
                      shown here; Pinion tries again by itself"
                .to_owned();
        Self { remedy, ..Self::passing(cause) }
    }

    /// It needs a person: the target refuses, or something is wrong here.
    pub(super) fn lasting(cause: impl AsRef<str>, remedy: impl Into<String>) -> Self {
        Self { halt: Halt::Blocked, cause: line(cause.as_ref(), MAX_CAUSE), remedy: remedy.into() }
    }

    /// It took longer than it may.
    pub(super) fn too_slow(after: Duration) -> Self {
        Self::passing(format!("it did not take the message within {}", Length(after)))
    }

    /// A file that the target needs cannot be used.
    pub(super) fn file(path: &Path, why: impl std::fmt::Display) -> Self {
        let remedy = "correct it; Pinion reads the file again for each message".to_owned();
        Self::lasting(format!("cannot use {}: {why}", path.display()), remedy)
    }

    /// As the trouble that people read.
    #[must_use]
    pub(super) fn trouble(&self, target: &str, place: &str, retry_at: Option<Timestamp>) -> Trouble {
        Trouble {
            halt: self.halt,
            attempt: format!("send alarms to the target {target} ({place})"),
            cause: self.cause.clone(),
            remedy: self.remedy.clone(),
            retry_at,
        }
    }

    /// Whether it passes by itself.
    pub(super) fn halt(&self) -> Halt {
        self.halt
    }

    /// What happened.
    #[must_use]
    pub(super) fn cause(&self) -> &str {
        &self.cause
    }
}
