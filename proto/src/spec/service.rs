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
    /// What is sent before anything else; absent: nothing. Not in the text of a spec without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Which of the placement's units serves it; absent: nobody says. Not in the text of a spec without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

impl TlsProbe {
    /// A handshake at this address, with nothing else said.
    #[must_use]
    pub fn at(connect: SocketAddr) -> Self {
        Self { connect, server_name: None, starttls: None, settle: None, proxy_protocol: None, unit: None }
    }

    /// Whether an agent of before [`super::SPEC_LEVEL`] 2 cannot make it.
    pub(super) fn is_newer(&self) -> bool {
        self.proxy_protocol.is_some() || self.starttls.is_some_and(StartTls::is_newer)
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
    /// MySQL's and MariaDB's SSLRequest (MariaDB's documentation, "Connecting").
    Mysql,
    /// LDAP's StartTLS (RFC 4511, section 4.14).
    Ldap,
    /// POP3's STLS (RFC 2595, section 4).
    Pop3,
    /// FTP's AUTH TLS (RFC 4217).
    Ftp,
}

impl StartTls {
    /// Every one.
    pub const ALL: [Self; 7] = [Self::Smtp, Self::Imap, Self::Pop3, Self::Postgres, Self::Mysql, Self::Ldap, Self::Ftp];

    /// The manifest's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Ldap => "ldap",
            Self::Pop3 => "pop3",
            Self::Ftp => "ftp",
        }
    }

    /// Whether an agent of before [`super::SPEC_LEVEL`] 2 does not know it, and would refuse a whole message for it.
    #[must_use]
    pub fn is_newer(self) -> bool {
        !matches!(self, Self::Smtp | Self::Imap | Self::Postgres)
    }
}

impl FromStr for StartTls {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        Self::ALL.into_iter().find(|protocol| protocol.as_str() == text).ok_or_else(|| SpecError::StartTls(shown(text)))
    }
}

/// The PROXY protocol of HAProxy (its `proxy-protocol.txt`): a service behind a proxy learns by it whose connection it is. The
/// agent says that the connection is nobody's: UNKNOWN in version 1, LOCAL in version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyProtocol {
    /// The manifest's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

impl FromStr for ProxyProtocol {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let all = [Self::V1, Self::V2];
        all.into_iter().find(|version| version.as_str() == text).ok_or_else(|| SpecError::ProxyProtocol(shown(text)))
    }
}
