//! What a certificate takes that says nothing of its own.

use std::time::Duration;

use pinion_proto::spec::PlainName;

/// The issuer of a certificate that names none, where the defaults name none either: Pinion's own.
pub const DEFAULT_ISSUER: &str = "embedded";

/// What a certificate asks for when nothing else is said; an issuer that allows less shortens it.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// What certificates take that say nothing of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// The name of the issuer, as in controller.toml.
    pub issuer: PlainName,
    /// How long a certificate should be valid.
    pub duration: Duration,
}
