//! A placement's service: how new files are checked, how it is notified of them, when it may be disturbed, and how the agent
//! looks at what it serves.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    error::SpecError,
    words::{GuestPath, PlainName, Unit},
};
use crate::{
    clock::Timestamp,
    containers::{ContainerName, ContainerSignal, SwarmSecrets},
    id::shown,
    names::SubjectName,
};

/// A stretch of time in which a service may be disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Opening {
    /// The first moment of the opening.
    pub opens: Timestamp,
    /// When it is over; no part of it any more.
    pub closes: Timestamp,
}

/// How the new files are checked before the service is notified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validate {
    /// The service is not reloaded.
    Nothing,
    /// By a hook of the guest's.
    Hook(PlainName),
}

/// How the service is notified of new files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reload {
    /// Not at all: it reads its files anew by itself, or nothing runs.
    Nothing,
    /// `systemctl reload`, or the unit's hook with the argument `reload`.
    Reload(Unit),
    /// `systemctl restart`, or the unit's hook with the argument `restart`.
    Restart(Unit),
    /// A hook of the guest's.
    Hook(PlainName),
    /// Restarts a container with `docker restart`.
    Container(ContainerName),
    /// Sends a signal to a container with `docker kill --signal`.
    Signal(ContainerSignal),
    /// The file's time of change becomes now, for a service that watches it.
    Touch(GuestPath),
    /// New versions of a Swarm service's secrets.
    Swarm(SwarmSecrets),
}

/// How the agent looks at what is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// Not at all: the placement ends at `reloaded`.
    Nothing,
    /// By a TLS handshake.
    Tls(TlsProbe),
}

/// Where and how the agent makes a TLS handshake with a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsProbe {
    /// Where the service listens, as the guest sees it.
    pub connect: SocketAddr,
    /// The SNI to ask with; absent: the common name.
    pub server_name: Option<SubjectName>,
    /// What is spoken before TLS; absent: nothing.
    #[serde(default)]
    pub starttls: Option<StartTls>,
    /// How long the service may take to come back; absent: as its recipe says. Not in the text of a spec without it, as
    /// in [`super::PlacementSpec::requires_mount`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Settle>,
}

impl TlsProbe {
    /// A handshake at this address, with nothing else said.
    #[must_use]
    pub fn at(connect: SocketAddr) -> Self {
        Self { connect, server_name: None, starttls: None, settle: None }
    }
}

/// How long a service may take to come back after it was notified: whole seconds, from one to an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Settle(u64);

impl Settle {
    /// The longest there is.
    pub const MAX: Duration = Duration::from_secs(60 * 60);

    /// As a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl TryFrom<u64> for Settle {
    type Error = SpecError;

    fn try_from(seconds: u64) -> Result<Self, SpecError> {
        if (1..=Self::MAX.as_secs()).contains(&seconds) { Ok(Self(seconds)) } else { Err(SpecError::Settle(seconds)) }
    }
}

impl From<Settle> for u64 {
    fn from(settle: Settle) -> Self {
        settle.0
    }
}

/// A protocol whose connections begin without TLS and turn to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartTls {
    /// SMTP's STARTTLS (RFC 3207).
    Smtp,
    /// RFC 9051, section 6.2.1.
    Imap,
    /// PostgreSQL's SSLRequest (its documentation, 55.2.10).
    Postgres,
}

impl StartTls {
    /// The manifest's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Postgres => "postgres",
        }
    }
}

impl FromStr for StartTls {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let all = [Self::Smtp, Self::Imap, Self::Postgres];
        all.into_iter().find(|protocol| protocol.as_str() == text).ok_or_else(|| SpecError::StartTls(shown(text)))
    }
}
