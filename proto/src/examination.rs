//! What an agent is asked to look at in its guest because a person wants to know, and what it says.
//!
//! Answers: which services with TLS are there that nobody manages, and what is wrong with this guest?
//! Invariant: nothing is decided by what is said here. What an agent may look at is its own configuration's to say.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    id::CertificateName,
    spec::{GuestPath, StartTls},
};

/// No guest says more of itself.
pub const MAX_FINDINGS: usize = 64;

/// Where there are more listeners, the first ones are told.
pub const MAX_LISTENERS: usize = 256;

/// Where there are more certificates in files, the first ones are told.
pub const MAX_CERTIFICATES: usize = 256;

/// Of a certificate with more names, the first ones are told.
pub const MAX_SHOWN_NAMES: usize = 16;

/// What a person wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Which services listen, and which certificates there are.
    Discover,
    /// What is wrong.
    Doctor,
}

impl Subject {
    /// Its word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Doctor => "doctor",
        }
    }
}

/// What an agent has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Examined {
    /// Which question it answers.
    #[serde(skip)]
    pub number: u64,
    /// The guest's clock, when it answered.
    pub now: Timestamp,
    /// What it did not look at, each with the reason.
    pub left_out: Vec<String>,
    /// How the guest is.
    pub findings: Vec<GuestFinding>,
    /// Who listens there.
    pub listeners: Vec<Listener>,
    /// Which certificates are in files.
    pub certificates: Vec<FileCertificate>,
}

/// Something about a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GuestFinding {
    /// Whether it needs a person.
    pub is_problem: bool,
    /// What was looked at and how it is: a sentence.
    pub message: String,
    /// What to do; empty if there is nothing to do.
    pub remedy: String,
}

/// A service that takes connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Listener {
    /// Where it listens.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub address: SocketAddr,
    /// The name of its program; empty if that is not known.
    pub program: String,
    /// The protocol that it speaks before TLS; null if TLS comes at once.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub starttls: Option<StartTls>,
    /// The certificate that it shows; null if none was seen.
    pub shows: Option<SeenCertificate>,
    /// Why none was seen; empty if one was.
    pub why_not: String,
}

/// A certificate in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileCertificate {
    /// The file.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub path: GuestPath,
    /// The first certificate in it.
    pub holds: SeenCertificate,
}

/// A certificate, as far as a person needs it to know it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SeenCertificate {
    /// Its names.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// Its serial number, as `openssl x509 -serial` prints it.
    pub serial: String,
    /// The last second of its validity.
    pub not_after: Timestamp,
    /// The certificate of the manifest that it is; null if Pinion does not manage it.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub managed: Option<CertificateName>,
}
