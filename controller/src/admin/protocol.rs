//! What is said on the controller's socket: a question, then one or more answers, each a line of JSON.
//!
//! The documents are what `--json` prints; fields are added, never renamed or removed.

use std::time::Duration;

use pinion_proto::{
    bundle::Fingerprint,
    clock::Timestamp,
    examination::Subject,
    length::written,
    stage::{Halt, Stage, Trouble},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::examination::{AskExamine, ExaminedGuest};
use super::purge::{AskPurge, Purging};
pub use super::status::{
    GuestStatus, IdentityStatus, IssuerStatus, ManifestStatus, PlacementStatus, RootStatus, Status, Wanted,
    WindowOpening,
};
pub use super::{agent_removal::AgentRemoval, web::AskWeb};
use crate::{events::Event, freeze::Freeze, issuer::IssuerCheck, notify::Tested, web::access::WebToken};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// [`Answer::Status`].
    Status(Selection),
    /// [`Answer::Plan`].
    Plan,
    /// [`Answer::Plan`]: what would be done if this text were the manifest.
    PlanOf(String),
    /// [`Answer::Progress`] at each change until everything is reached or the asker goes away; then [`Answer::Ensured`].
    Ensure(Ensure),
    /// [`Answer::Token`].
    Token(String),
    /// [`Answer::Guests`].
    Guests,
    /// [`Answer::Step`]s, then [`Answer::Enrolled`] or [`Answer::NotEnrolled`]: an agent and an identity, brought in
    /// through the hypervisor.
    Enroll(String),
    /// [`Answer::End`]: a guest has been started or changed, and is looked at now.
    Wake(String),
    /// [`Answer::End`] once the manifest means the guest that has this name now.
    AcceptName(String),
    /// [`Answer::End`] once a locked guest may join again.
    Unlock(String),
    /// [`Answer::End`] once a guest's identity and what is known of it are forgotten.
    Forget(String),
    /// [`Answer::Evicted`]: a guest's identity is refused, and it is not brought in again by itself; then
    /// [`Answer::AgentRemoval`].
    Evict {
        /// The guest.
        guest: String,
        /// Whether what it held is revoked, and shared keys that it had are given up.
        compromised: bool,
    },
    /// [`Answer::End`] once the end of a guest that was destroyed is taken note of.
    Acknowledge(String),
    /// [`Answer::Issuers`].
    Issuers,
    /// [`Answer::IssuerRoots`]: of one issuer, or of those that the manifest uses.
    IssuerRoots(Option<String>),
    /// [`Answer::Event`]s: the last ones, then [`Answer::End`], or more as they happen.
    Events(AskEvents),
    /// [`Answer::Frozen`]: nothing disruptive is done to placements, or it may be again.
    Freeze(AskFreeze),
    /// [`Answer::Purging`] once files of placements are asked to be removed.
    Purge(AskPurge),
    /// [`Answer::Shown`]: a guest with its placements, or placements whole.
    Show(AskShow),
    /// [`Answer::Tested`]: a test message was sent to a target of alarms, or to all.
    NotifyTest(Option<String>),
    /// [`Answer::WebLink`], [`Answer::WebToken`], [`Answer::WebTokens`], or [`Answer::End`] once a token is taken back.
    Web(AskWeb),
    /// [`Answer::Examined`] of each guest, as it comes; then [`Answer::End`].
    Examine(AskExamine),
}

impl Ask {
    /// The same, with each name of a certificate or placement as `name` has it.
    #[must_use]
    pub(super) fn with_names(mut self, name: impl Fn(&str) -> String) -> Self {
        let names = match &mut self {
            Self::Status(selection) => &mut selection.names[..],
            Self::Ensure(ensure) => &mut ensure.selection.names,
            Self::Freeze(freeze) => &mut freeze.selection.names,
            Self::Purge(ask) => &mut ask.names,
            Self::Show(show) => std::slice::from_mut(&mut show.name),
            Self::Events(AskEvents { name: Some(name), .. }) => std::slice::from_mut(name),
            _ => &mut [],
        };
        for one in names {
            *one = name(one);
        }
        self
    }

