//! Whether a guest's request is for what the manifest asks for.

use std::fmt;

use pinion_proto::{bundle::CertificateRequest, key::KeyAlgorithm, names::SubjectName};

use crate::manifest::PlacedLeaf;

/// What a request has otherwise than the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// Other names, or none.
    Names,
    /// Another common name than this; a request may well have none.
    CommonName(SubjectName),
    /// Another kind of key than this.
    Key(KeyAlgorithm),
}

/// What keeps a request from being signed as the manifest is now; none when nothing does.
#[must_use]
pub fn misfit(request: &CertificateRequest, leaf: PlacedLeaf<'_>) -> Option<Misfit> {
    let PlacedLeaf { policy, names, .. } = leaf;
    if request.names.as_ref() != Some(names) {
        return Some(Misfit::Names);
    }
    // step-ca refuses a request whose common name is not its token's subject (`commonNameValidator`).
    if request.common_name.as_ref().is_some_and(|name| *name != policy.common_name.plain()) {
        return Some(Misfit::CommonName(policy.common_name.clone()));
    }
    let wanted = policy.key.algorithm;
    (request.key_algorithm != Some(wanted)).then_some(Misfit::Key(wanted))
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names => f.write_str("its names are not those that the manifest gives this placement"),
            Self::CommonName(wanted) => write!(f, "its common name is not {wanted}, which the manifest asks for"),
            Self::Key(wanted) => write!(f, "its key is not {wanted}, which the manifest asks for"),
        }
    }
}
