//! What `pinion status`, `pinion show` and `pinion guest list` are answered with: documents about placements and guests.
//!
//! Invariant: fields are only added, with a default, so that a command line and a daemon of two versions understand each
//! other.

use pinion_proto::{
    bundle::Fingerprint,
    clock::Timestamp,
    id::{CertificateName, Guest},
    names::SubjectNames,
    report::{Details, Notified},
    stage::{Halt, Stage, Trouble, Validity},
    verdict::Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{presence::Presence, timing::RenewalTiming};
use crate::{freeze::Freeze, notify::TargetStatus};

/// Every placement and guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The controller's version.
    pub version: String,
    /// Which manifest is in force.
    #[serde(default)]
    pub manifest: ManifestStatus,
    /// What an administrator should know that belongs to no placement.
    pub notes: Vec<String>,
    /// What is wrong with the host as a whole, and concerns every guest.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
    /// What is frozen.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
    /// The placements, in the manifest's order; retired ones last.
    pub placements: Vec<PlacementStatus>,
    /// The guests, by number.
    pub guests: Vec<GuestStatus>,
    /// The targets of alarms, by name.
    #[serde(default)]
    pub targets: Vec<TargetStatus>,
    /// The issuers that the manifest names.
    #[serde(default)]
    pub issuers: Vec<IssuerStatus>,
}

/// An issuer that the manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The roots that it has now; empty while it has not been asked, or if it cannot say.
    pub roots: Vec<RootStatus>,
}

/// A root that an issuer has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RootStatus {
    /// The SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// Its subject.
    pub subject: String,
    /// Its last second.
    pub not_after: Timestamp,
    /// Whether the issuer's next certificate ends at it.
    pub signing: bool,
}

/// Which manifest is in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ManifestStatus {
    /// Since when it is in force; null before there ever was one.
    pub since: Option<Timestamp>,
    /// Why the file on disk is not in force, each problem with file, line and column; null if it is.
    pub problem: Option<String>,
}

/// One placement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlacementStatus {
    /// `docker@1001`; with the manifest's name for the guest if its number is not known.
    pub placement: String,
    /// The certificate.
    pub certificate: CertificateName,
    /// The guest: its VMID, or `host`; null if it is not known.
    pub guest: Option<Guest>,
    /// The guest's name; null if it has none.
    pub guest_name: Option<String>,
    /// How far the installed content has come.
    pub stage: Stage,
    /// How far it can come: `reloaded` if there is no probe.
    pub goal: Stage,
    /// How good the installed certificate is; null while nothing is installed.
    #[serde(default)]
    pub validity: Option<Validity>,
    /// Whether something is to be done for it now: what is installed is missing, late, not what the manifest asks for, or
    /// not at its goal. A service that is left alone until its window opens is not due before that.
    #[serde(default)]
    pub due: bool,
    /// The installed content's number.
    pub generation: Option<u64>,
    /// The number of the content that is on its way; null if none is.
    pub incoming: Option<u64>,
    /// The installed leaf's serial number, as `openssl x509 -serial` prints it.
    pub serial: Option<String>,
    /// The installed leaf's names; those ordered, while nothing is installed.
    pub names: Option<SubjectNames>,
    /// First second of the installed leaf's validity.
    pub not_before: Option<Timestamp>,
    /// Last second in which what is installed is valid: the earliest end of the leaf and its intermediates.
    pub not_after: Option<Timestamp>,
    /// When the next renewal is due.
    pub renew_at: Option<Timestamp>,
    /// Who signed what is installed; who will, while nothing is.
    pub issuer: String,
    /// The fingerprints of the roots in its file `ca`; empty if it has none.
    #[serde(default)]
    pub roots: Vec<Fingerprint>,
    /// Whether it is no longer in the manifest and its files are still there.
    pub retired: bool,
    /// Files at places that the manifest named earlier.
    pub left_behind: Vec<String>,
    /// The freeze that lasts longest; null if it is not frozen.
    #[serde(default)]
    pub frozen: Option<Freeze>,
    /// Why it makes no progress; null if nothing is in the way.
    pub trouble: Option<Trouble>,
    /// What a person should change in the guest, although nothing holds it up.
    #[serde(default)]
    pub warning: Option<String>,
    /// How often its services were notified for it since its agent started.
    #[serde(default, skip_serializing_if = "Notified::is_none")]
    pub notified: Notified,
    /// The recipe that the manifest names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// The kind of key of the installed leaf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The root that the installed chain ends at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Fingerprint>,
    /// When its service may be disturbed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// When its service may be disturbed next; empty if at any time, or not before a freeze is lifted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub openings: Vec<WindowOpening>,
    /// Its files, services and probes in words, as `pinion show` prints them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// Whether what is installed was there before Pinion, which took it over as it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// Whether its certificate is only watched: somebody else renews it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watched: bool,
    /// From when a certificate that is only watched counts as expiring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_from: Option<Timestamp>,
    /// What the manifest asks for, and what is done about it; only in what `pinion show` and `pinion explain` print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Box<Wanted>>,
    /// Where the time of its last renewal went; only in what `pinion show` and `pinion explain` print, and null if there was
    /// none since the controller started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Box<RenewalTiming>>,
}

