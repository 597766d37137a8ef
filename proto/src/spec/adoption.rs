//! What becomes of a good pair that was in the places of a placement's files before Pinion.

use serde::{Deserialize, Serialize};

use super::PlainName;
use crate::bundle::Fingerprint;

/// What becomes of a pair that was there before Pinion, while the placement holds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// The issuer that should have signed it, by its name in the manifest.
    pub issuer: PlainName,
    /// What the controller has decided.
    pub decision: AdoptionDecision,
}

/// What the controller has decided of a pair that it was told of, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdoptionDecision {
    /// Nothing yet: a good pair stays as it is, and no request is made, until the controller has seen the report of it.
    Undecided,
    /// The pair with this leaf (the SHA-256 of its DER) becomes the generation that is ordered. Another pair that is there
    /// by then does not.
    Adopt(Fingerprint),
    /// Whatever is there is replaced.
    Replace,
}
