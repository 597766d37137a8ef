//! How the manifest names a guest: by its VMID, by its Proxmox name, or as the host.

use std::fmt;

use pinion_proto::id::Vmid;
use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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

impl TryFrom<String> for GuestName {
    type Error = GuestNameError;

    fn try_from(text: String) -> Result<Self, GuestNameError> {
        text.parse()
    }
}

impl From<GuestName> for String {
    fn from(name: GuestName) -> Self {
        name.0.into()
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
