//! What a guest says that it holds. Levels, not events: a report replaces the one before it.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    bundle::{Fingerprint, Leaf},
    clock::Timestamp,
    hwaddr::HwAddr,
    id::CertificateName,
    names::{SubjectName, SubjectNames},
    spec::{GuestPath, PlainName, Usage},
    stage::{Stage, Trouble},
    timing::GuestTiming,
};

/// The state of one placement, as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementReport {
    /// The certificate's name in the manifest.
    pub certificate: CertificateName,
    /// The highest generation ever used here, installed or not; the next order must be above it.
    pub last_generation: u64,
    /// The stage of [`Self::held`]; [`Stage::Pending`] or [`Stage::Issued`] when nothing is installed.
    pub stage: Stage,
    /// The furthest stage that it can come to: [`Stage::Reloaded`] where there is nothing to probe.
    #[serde(default = "furthest")]
    pub goal: Stage,
    /// Which spec this report is about ([`crate::spec::PlacementSpec::revision`]); 0 before the first.
    #[serde(default)]
    pub revision: u64,
    /// The installed certificate, if there is one.
    #[serde(default)]
    pub held: Option<Held>,
    /// What was ordered and is not installed yet.
    #[serde(default)]
    pub incoming: Option<Incoming>,
    /// What holds the placement up.
    #[serde(default)]
    pub trouble: Option<Trouble>,
    /// What a person should change, although nothing holds the placement up.
    #[serde(default)]
    pub warning: Option<String>,
    /// No longer asked for; its files are still there.
    #[serde(default)]
    pub retired: bool,
    /// Files that an earlier spec put elsewhere, which stay until they are purged.
    #[serde(default)]
    pub left_behind: Vec<GuestPath>,
    /// Which roots the readers of its files of [`crate::spec::Part::Ca`] are known to have; none where it has no such file.
    #[serde(default)]
    pub roots: Box<[Fingerprint]>,
    /// What was in the places of its files before Pinion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub originals: Vec<Original>,
    /// Telling the service of new files disturbs it, or may: a restart, or a hook, of which nobody knows.
    #[serde(default)]
    pub disruptive: bool,
    /// Which side of a connection shows its certificate, as manifest or recipe say; none when neither does.
    #[serde(default)]
    pub usage: Option<Usage>,
    /// The look that was asked for last and is done; 0 before the first since the agent started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub looked: u64,
    /// What the placement comes to in its guest; none before its agent has decided that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// The pair that is in the places of its files while it holds nothing; none where not all of them are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Box<Found>>,
    /// How often its services were notified for it since the agent started.
    #[serde(default, skip_serializing_if = "Notified::is_none")]
    pub notified: Notified,
    /// What the service showed last whose certificate is only watched; none where it is Pinion's, and before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched: Option<Box<WatchedCertificate>>,
    /// How long the steps of its last renewal took; none before there was one since the agent started. It is in no document.
    #[serde(skip)]
    pub timing: Option<Box<GuestTiming>>,
}

/// A certificate that a service shows and that is not Pinion's to renew. It may be anything: what it says is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedCertificate {
    /// Its names, without their kinds; at most [`crate::examination::MAX_SHOWN_NAMES`].
    pub names: Vec<String>,
    /// Its issuer's distinguished name.
    pub issuer: String,
    /// Its serial number, as `openssl x509 -serial` prints it.
    pub serial: String,
    /// The first second of its validity.
    pub not_before: Timestamp,
    /// The last second in which all certificates that were shown are valid.
    pub expires: Timestamp,
}

/// How often services were notified of a placement's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Notified {
    /// In ways that end no process, and by hooks.
    pub reloads: u32,
    /// By restarts of a unit, a container or a Swarm service.
    pub restarts: u32,
}

impl Notified {
    /// Whether they never were.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.reloads == 0 && self.restarts == 0
    }
}

