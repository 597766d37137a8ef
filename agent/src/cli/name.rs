//! The names of placements on the command line.

use std::str::FromStr;

use pinion_proto::id::{CertificateName, Guest, IdError, PlacementId};

/// A name on the command line: a certificate of this guest, or a placement that must be here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Which certificate.
    pub certificate: CertificateName,
    /// The guest, where it was said.
    pub guest: Option<Guest>,
}

impl FromStr for Name {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('@') {
            let placement: PlacementId = text.parse()?;
            Ok(Self { certificate: placement.certificate, guest: Some(placement.guest) })
        } else {
            Ok(Self { certificate: text.parse()?, guest: None })
        }
    }
}
