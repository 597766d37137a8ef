//! Why an issuer did not sign, sorted by who must act.
//!
//! Answers: does it go on by itself, and if not, what should a person do?
//! Invariant: one exhaustive match turns an error into the trouble that operators read.

use std::time::Duration;

use pinion_proto::{
    clock::Timestamp,
    id::PlacementId,
    spread,
    stage::{Halt, Trouble},
};
use thiserror::Error as ThisError;

/// Why an issuer did not sign. Each names the issuer or its address in its message.
#[derive(Debug, Clone, ThisError)]
pub enum IssuerError {
    /// It cannot be reached, is overloaded or answers nonsense: it may come back by itself.
    #[error("{message}")]
    Unavailable {
        /// What was tried, on what, and every cause.
        message: String,
    },
    /// It has too much to do, and said how long to leave it alone.
    #[error("{message}")]
    Busy {
        /// What was tried, on what, and its words.
        message: String,
        /// How long no call is to be made.
        after: Duration,
    },
    /// It answered, and will not sign this request: its policy, the names, the duration.
    #[error("{message}")]
    Refused {
        /// The issuer's own words, shortened.
        message: String,
    },
    /// It is not the issuer that the configuration describes, or the configuration lacks something.
    #[error("{message}")]
    Misconfigured {
        /// What does not fit.
        message: String,
        /// What a person can do.
        remedy: String,
    },
    /// It has signed, and what it signed is of no use.
    #[error("{message}")]
    Unfit {
        /// What is wrong with it.
        message: String,
        /// What a person can do.
        remedy: String,
        /// The end of what is held, where that serves as long as what was signed.
        held_until: Option<Timestamp>,
    },
}

/// While an issuer's authority is about to end, a new certificate is tried after this part of the time that is left.
const TRIES_UNTIL_THE_END: u32 = 24;

/// After a pause that an issuer asked for, placements come again within half of it, and within this at least.
const SPREAD: Duration = Duration::from_secs(2);

impl IssuerError {
    pub(crate) fn misconfigured(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Misconfigured { message: message.into(), remedy: remedy.into() }
    }

    /// Whether it continues by itself.
    #[must_use]
    pub fn halt(&self) -> Halt {
        match self {
            Self::Unavailable { .. } | Self::Busy { .. } => Halt::Waiting,
            Self::Refused { .. } | Self::Misconfigured { .. } | Self::Unfit { .. } => Halt::Blocked,
        }
    }

    /// Whether the issuer works and has answered, if not as was hoped. A wrong password or root is everyone's, and no answer.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Unfit { .. } => true,
            Self::Unavailable { .. } | Self::Busy { .. } | Self::Misconfigured { .. } => false,
        }
    }

    /// What a person can do; empty when there is nothing to do but wait.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Unavailable { .. } => {
                "nothing: Pinion tries again by itself; `pinion issuer check` checks the issuer now".into()
            }
            Self::Busy { .. } => "nothing: Pinion keeps to the pause that the issuer asks for, and tries again".into(),
            Self::Refused { .. } => {
                "change the certificate's names or duration in the manifest, or the issuer's policy; \
                                     `pinion issuer check` shows what it allows"
                    .into()
            }
            Self::Misconfigured { remedy, .. } | Self::Unfit { remedy, .. } => remedy.clone(),
        }
    }

    /// The earliest moment at which another try for this placement makes sense; none where the usual pause says so. Those
    /// that an issuer put off together do not come again together.
    #[must_use]
    pub fn retry_at(&self, now: Timestamp, id: &PlacementId) -> Option<Timestamp> {
        match self {
            // Each try costs the CA a signature: a few a day while there are weeks, and more as the end comes closer.
            Self::Unfit { held_until, .. } => held_until.map(|end| now + end.since(now) / TRIES_UNTIL_THE_END),
            // Rounded up: a moment has whole seconds.
            Self::Busy { after, .. } => {
                let spread = spread::duration(id.to_string().bytes(), (*after / 2).max(SPREAD));
                Some(now + (*after + spread + Duration::from_millis(999)))
            }
            Self::Unavailable { .. } | Self::Refused { .. } | Self::Misconfigured { .. } => None,
        }
    }

    /// Whether each further try costs the CA a certificate that nobody can use, until a person has changed something.
    #[must_use]
    pub fn is_costly(&self) -> bool {
        matches!(self, Self::Unfit { .. })
    }

    /// The error as the trouble of a placement: what was attempted, and when it is tried again.
    #[must_use]
    pub fn trouble(&self, attempt: impl Into<String>, retry_at: Option<Timestamp>) -> Trouble {
        Trouble { halt: self.halt(), attempt: attempt.into(), cause: self.to_string(), remedy: self.remedy(), retry_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_put_off_together_come_again_apart_and_not_before_the_pause_is_over() {
        let busy = IssuerError::Busy { message: "429".into(), after: Duration::from_secs(600) };
        let now = Timestamp::from_unix(1_800_000_000);
        let pauses: std::collections::BTreeSet<_> = (100..200)
            .map(|guest| {
                let id = format!("web@{guest}").parse().expect("an id");
                busy.retry_at(now, &id).expect("a moment").since(now).as_secs()
            })
            .collect();
        assert!(pauses.first() >= Some(&600) && pauses.last() <= Some(&901), "{pauses:?}");
        assert!(pauses.len() > 60, "{} different moments of 100", pauses.len());
        assert_eq!(busy.halt(), Halt::Waiting);
    }

    #[test]
    fn only_what_heals_by_itself_waits() {
        let down = IssuerError::Unavailable { message: "connect to https://ca:9000: refused".into() };
        assert_eq!(down.trouble("sign docker@101", None).halt, Halt::Waiting);
        let wrong = IssuerError::misconfigured("the password is wrong", "write the right one");
        let trouble = wrong.trouble("sign docker@101", Some(Timestamp::from_unix(0)));
        assert_eq!((trouble.halt, trouble.remedy.as_str()), (Halt::Blocked, "write the right one"));
    }
}