/// A pair that was there before Pinion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// It can be adopted, as far as the guest can tell.
    Good(FoundPair),
    /// Why it cannot.
    Unfit(String),
}

/// A pair that a guest could adopt: it is what the spec asks for, is private, and is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundPair {
    /// The end-entity certificate.
    pub leaf: Leaf,
    /// The last second in which its whole chain is valid.
    pub chain_ends: Timestamp,
    /// The root that its chain ends at, one of those in the spec.
    pub root: Fingerprint,
}

/// What a placement comes to in its guest: lines of text for people, by which nothing is decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Details {
    /// Each file: its part, path, mode and owner.
    #[serde(default)]
    pub files: Vec<String>,
    /// How each service is notified.
    #[serde(default)]
    pub services: Vec<String>,
    /// Where each service is looked at.
    #[serde(default)]
    pub probes: Vec<String>,
    /// The authorities above the installed leaf, up to the root: each with its end.
    #[serde(default)]
    pub chain: Vec<String>,
}

impl Details {
    /// Every line.
    pub fn lines(&self) -> impl Iterator<Item = &String> {
        self.files.iter().chain(&self.services).chain(&self.probes).chain(&self.chain)
    }
}

impl PlacementReport {
    /// About how much memory it takes (bytes).
    #[must_use]
    pub fn weight(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.leaf.der().len());
        let incoming = match self.incoming.as_ref().map(|incoming| &incoming.progress) {
            Some(Progress::Requested(csr)) => csr.len(),
            Some(Progress::Delivered) | None => 0,
        };
        let words = |trouble: &Trouble| trouble.attempt.len() + trouble.cause.len() + trouble.remedy.len();
        let paths: usize = self.left_behind.iter().map(|path| path.as_str().len() + size_of::<GuestPath>()).sum();
        let lines = self.details.iter().flat_map(|details| details.lines());
        let details: usize = lines.map(|line| line.len() + size_of::<String>()).sum();
        size_of::<Self>()
            + details
            + held
            + incoming
            + self.trouble.as_ref().map_or(0, words)
            + self.warning.as_ref().map_or(0, String::len)
            + paths
            + self.originals.iter().map(Original::weight).sum::<usize>()
            + size_of_val(&*self.roots)
            + self.found.as_ref().map_or(0, |found| found.weight())
            + self.watched.as_ref().map_or(0, |watched| watched.weight())
    }

    /// The last second in which clients accept what is shown or held; none where neither is known.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        let watched = self.watched.as_ref().map(|watched| watched.expires);
        watched.or_else(|| self.held.as_ref().map(Held::expires))
    }

    /// The report of a placement that nothing is known of.
    #[must_use]
    pub fn nothing(certificate: CertificateName) -> Self {
        Self {
            certificate,
            last_generation: 0,
            stage: Stage::Pending,
            goal: Stage::Served,
            revision: 0,
            held: None,
            incoming: None,
            trouble: None,
            warning: None,
            retired: false,
            left_behind: Vec::new(),
            roots: Box::default(),
            originals: Vec::new(),
            disruptive: false,
            usage: None,
            looked: 0,
            details: None,
            found: None,
            notified: Notified::default(),
            watched: None,
            timing: None,
        }
    }
}

impl WatchedCertificate {
    /// Its names, as far as they are names; none without any.
    #[must_use]
    pub fn subject_names(&self) -> Option<SubjectNames> {
        let names = self.names.iter().filter_map(|name| name.parse().ok());
        SubjectNames::try_from(names.collect::<Vec<_>>()).ok()
    }

    /// From when its owner should have renewed it: a fifth of its life is left, and 30 days at most.
    #[must_use]
    pub fn expiring_from(&self) -> Timestamp {
        let life = self.expires.since(self.not_before);
        self.expires - (life / 5).min(Duration::from_secs(30 * 24 * 3600))
    }

