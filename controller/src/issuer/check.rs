//! What an issuer says of itself, for `pinion issuer check`.

use std::time::Duration;

use pinion_proto::{bundle::Fingerprint, clock::Timestamp, length::written, spec::PlainName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was found out about an issuer without signing anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerCheck {
    /// Its name in the configuration.
    pub name: PlainName,
    /// The word for its type in the configuration: `embedded` or `step-ca`.
    pub kind: String,
    /// Its address; null for the embedded CA.
    #[serde(default)]
    pub address: Option<String>,
    /// The SHA-256 of its root; null if it does not say.
    pub root: Option<Fingerprint>,
    /// The provisioner that signs for Pinion.
    #[serde(default)]
    pub provisioner: Option<String>,
    /// How long its certificates may be valid.
    pub durations: Durations,
    /// The last second of the first of its authorities to end, its root among them; null if it does not say.
    #[serde(default)]
    pub authority_ends: Option<Timestamp>,
    /// How many seconds its clock is ahead of this host's; negative if it is behind; null for the embedded CA.
    #[serde(default)]
    pub clock_difference: Option<i64>,
    /// The longest duration that was asked for and had to be shortened, if any was since the controller started.
    #[serde(default, with = "written::option")]
    #[schemars(with = "Option<String>")]
    pub shortened: Option<Duration>,
    /// Whether certificates that were replaced are revoked.
    #[serde(default)]
    pub revokes_replaced: bool,
    /// What works and deserves a look, each a sentence with what to do.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// How long an issuer's certificates may be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Durations {
    /// A shorter request is raised to this.
    #[serde(with = "written")]
    #[schemars(with = "String")]
    pub min: Duration,
    /// What it gives when it is not asked for any; Pinion always asks.
    #[serde(with = "written")]
    #[schemars(with = "String")]
    pub default: Duration,
    /// A longer request is shortened to this.
    #[serde(with = "written")]
    #[schemars(with = "String")]
    pub max: Duration,
}
