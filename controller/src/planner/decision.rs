//! What can be decided for a placement, and the reasons for it in words.

use std::fmt;

use pinion_proto::{
    bundle::Fingerprint, clock::Timestamp, id::PlacementId, key::KeyAlgorithm, names::SubjectName, spec::PlainName,
    stage::Trouble,
};
use serde::Serialize;

use super::rollover::RootChange;

/// What is to be done for a placement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "decision")]
pub enum Decision {
    /// Nothing: it is as it should be, or the guest is about to make it so.
    Keep,
    /// A new generation is to be made.
    Order(Order),
    /// Something is to be done and cannot be now; it continues by itself.
    Wait(Trouble),
    /// Something is to be done and needs a person; it is still retried.
    Block(Trouble),
    /// A pair that was there before Pinion is adopted as it is.
    Adopt(Adopt),
    /// The guest is sent other roots to trust.
    Trust(RootChange),
    /// The files are to be removed.
    Purge,
}

/// A pair that is to be adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Adopt {
    /// The number that it gets.
    pub generation: u64,
    /// The SHA-256 of its leaf's DER.
    pub leaf: Fingerprint,
    /// Its serial number.
    pub serial: String,
    /// The last second in which its chain is valid.
    pub expires: Timestamp,
    /// When it is renewed.
    pub renew_at: Timestamp,
}

impl fmt::Display for Adopt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { serial, expires, renew_at, .. } = self;
        write!(f, "a good pair is there already: serial {serial}, valid until {expires}, to be renewed at {renew_at}")
    }
}

/// A new generation of a placement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Its number.
    pub generation: u64,
    /// What comes next for it.
    pub step: Step,
    /// Why it is needed.
    pub why: Why,
    /// When what is held expires; none when nothing is held, which is the most urgent.
    pub expires: Option<Timestamp>,
}

/// Whose turn it is with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The guest's: it is to make key and request, and say so in a report.
    Ask,
    /// The controller's: the report has a request that was found good, or awaits a shared key.
    Sign,
}

/// Why a new generation is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Why {
    /// Nothing is held.
    Missing,
    /// Nothing is held, and what was there before Pinion is not adopted.
    NotAdopted {
        /// Why not.
        because: String,
    },
    /// The key was there before Pinion, and somewhere else, too.
    KeyElsewhere {
        /// The other place.
        placement: PlacementId,
    },
    /// Somebody asked for it.
    Requested,
    /// The manifest has other names than the certificate.
    NamesChanged {
        /// In the manifest alone.
        added: Vec<SubjectName>,
        /// In the certificate alone.
        removed: Vec<SubjectName>,
    },
    /// The manifest has another common name than the one that was ordered.
    CommonNameChanged {
        /// What was ordered.
        held: SubjectName,
        /// The manifest's.
        wanted: SubjectName,
    },
    /// The manifest has another kind of key than the certificate.
    KeyAlgorithmChanged {
        /// The certificate's; none for one that the manifest has no word for.
        held: Option<KeyAlgorithm>,
        /// The manifest's.
        wanted: KeyAlgorithm,
    },
    /// The manifest has another issuer than the certificate.
    IssuerChanged {
        /// The certificate's.
        held: PlainName,
        /// The manifest's.
        wanted: PlainName,
    },
    /// The key is not the one that all placements share, or is shared and should not be any more.
    KeySharingChanged {
        /// Whether the manifest says `shared`.
        shared: bool,
    },
    /// The guest was taken back to an earlier state: what it holds is older than what it had brought to its goal.
    TakenBack {
        /// The generation that it holds.
        held: u64,
        /// The one that it had.
        had: u64,
    },
    /// It is time.
    Due {
        /// Since when.
        since: Timestamp,
    },
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::Order(order) => order.fmt(f),
            Self::Wait(trouble) | Self::Block(trouble) => trouble.fmt(f),
            Self::Adopt(adopt) => adopt.fmt(f),
            Self::Trust(change) => change.fmt(f),
            Self::Purge => f.write_str("purge: the manifest says so"),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "order generation {}: {}", self.generation, self.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("nothing is held"),
            Self::NotAdopted { because } => write!(f, "what is there is not adopted: {because}"),
            Self::KeyElsewhere { placement } => {
                write!(f, "its key was there before Pinion, and is also at {placement}")
            }
            Self::Requested => f.write_str("a renewal was requested"),
            Self::NamesChanged { added, removed } => {
                f.write_str("names changed:")?;
                added.iter().try_for_each(|name| write!(f, " +{name}"))?;
                removed.iter().try_for_each(|name| write!(f, " -{name}"))
            }
            Self::CommonNameChanged { held, wanted } => write!(f, "common name changed from {held} to {wanted}"),
            Self::KeyAlgorithmChanged { held: Some(held), wanted } => write!(f, "key changed from {held} to {wanted}"),
            Self::KeyAlgorithmChanged { held: None, wanted } => write!(f, "key changed to {wanted}"),
            Self::IssuerChanged { held, wanted } => write!(f, "issuer changed from {held} to {wanted}"),
            Self::KeySharingChanged { shared: true } => f.write_str("its key is not the shared one"),
            Self::KeySharingChanged { shared: false } => f.write_str("its key is shared, but it should have its own"),
            Self::TakenBack { held, had } => {
                write!(f, "the guest has generation {held}, but had {had} before: it was rolled back")
            }
            Self::Due { since } => write!(f, "due for renewal since {since}"),
        }
    }
}