    fn weight(&self) -> usize {
        let names = self.names.iter().map(|name| name.len() + size_of::<String>()).sum::<usize>();
        size_of::<Self>() + names + self.issuer.len() + self.serial.len()
    }
}

impl Found {
    fn weight(&self) -> usize {
        let told = match self {
            Self::Good(pair) => pair.leaf.der().len(),
            Self::Unfit(why) => why.len(),
        };
        size_of::<Self>() + told
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A file that Pinion replaces, or has replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Original {
    /// Where it is, or was.
    pub path: GuestPath,
    /// Whose certificate it is: its names, or its subject; empty for a private key alone.
    pub subject: String,
    /// The certificate's issuer.
    pub issuer: String,
    /// When the certificate ends.
    #[serde(default)]
    pub not_after: Option<Timestamp>,
    /// Where a copy is kept in the guest; none while nothing is replaced yet.
    #[serde(default)]
    pub kept: Option<GuestPath>,
    /// The SHA-256 of the subjectPublicKeyInfo of the private key in it, or of its certificate's; none where there is
    /// neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Fingerprint>,
}

impl Original {
    fn weight(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| kept.as_str().len());
        size_of::<Self>() + self.path.as_str().len() + self.subject.len() + self.issuer.len() + kept
    }
}

impl fmt::Display for Original {
    /// "a certificate of web.lan by Home CA, valid until 2027-01-01T00:00:00Z".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.not_after {
            None => f.write_str("a private key"),
            Some(at) => write!(f, "a certificate of {} by {}, valid until {at}", self.subject, self.issuer),
        }
    }
}

fn furthest() -> Stage {
    Stage::Served
}

/// A certificate whose files are in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The number of this content.
    pub generation: u64,
    /// The end-entity certificate in those files.
    pub leaf: Leaf,
    /// The issuer that signed it, by its name in the manifest.
    pub issuer: PlainName,
    /// The common name that it was ordered with; none when that was not written down. The leaf's own is its issuer's
    /// affair: a CA may leave it out, or put another there.
    #[serde(default)]
    pub common_name: Option<SubjectName>,
    /// The root that its chain ends at; none when that was not said.
    #[serde(default)]
    pub root: Option<Fingerprint>,
    /// The last second in which its whole chain is valid ([`crate::bundle::Chain::expires`]); none when that was not said.
    #[serde(default)]
    pub chain_ends: Option<Timestamp>,
    /// It was there before Pinion, with its key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

impl Held {
    /// The last second in which clients accept it: the earliest end in its chain, as far as that is known.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.chain_ends.map_or(self.leaf.not_after(), |end| end.min(self.leaf.not_after()))
    }
}

/// A generation on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incoming {
    /// The number that was ordered.
    pub generation: u64,
    /// How far it is.
    pub progress: Progress,
}

/// How far an incoming generation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// The certificate is asked for with this PKCS #10 request (DER); empty when the key is shared,
    /// because the controller has it.
    Requested(Vec<u8>),
    /// The certificate has come and is being installed.
    Delivered,
}

/// What a guest says of itself: for the operator to read, and to tell a guest from what was made of it by cloning.
/// Nothing is allowed because of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GuestFacts {
    /// The agent's version, as `pinion-agent --version` prints it.
    pub agent_version: String,
    /// The guest's host name.
    pub hostname: String,
    /// The guest's machine-id, empty where it has none.
    pub machine_id: String,
    /// Another one after each start of the guest; empty where the guest has no such number.
    #[serde(default)]
    pub boot_id: String,
    /// Its network cards' addresses.
    #[serde(default)]
    pub hwaddrs: Vec<HwAddr>,
    /// Which fields of a spec its agent knows ([`crate::spec::SPEC_LEVEL`]); 0 where the agent does not say.
    #[serde(default)]
    pub spec_level: u32,
    /// Whether the agent looks at a placement when it is asked to, and says when it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub looks: bool,
    /// It says what a person wants to know about its guest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub examines: bool,
}