    /// The command that asks for a change; none for those that only look.
    #[must_use]
    pub fn change(&self) -> Option<&'static str> {
        match self {
            Self::Status(_)
            | Self::Show(_)
            | Self::Plan
            | Self::PlanOf(_)
            | Self::Guests
            | Self::Issuers
            | Self::IssuerRoots(_)
            | Self::Events(_) => None,
            Self::Examine(AskExamine { subject: Subject::Doctor, .. }) => None,
            // Guests connect to their services.
            Self::Examine(_) => Some("pinion discover"),
            // Also without `--renew` it makes Pinion try at once what it had put off.
            Self::Ensure(_) => Some("pinion ensure"),
            Self::Token(_) => Some("pinion token create"),
            Self::Enroll(_) => Some("pinion guest enroll"),
            Self::Wake(_) => Some("pinion guest wake"),
            Self::AcceptName(_) => Some("pinion guest accept-name"),
            Self::Unlock(_) => Some("pinion guest unlock"),
            Self::Forget(_) | Self::Acknowledge(_) => Some("pinion guest forget"),
            Self::Purge(_) => Some("pinion purge"),
            Self::Freeze(_) => Some("pinion freeze"),
            Self::Evict { .. } => Some("pinion guest evict"),
            // It disturbs people, and shows what targets answer.
            Self::NotifyTest(_) => Some("pinion notify test"),
            Self::Web(ask) => ask.change(),
        }
    }
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskEvents {
    /// Whether to go on.
    pub follow: bool,
    /// How many of the last ones.
    pub last: usize,
    /// Only those about this certificate, placement or guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only those from this moment on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// What is to be shown whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskShow {
    /// A guest (`1001`, its name, `host`), a certificate (`docker`) or a placement (`docker@1001`).
    pub name: String,
    /// How many placements to pass over.
    pub from: usize,
    /// How many to show at most.
    pub count: usize,
}

/// A page of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShownPage {
    /// The guest, where one was asked for.
    pub guest: Option<GuestStatus>,
    /// How many placements come before these.
    pub from: usize,
    /// How many there are in all.
    pub total: usize,
    /// Those of this page: the manifest's first, then those that it does not name.
    pub placements: Vec<PlacementStatus>,
}

/// Which placements are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Certificates (`docker`) or placements (`docker@1001`); none means all.
    pub names: Vec<String>,
    /// Only those in this guest: a VMID, a name, or `host`.
    #[serde(default)]
    pub guest: Option<String>,
    /// And those in these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_guests: Vec<String>,
}

impl Selection {
    /// These names, only in these guests where there are any.
    #[must_use]
    pub fn new(names: Vec<String>, guests: Vec<String>) -> Self {
        let mut guests = guests.into_iter();
        Self { names, guest: guests.next(), more_guests: guests.collect() }
    }
}

/// What is to be frozen, or to be frozen no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskFreeze {
    /// Which placements.
    pub selection: Selection,
    /// Until when; none until it is lifted.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Whether freezes are lifted.
    #[serde(default)]
    pub lift: bool,
}

/// What is frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Frozen {
    /// All freezes.
    pub freezes: Vec<Freeze>,
    /// The same in words, and what a freeze does not hold up.
    pub notes: Vec<String>,
}

