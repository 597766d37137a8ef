//! The manifest: the operator's file, read once into checked types.
//!
//! Answers: what should exist, and what exactly is wrong with this file?
//! Invariant: a [`Manifest`] that exists is whole and consistent in itself; everything wrong with one
//! that is not is reported at once, each with its place.

mod certificate;
mod docker;
mod document;
mod entries;
mod errors;
pub mod file;
mod fields;
mod spec_hash;
mod last_good;
mod length;
mod node;
mod overrides;
mod root;
mod schema;
mod trust;
mod uniqueness;
pub mod window;

use std::{collections::BTreeSet, fmt, time::Duration};

use jiff::tz::TimeZone;
use pinion_proto::{
    id::{CertificateName, Vmid},
    spec::PlainName,
};

pub use certificate::{Certificate, LeafPolicy, OwnNames, PlacedLeaf, Placement};
pub use errors::{ManifestErrors, Problem};
pub(crate) use fields::unknown as unknown_field;
pub use schema::schema;
pub use spec_hash::SpecHash;

/// The version of the manifest's format that is read here.
pub const VERSION: u32 = 1;

/// The issuer of a certificate that names none, where the defaults name none either: Pinion's own.
pub const DEFAULT_ISSUER: &str = "embedded";

/// What a certificate asks for when nothing else is said; an issuer that allows less shortens it.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The desired state: every certificate, and where it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What certificates that say nothing of their own take; already applied to them.
    pub defaults: Defaults,
    /// Every certificate, in the file's order, each name once.
    pub certificates: Vec<Certificate>,
}

impl Manifest {
    /// Reads a manifest; windows without a time zone are in the host's.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestErrors> {
        Self::parse_in(bytes, &TimeZone::system())
    }

    /// As [`Self::parse`], with the time zone of windows that name none.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse_in(bytes: &[u8], local: &TimeZone) -> Result<Self, ManifestErrors> {
        root::read(bytes, local, &BTreeSet::new())
    }

    /// As [`Self::parse`], where these issuers cannot say which roots they have: an entry for their roots is a mistake.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse_for(bytes: &[u8], without_roots: &BTreeSet<PlainName>) -> Result<Self, ManifestErrors> {
        root::read(bytes, &TimeZone::system(), without_roots)
    }

    /// A manifest that asks for nothing.
    #[must_use]
    pub fn empty() -> Self {
        let issuer = DEFAULT_ISSUER.parse().expect("the constant is a name");
        Self { defaults: Defaults { issuer, duration: DEFAULT_DURATION }, certificates: Vec::new() }
    }

    /// The certificate of this name.
    #[must_use]
    pub fn certificate(&self, name: &CertificateName) -> Option<&Certificate> {
        self.certificates.iter().find(|certificate| certificate.name == *name)
    }

    /// How many placements there are.
    #[must_use]
    pub fn placement_count(&self) -> usize {
        self.certificates.iter().map(|certificate| certificate.placements.len()).sum()
    }
}

/// What certificates take that say nothing of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The name of the issuer, as in controller.toml.
    pub issuer: PlainName,
    /// How long a certificate should be valid.
    pub duration: Duration,
}

/// A guest as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GuestRef {
    /// The Proxmox host itself, by its own agent.
    Host,
    /// A guest by its VMID.
    Vmid(Vmid),
    /// By its Proxmox name.
    Name(GuestName),
}

impl fmt::Display for GuestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Vmid(vmid) => vmid.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A guest's Proxmox name: a DNS name (the format of `hostname:` and `name:` in its config), in lower case,
/// because Proxmox and DNS do not tell letters by their case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuestName(Box<str>);

impl GuestName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for GuestName {
    type Err = GuestNameError;

    fn from_str(text: &str) -> Result<Self, GuestNameError> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if text == "host" {
            Err(GuestNameError::Host)
        } else if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            Err(GuestNameError::Number(pinion_proto::id::shown(text)))
        } else if starts && text.len() <= 253 && text.bytes().all(legal) {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(GuestNameError::Malformed(pinion_proto::id::shown(text)))
        }
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text that is no guest's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestNameError {
    /// The host has a field of its own.
    #[error("the Proxmox host is not a guest: write \"host\": true instead of \"guest\"")]
    Host,
    /// A number in quotes.
    #[error("`{0}` is a number in quotes: write a VMID without quotes")]
    Number(String),
    /// The text is neither a VMID nor a guest's name.
    #[error("`{0}` is not a guest: use its VMID, or its name in Proxmox (letters, digits, `-`, `.`)")]
    Malformed(String),
}

#[cfg(test)]
mod tests;
