//! What things are called: guests, certificates, placements, the trust domain.
//!
//! Invariant: a value of these types is safe as a file name, a log field and part of a URI.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The number Proxmox knows a container or virtual machine by, 100 to 999,999,999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Vmid(u32);

impl Vmid {
    /// The VMID as a number, from 100 to 999,999,999.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Vmid {
    type Error = IdError;

    fn try_from(number: u32) -> Result<Self, IdError> {
        // The range of Proxmox's own `pve-vmid` format.
        if (100..=999_999_999).contains(&number) { Ok(Self(number)) } else { Err(IdError::Vmid(number.to_string())) }
    }
}

impl From<Vmid> for u32 {
    fn from(vmid: Vmid) -> u32 {
        vmid.0
    }
}

impl fmt::Display for Vmid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a placement is: a guest, or the Proxmox host itself. Written `1001` or `host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guest {
    /// The Proxmox host itself, which has an agent of its own.
    Host,
    /// A container or virtual machine.
    Vmid(Vmid),
}

impl FromStr for Guest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "host" {
            return Ok(Self::Host);
        }
        let digits_only = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = if digits_only { text.parse::<u32>().ok() } else { None };
        number.and_then(|n| Vmid::try_from(n).ok()).map(Self::Vmid).ok_or_else(|| IdError::Vmid(shown(text)))
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Vmid(vmid) => vmid.fmt(f),
        }
    }
}

string_serde!(Guest);

/// The name of a certificate in the manifest: letters, digits, `.`, `_`, `-`, at most 63, starting with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateName(Box<str>);

impl FromStr for CertificateName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if is_plain_name(text) { Ok(Self(text.into())) } else { Err(IdError::CertificateName(shown(text))) }
    }
}

impl fmt::Debug for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

checked_text!(CertificateName, "The name as text.");

/// One certificate in one place, written `docker@1001`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlacementId {
    /// The certificate's name in the manifest.
    pub certificate: CertificateName,
    /// The guest that it is in.
    pub guest: Guest,
}

impl FromStr for PlacementId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (certificate, guest) = text.split_once('@').ok_or_else(|| IdError::PlacementId(shown(text)))?;
        Ok(Self { certificate: certificate.parse()?, guest: guest.parse()? })
    }
}

impl fmt::Display for PlacementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.certificate, self.guest)
    }
}

string_serde!(PlacementId);

/// The SPIFFE trust domain of Pinion's own identities: lower-case letters, digits, `.`, `-`, `_`
/// (SPIFFE-ID section 2.1), at most 255.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrustDomain(Box<str>);

impl FromStr for TrustDomain {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if !text.is_empty() && text.len() <= 255 && text.bytes().all(legal) {
            Ok(Self(text.into()))
        } else {
            Err(IdError::TrustDomain(shown(text)))
        }
    }
}

checked_text!(TrustDomain, "The domain as text.");

/// Who stands at the other end of a link: `spiffe://<trust domain>/controller`, `/host` or `/guest/<vmid>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpiffeId {
    /// Whose authority vouches for it.
    pub trust_domain: TrustDomain,
    /// Which of its members.
    pub member: Member,
}

/// A member of the trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// The controller, which agents dial.
    Controller,
    /// An agent in this guest.
    Guest(Guest),
}

impl FromStr for SpiffeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = || IdError::SpiffeId(shown(text));
        let rest = text.strip_prefix("spiffe://").ok_or_else(malformed)?;
        let (domain, path) = rest.split_once('/').ok_or_else(malformed)?;
        let member = match path.split_once('/') {
            None if path == "controller" => Member::Controller,
            None if path == "host" => Member::Guest(Guest::Host),
            Some(("guest", vmid)) if vmid != "host" => Member::Guest(vmid.parse().map_err(|_| malformed())?),
            _ => return Err(malformed()),
        };
        Ok(Self { trust_domain: domain.parse()?, member })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/", self.trust_domain)?;
        match self.member {
            Member::Controller => f.write_str("controller"),
            Member::Guest(Guest::Host) => f.write_str("host"),
            Member::Guest(Guest::Vmid(vmid)) => write!(f, "guest/{vmid}"),
        }
    }
}

/// Text that is not the name it should be; the text is shortened for showing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not a VMID and not `host`.
    #[error("`{0}` is not a guest: use a VMID from 100 to 999999999, or `host`")]
    Vmid(String),
    /// Not a certificate's name.
    #[error(
        "`{0}` is not a certificate name: use up to 63 letters, digits, `.`, `_`, `-`, starting with a letter or digit"
    )]
    CertificateName(String),
    /// The text is not CERTIFICATE@GUEST.
    #[error("`{0}` is not a placement: write CERTIFICATE@GUEST, for example docker@1001")]
    PlacementId(String),
    /// Not a trust domain.
    #[error("`{0}` is not a trust domain: use lower-case letters, digits, `.`, `-`, `_`")]
    TrustDomain(String),
    /// Not an id of Pinion's.
    #[error("`{0}` is not the SPIFFE ID of a controller, host or guest")]
    SpiffeId(String),
}

/// Whether text is a plain name: also the rule for recipes, hooks and issuers.
#[must_use]
pub fn is_plain_name(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    text.len() <= 63 && text.bytes().all(legal) && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

/// At most 80 characters of untrusted text as one printable line, for an error message.
#[must_use]
pub fn shown(text: &str) -> String {
    crate::printable::line(text, 80)
}

/// Serde as the text of `Display` and `FromStr`.
macro_rules! string_serde {
    ($type:ty) => {
        $crate::id::string_serde!($type, { "type": "string" });
    };
    ($type:ty, $schema:tt) => {
        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use string_serde;

/// A checked text: shown, written and read as what it is.
macro_rules! checked_text {
    ($type:ty, $what:literal) => {
        impl $type {
            #[doc = $what]
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        $crate::id::string_serde!($type);
    };
}
pub(crate) use checked_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_vmids_or_the_host() {
        assert_eq!("host".parse(), Ok(Guest::Host));
        assert_eq!("1001".parse::<Guest>().expect("a VMID").to_string(), "1001");
        for bad in ["", "99", "1000000000", "+101", "0x65", "Host", "101 ", "４２"] {
            assert!(bad.parse::<Guest>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn certificate_names_are_safe_file_names() {
        for bad in ["", ".", "..", "../x", "a/b", "-a", "a@b", "a b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<CertificateName>().is_err(), "{bad:?}");
        }
        assert!("docker-1.internal_x".parse::<CertificateName>().is_ok());
    }

    #[test]
    fn spiffe_ids_read_back_as_written() {
        for text in ["spiffe://pve1.pinion/controller", "spiffe://x/host", "spiffe://x/guest/1001"] {
            assert_eq!(text.parse::<SpiffeId>().expect(text).to_string(), text);
        }
        for bad in [
            "spiffe://x/guest/host",
            "spiffe://x/guest/1",
            "spiffe:///host",
            "spiffe://X/host",
            "https://x/host",
            "spiffe://x/guest/101/",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad:?}");
        }
    }
}