/// What is to be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ensure {
    /// Which placements.
    pub selection: Selection,
    /// Whether each gets a new certificate in any case.
    pub renew: bool,
    /// The renewal waits for no window.
    #[serde(default)]
    pub now: bool,
    /// How far they are to come.
    pub until: Stage,
    /// Whether what needs a person is waited for too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Ask::Status`].
    Status(Box<Status>),
    /// To [`Ask::Show`].
    Shown(Box<ShownPage>),
    /// To [`Ask::Plan`].
    Plan(PlanDocument),
    /// How far the placements of an [`Ask::Ensure`] are.
    Progress(EnsureProgress),
    /// An [`Ask::Ensure`] has ended: everything is reached, or some are blocked.
    Ensured(EnsureProgress),
    /// To [`Ask::Token`]: the token's line.
    Token(String),
    /// To [`Ask::Guests`].
    Guests(Vec<IdentityStatus>),
    /// How far an [`Ask::Enroll`] is, in words.
    Step(String),
    /// An [`Ask::Enroll`] has ended, in words: the guest is linked.
    Enrolled(String),
    /// An [`Ask::Enroll`] needs a person.
    NotEnrolled(Trouble),
    /// To [`Ask::Issuers`].
    Issuers(Vec<IssuerReport>),
    /// To [`Ask::IssuerRoots`].
    IssuerRoots(Vec<IssuerRootsReport>),
    /// To [`Ask::Freeze`]: everything that is frozen now.
    Frozen(Frozen),
    /// Guests remove files.
    Purging(Purging),
    /// To [`Ask::Evict`]: what was done and what could not be, in lines.
    Evicted(Vec<String>),
    /// To [`Ask::Evict`], after [`Answer::Evicted`]: what became of the agent in the guest.
    AgentRemoval(Box<AgentRemoval>),
    /// To [`Ask::NotifyTest`].
    Tested(Vec<Tested>),
    /// To [`AskWeb::Link`]: the link.
    WebLink(String),
    /// To [`AskWeb::CreateToken`]: the token.
    WebToken(String),
    /// To [`AskWeb::Tokens`].
    WebTokens(Vec<WebToken>),
    /// To [`Ask::Examine`]: what became of the question to one guest.
    Examined(Box<ExaminedGuest>),
    /// Something happened.
    Event(Event),
    /// Nothing more comes.
    End,
    /// Nothing has this name.
    NoSuchName(String),
    /// The question makes no sense, in words.
    Refused(String),
    /// This user may not ask that, in words.
    Forbidden(String),
    /// Something failed inside, in words.
    Failed(String),
}

/// What would be done now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanDocument {
    /// A step for each placement.
    pub steps: Vec<PlanStep>,
    /// What is to be known of issuers whose roots change.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the manifest names and nobody here knows: guests and recipes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// When something changes by itself next.
    pub wake_at: Option<Timestamp>,
}

/// What would be done for a placement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanStep {
    /// `docker@1001`.
    pub placement: String,
    /// keep, order, adopt, trust, wait, block, purge or retired.
    pub action: String,
    /// Why, in words.
    pub why: String,
}

/// How far the placements of an ensure are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnsureProgress {
    /// Of progress, every placement that is meant at first, and then those whose line has changed; every one at the end.
    pub placements: Vec<ProgressLine>,
}

/// How far one placement is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressLine {
    /// `docker@1001`.
    pub placement: String,
    /// How far the installed content has come.
    pub stage: Stage,
    /// The installed leaf's serial number.
    pub serial: Option<String>,
    /// Whether it is as was asked.
    pub reached: bool,
    /// What holds it up, while it is not.
    pub trouble: Option<Trouble>,
    /// What is going on, in a few words.
    pub now: String,
}

impl ProgressLine {
    /// Whether it needs a person before it can be reached.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.is_held_up() && self.trouble.as_ref().is_some_and(|t| t.halt == Halt::Blocked)
    }

    /// Whether something is in its way.
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        !self.reached && self.trouble.is_some()
    }
}

/// The roots that an issuer's certificates end at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerRootsReport {
    /// The issuer's name.
    pub name: String,
    /// Its roots; several while one takes the other's place.
    pub roots: Vec<IssuerRoot>,
    /// Why they are not known.
    pub trouble: Option<Trouble>,
}

/// One root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerRoot {
    /// The SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// Its subject.
    pub subject: String,
    /// The last second of its validity.
    pub not_after: Timestamp,
    /// Whether new certificates end at it.
    pub is_signing: bool,
    /// The certificate.
    pub pem: String,
}

/// An issuer's check, good or bad.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IssuerReport {
    /// The issuer's name.
    pub name: String,
    /// What it says of itself.
    pub check: Option<IssuerCheck>,
    /// Why it cannot sign.
    pub trouble: Option<Trouble>,
    /// How long the check took.
    #[serde(with = "written")]
    #[schemars(with = "String")]
    pub took: Duration,
}
