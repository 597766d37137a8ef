//! The names of placements on the command line.

use std::{fmt, str::FromStr};

use pinion_proto::id::{CertificateName, Guest, IdError, PlacementId};

/// A name on the command line: a certificate of this guest, or a placement that must be here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Which certificate.
    pub certificate: CertificateName,
    /// The guest, where it was said.
    pub guest: Option<GuestWord>,
}

/// A guest as somebody typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestWord {
    /// Its VMID, or `host`.
    Number(Guest),
    /// Its name.
    Name(String),
}

impl GuestWord {
    /// Whether this guest is meant, which calls itself `hostname`: a container has the name that Proxmox has for it.
    #[must_use]
    pub fn means(&self, here: Guest, hostname: &str) -> bool {
        match self {
            Self::Number(guest) => *guest == here,
            Self::Name(name) => {
                let first = hostname.split('.').next().unwrap_or_default();
                name.eq_ignore_ascii_case(hostname) || name.eq_ignore_ascii_case(first)
            }
        }
    }
}

impl fmt::Display for GuestWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(guest) => guest.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for Name {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((certificate, guest)) = text.split_once('@') else {
            return Ok(Self { certificate: text.parse()?, guest: None });
        };
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        let looks_named = guest.bytes().all(is_name) && guest.bytes().any(|b| b.is_ascii_alphabetic());
        if looks_named && guest != "host" {
            return Ok(Self { certificate: certificate.parse()?, guest: Some(GuestWord::Name(guest.to_owned())) });
        }
        let placement: PlacementId = text.parse()?;
        Ok(Self { certificate: placement.certificate, guest: Some(GuestWord::Number(placement.guest)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_is_named_by_its_guests_number_or_name() {
        let here: Guest = "1001".parse().expect("a guest");
        for (text, means) in [
            ("docker", None),
            ("docker@1001", Some(true)),
            ("docker@1002", Some(false)),
            ("docker@host", Some(false)),
            ("docker@services", Some(true)),
            ("docker@Services.example", Some(true)),
            ("docker@web", Some(false)),
        ] {
            let name: Name = text.parse().expect(text);
            assert_eq!(name.certificate.as_str(), "docker", "{text}");
            assert_eq!(name.guest.map(|guest| guest.means(here, "services.example")), means, "{text}");
        }
        for text in ["docker@", "docker@1", "docker@a b", "docker@a@b", "@services", "docker@-1"] {
            text.parse::<Name>().expect_err(text);
        }
    }
}
