//! One event: when, what kind of thing, where, and in which words.

use pinion_proto::{
    clock::Timestamp,
    id::{CertificateName, Guest},
    printable::line,
    stage::Stage,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;

/// The longest text (characters): a trouble with all its words.
const MAX_TEXT: usize = 16_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When it happened.
    pub at: Timestamp,
    /// Its kind.
    pub kind: Kind,
    /// The guest that it is about: its VMID, or `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
    /// The certificate that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateName>,
    /// The number of the placement's content, or of the guest's identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The certificate's serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The stage that a placement has come to with that content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The local user who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<Caller>>,
    /// The sentence: one printable line.
    pub text: String,
}

impl Event {
    /// An event that concerns nothing in particular yet: made by `words` alone.
    pub(super) fn new(at: Timestamp, kind: Kind, text: impl Into<String>) -> Self {
        Self {
            at,
            kind,
            guest: None,
            certificate: None,
            generation: None,
            serial: None,
            stage: None,
            by: None,
            text: line(&text.into(), MAX_TEXT),
        }
    }

    pub(super) fn guest(mut self, guest: Guest) -> Self {
        self.guest = Some(guest);
        self
    }

    pub(super) fn certificate(mut self, certificate: &CertificateName) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    /// The event with the user who asked for it, also in its words.
    #[must_use]
    pub(crate) fn by(mut self, caller: &Caller) -> Self {
        self.text = format!("{}; requested by {caller}", self.text);
        self.by = Some(Box::new(caller.clone()));
        self
    }

    pub(super) fn generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    pub(super) fn stage(mut self, stage: Stage) -> Self {
        self.stage = Some(stage);
        self
    }

    pub(super) fn serial(mut self, serial: &str) -> Self {
        self.serial = Some(serial.to_owned());
        self
    }
}

/// How much an event matters: the level at which it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Something that people use does not work.
    Error,
    /// An administrator should look.
    Warning,
    /// As it should be.
    Info,
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The controller starts or stops, or something about this host changes for the better.
    Controller,
    /// Another manifest is in force.
    Manifest,
    /// A token was made.
    Token,
    /// A guest got an identity.
    Joined,
    /// An identity was renewed.
    Renewed,
    /// An agent was brought into a guest.
    Enrolled,
    /// A guest is linked.
    Linked,
    /// A guest's link is gone.
    Unlinked,
    /// A guest was rolled back to a snapshot, or restored from a backup, or is locked because it may have been.
    RolledBack,
    /// Something was refused: a join, a link, a request.
    Refused,
    /// A certificate was signed.
    Issued,
    /// A certificate was revoked.
    Revoked,
    /// The roots of an issuer change.
    Roots,
    /// Something that Pinion has to do failed: signing, revoking, reading or writing its state.
    Failed,
    /// A placement has come to another stage.
    Stage,
    /// A placement or a guest makes no progress.
    Trouble,
    /// A certificate expires soon, and its renewal is late.
    Expiring,
    /// A certificate in use has expired.
    Expired,
    /// A placement is no longer in the manifest.
    Retired,
    /// A placement's files were removed.
    Purged,
    /// A placement has taken over a pair that was there before Pinion.
    Adopted,
    /// A certificate that is only watched is seen for the first time, or another one in its place.
    Watched,
    /// A placement replaces a file that was there before Pinion.
    Replaced,
    /// A guest was destroyed, or created again.
    Destroyed,
    /// A person asked for something.
    Asked,
}

impl Kind {
    /// The kind's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Manifest => "manifest",
            Self::Token => "token",
            Self::Joined => "joined",
            Self::Renewed => "renewed",
            Self::Enrolled => "enrolled",
            Self::RolledBack => "rolled-back",
            Self::Linked => "linked",
            Self::Unlinked => "unlinked",
            Self::Refused => "refused",
            Self::Issued => "issued",
            Self::Revoked => "revoked",
            Self::Roots => "roots",
            Self::Failed => "failed",
            Self::Stage => "stage",
            Self::Trouble => "trouble",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Retired => "retired",
            Self::Purged => "purged",
            Self::Adopted => "adopted",
            Self::Watched => "watched",
            Self::Replaced => "replaced",
            Self::Destroyed => "destroyed",
            Self::Asked => "asked",
        }
    }

    /// The level at which such an event is logged: `error`, `warning` or `info`.
    #[must_use]
    pub fn level(self) -> &'static str {
        match self.urgency() {
            Urgency::Error => "error",
            Urgency::Warning => "warning",
            Urgency::Info => "info",
        }
    }

    /// How much it matters to an administrator.
    pub(super) fn urgency(self) -> Urgency {
        match self {
            Self::Expired => Urgency::Error,
            Self::Unlinked | Self::Refused | Self::Failed | Self::Trouble | Self::Expiring => Urgency::Warning,
            _ => Urgency::Info,
        }
    }
}