/// What the manifest asks for in one place, and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Wanted {
    /// Every name of the certificate; empty if only roots are placed.
    pub names: Vec<String>,
    /// The kind of its key; null if only roots are placed.
    pub key: Option<String>,
    /// Whether every renewal makes a new key.
    pub rotates: bool,
    /// Whether the certificate's placements have one key.
    pub shared: bool,
    /// How long it should be valid, for example `30d`; null if only roots are placed.
    pub duration: Option<String>,
    /// Who should sign it, or whose roots are placed.
    pub issuer: String,
    /// Whether its files are to be removed.
    pub purge: bool,
    /// What is done now: keep, watch, order, adopt, trust, wait, block or purge.
    pub action: String,
    /// Why, in words.
    pub why: String,
}

impl PlacementStatus {
    /// How it is.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let validity = self.validity.filter(|_| !self.retired);
        Verdict::of(validity, self.trouble.as_ref().map(|trouble| trouble.halt), self.due)
    }

    /// Whether it counts for the verdict on everything: one that the manifest does not name is asked for by nobody, unless
    /// it needs a person.
    #[must_use]
    pub fn counts(&self) -> bool {
        !self.retired || self.trouble.as_ref().is_some_and(|trouble| trouble.halt == Halt::Blocked)
    }
}

/// A time in which a service may be disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WindowOpening {
    /// Its first second.
    pub opens: Timestamp,
    /// Its end.
    pub closes: Timestamp,
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestStatus {
    /// Its VMID, or `host`.
    pub guest: Guest,
    /// Its name; null if it has none.
    pub name: Option<String>,
    /// Whether its agent is linked.
    pub linked: bool,
    /// Since when that is so; null if it never was linked.
    pub since: Option<Timestamp>,
    /// How many placements that the manifest does not contain are not listed.
    #[serde(default)]
    pub unlisted: usize,
    /// The agent's version, as it last reported it.
    pub agent_version: Option<String>,
    /// What Proxmox says of it.
    #[serde(flatten)]
    pub presence: Presence,
}

/// A guest that has an identity, or that the manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdentityStatus {
    /// Its VMID, or `host`.
    pub guest: Guest,
    /// Its name; null if it has none.
    pub name: Option<String>,
    /// What Proxmox says of it.
    #[serde(flatten)]
    pub presence: Presence,
    /// How many identities it has had; 0 if it has none.
    pub generation: u64,
    /// When it joined last; null if it has no identity.
    pub joined_at: Option<Timestamp>,
    /// When it got its newest identity; null if it has none.
    pub issued_at: Option<Timestamp>,
    /// The host name that it reported when it joined.
    pub hostname: String,
    /// Why it is locked; null if it is not.
    pub locked: Option<String>,
}
