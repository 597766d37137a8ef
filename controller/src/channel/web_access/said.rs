//! What crosses the socket of a person who signs in on the page with Proxmox's login.
//!
//! Invariant: an answer holds the user's right, the user's name and two times. The rest of Proxmox's reply is dropped.

use pinion_proto::clock::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::secret::Secret;
use crate::digest::Digest;

/// What Proxmox said is used for so long (seconds): a right that was taken back ends within this time.
pub const MAX_GOOD_FOR: u64 = 60;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum WebQuestion {
    /// What may the user of this ticket or API token do? The root process keeps it if that user may look, so that the caller need
    /// not.
    Ticket(Secret),
    /// What may that user do now? It is named by the SHA-256 of the ticket or API token.
    Again(Digest),
    /// Nobody uses it any more.
    Forget(Digest),
}

/// What the answer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebAnswer {
    /// Proxmox knows the user.
    Known(WebUser),
    /// Proxmox refuses the ticket or API token: it is forged, too old or revoked, or its user is disabled.
    Unknown,
    /// The root process keeps nothing of this SHA-256.
    Forgotten,
}

/// A user of Proxmox's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebUser {
    /// `anna@pve`, or `anna@pve!page` with an API token; printable.
    pub user: String,
    /// What the user may do.
    pub right: WebRight,
    /// Whether the ticket or API token can change permissions on `/`, and so do everything on Proxmox.
    pub is_almighty: bool,
    /// When it ends at the latest; none for an API token.
    pub ends: Option<Timestamp>,
    /// For how long this may be used (seconds), at most [`MAX_GOOD_FOR`].
    pub good_for: u64,
}

/// The effective rights on `/` that the page knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebRight {
    /// Not even `Sys.Audit`.
    None,
    /// `Sys.Audit`.
    Audit,
    /// `Sys.Audit` and `Sys.Modify`.
    AuditAndModify,
}
