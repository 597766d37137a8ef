//! A certificate that is only watched, between the generated message and the checked one.
//!
//! Invariant: its texts are short and printable, and there are few of them.

use super::{
    error::{WireError, at_most},
    pb,
};
use crate::{clock::Timestamp, examination::MAX_SHOWN_NAMES, id::shown, printable::line, report::WatchedCertificate};

/// The longest name (characters), as DNS has it.
const MAX_NAME: usize = 255;

/// Reads what a service showed.
pub(super) fn read_watched(watched: pb::WatchedCertificate) -> Result<WatchedCertificate, WireError> {
    at_most("watched.names", watched.names.len(), MAX_SHOWN_NAMES)?;
    Ok(WatchedCertificate {
        names: watched.names.iter().map(|name| line(name, MAX_NAME)).collect(),
        issuer: line(&watched.issuer, MAX_NAME),
        serial: shown(&watched.serial),
        not_before: Timestamp::from_unix(watched.not_before),
        expires: Timestamp::from_unix(watched.expires),
    })
}

/// Writes what a service showed.
pub(super) fn write_watched(watched: WatchedCertificate) -> pb::WatchedCertificate {
    let WatchedCertificate { names, issuer, serial, not_before, expires } = watched;
    pb::WatchedCertificate {
        names: names.into_iter().take(MAX_SHOWN_NAMES).collect(),
        issuer,
        serial,
        not_before: not_before.unix(),
        expires: expires.unix(),
    }
}
