//! A place that shows no certificate, in the words of a report.
//!
//! Invariant: only where nobody takes connections is a person told to start the service.

use std::time::Duration;

use pinion_proto::{length::Length, stage::Halt};

use super::failure::Failure;
use crate::probe::{Seen, Unlike};

/// Why a place shows no certificate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Gone<'a> {
    /// Nobody takes connections there: the cause.
    Absent(&'a str),
    /// Somebody does.
    Unlike(&'a Unlike),
}

impl<'a> Gone<'a> {
    /// Of what was seen there; none where a certificate was.
    pub(super) fn of(seen: &'a Seen) -> Option<Self> {
        match seen {
            Seen::NotListening(cause) => Some(Self::Absent(cause)),
            Seen::NoTls(unlike) => Some(Self::Unlike(unlike)),
            Seen::Served | Seen::Other(_) | Seen::NotAllowed => None,
        }
    }

    fn cause(self) -> String {
        match self {
            Self::Absent(cause) => cause.into(),
            Self::Unlike(unlike) => unlike.to_string(),
        }
    }
}

impl Failure {
    /// Nobody shows a certificate there; nor did anybody before.
    pub(super) fn absent(connect: &str, gone: Gone<'_>) -> Self {
        Self::not_shown(connect, gone, "start the service; Pinion then continues by itself".into())
    }

    /// The service was notified, shows no certificate, and did not before either.
    pub(super) fn silent(connect: &str, gone: Gone<'_>, restart: Duration) -> Self {
        Self::not_shown(connect, gone, format!("start the service, if it does not run; {}", too_slow(restart)))
    }

    fn not_shown(connect: &str, gone: Gone<'_>, start: String) -> Self {
        let remedy = match gone {
            Gone::Absent(_) => start,
            Gone::Unlike(unlike) => unlike.remedy(),
        };
        Self::new(Halt::Waiting, format!("check what {connect} serves"), gone.cause(), remedy)
    }

    /// The service was there before the new files and is not with them.
    pub(super) fn broke(connect: &str, gone: Gone<'_>, restart: Duration) -> Self {
        let remedy = format!("read the service's log from that time; {}", too_slow(restart));
        let remedy = match gone {
            Gone::Absent(_) => remedy,
            Gone::Unlike(unlike) => format!("{remedy}. Otherwise, {}", unlike.remedy()),
        };
        Self::new(
            Halt::Blocked,
            format!("check what {connect} serves"),
            format!(
                "the service answered before it got the new files, but does not answer with them: {}",
                gone.cause()
            ),
            remedy,
        )
        .disturbing()
    }
}

/// What to do about a service that needs longer to start than it is given.
fn too_slow(restart: Duration) -> String {
    format!(
        "if it needs longer than {} to start, write how long as `settle` in the placement's `probe`",
        Length(restart)
    )
}
