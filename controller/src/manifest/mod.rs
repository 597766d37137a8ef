//! The manifest: the operator's file, read once into checked types.
//!
//! Answers: what should exist, and what exactly is wrong with this file?
//! Invariant: a [`Manifest`] that exists is whole and consistent in itself; everything wrong with one
//! that is not is reported at once, each with its place.

mod document;
mod entries;
mod errors;
pub mod file;
mod fields;
mod gist;
mod last_good;
mod length;
mod node;
mod overrides;
mod root;
mod schema;
mod told;
mod trust;
mod uniqueness;
pub mod window;

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::tz::TimeZone;
use pinion_proto::{
    id::{CertificateName, Vmid},
    key::KeyPolicy,
    mount::MountPoint,
    names::{SubjectName, SubjectNames},
    spec::{FileSpec, Layout, Part, PlainName, Probe, Reload, Validate},
};

pub use errors::{ManifestErrors, Problem};
pub(crate) use fields::unknown as unknown_field;
pub use gist::Gist;
pub use schema::schema;
use window::Window;

/// The version of the manifest's format that is read here.
pub const VERSION: u32 = 1;

/// The issuer of a certificate that names none, where the defaults name none either: Pinion's own.
pub const DEFAULT_ISSUER: &str = "embedded";

/// What a certificate asks for when nothing else is said; an issuer that allows less shortens it.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The desired state.
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
        root::read(bytes, local)
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
    /// Who signs.
    pub issuer: PlainName,
    /// How long a certificate should be valid.
    pub duration: Duration,
}

/// One certificate, perhaps in several places.
#[derive(Debug, Clone, PartialEq)]
pub struct Certificate {
    /// What people call it.
    pub name: CertificateName,
    /// The subject's common name; one of `names`.
    pub common_name: SubjectName,
    /// Every name, unless a placement has its own.
    pub names: SubjectNames,
    /// How its keys are made.
    pub key: KeyPolicy,
    /// How long it should be valid: 5 minutes to 10 years.
    pub duration: Duration,
    /// How long before its end it is renewed; none for two thirds of its real life. Less than `duration`.
    pub renew_before: Option<Duration>,
    /// Who signs it.
    pub issuer: PlainName,
    /// One key in all places, made by the controller.
    pub shared: bool,
    /// Its issuer's roots are placed, and no certificate: names, key and duration say nothing then.
    pub trust: bool,
    /// Where it goes, each guest once.
    pub placements: Vec<Placement>,
}

/// A certificate in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// Where.
    pub guest: GuestRef,
    /// Every name here: the certificate's, or the placement's own with the common name.
    pub names: SubjectNames,
    /// Where files, validate, reload and probe come from unless they are given here.
    pub recipe: Option<PlainName>,
    /// Files, over the recipe's. Without a recipe there is one at least, and each has a path.
    pub files: BTreeMap<Part, FileSpec>,
    /// How the files change, over the recipe's.
    pub layout: Option<Layout>,
    /// Over the recipe's.
    pub validate: Option<Validate>,
    /// Over the recipe's.
    pub reload: Option<Reload>,
    /// Over the recipe's.
    pub probe: Option<Probe>,
    /// When its service may be disturbed; none for any time.
    pub window: Option<Window>,
    /// Where something must be mounted before the files are touched; none where the guest finds out by itself.
    pub requires_mount: Option<MountPoint>,
    /// The files are to be removed and nothing is to be held.
    pub purge: bool,
    /// Names, the certificate's key algorithm and issuer in one.
    gist: Gist,
}

impl Placement {
    /// Names, the certificate's key algorithm and its issuer in one, as the manifest was read.
    #[must_use]
    pub fn gist(&self) -> Gist {
        self.gist
    }
}

/// A guest as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GuestRef {
    /// The Proxmox host.
    Host,
    /// By number.
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
    /// Not a name.
    #[error("`{0}` is not a guest: use its VMID, or its name in Proxmox (letters, digits, `-`, `.`)")]
    Malformed(String),
}

#[cfg(test)]
mod tests;
