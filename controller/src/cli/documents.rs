//! What the commands print with `--json`: the documents that are no answers of the daemon's, and the list of all.
//!
//! Invariant: members are added, never renamed or removed. The schemas in docs/reference/schemas are made of [`documents`].

use std::path::PathBuf;

use pinion_proto::schema::Document;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    explain::{Explained, Timings},
    setup,
};
use crate::{
    admin::protocol::{
        AgentRemoval, ExaminedGuest, Frozen, IdentityStatus, IssuerReport, IssuerRootsReport, PlanDocument,
        ProgressLine, ShownPage, Status,
    },
    backup::{Restored, Taken},
    config::check,
    doctor,
    events::Event,
    manifest::{Problem, import},
    notify::Tested,
    support,
    web::access::WebToken,
};

/// Every document, by the command's name.
#[must_use]
pub fn documents() -> Vec<Document> {
    vec![
        Document::answer::<Taken>("pinion-backup", &["pinion backup"]),
        Document::with_error::<check::Report>("pinion-config-check", &["pinion config check"]),
        Document::answer::<Vec<ExaminedGuest>>("pinion-discover", &["pinion discover"]),
        Document::with_error::<doctor::Report>("pinion-doctor", &["pinion doctor"]),
        Document::with_error::<Ensured>("pinion-ensure", &["pinion ensure"]),
        Document::answer::<Event>("pinion-events", &["pinion events"]),
        Document::answer::<Explained>("pinion-explain", &["pinion explain"]),
        Document::answer::<Timings>("pinion-explain-timing", &["pinion explain --timing"]),
        Document::answer::<Frozen>("pinion-freeze", &["pinion freeze"]),
        Document::answer::<Done>(
            "pinion-guest",
            &["pinion guest accept-name", "pinion guest forget", "pinion guest unlock", "pinion guest wake"],
        ),
        Document::with_error::<Enrolled>("pinion-guest-enroll", &["pinion guest enroll"]),
        Document::with_error::<Evicted>("pinion-guest-evict", &["pinion guest evict"]),
        Document::answer::<Vec<IdentityStatus>>("pinion-guest-list", &["pinion guest list"]),
        Document::answer::<Vec<IssuerReport>>("pinion-issuer-check", &["pinion issuer check"]),
        Document::answer::<Vec<IssuerRootsReport>>("pinion-issuer-root", &["pinion issuer root"]),
        Document::with_error::<ManifestCheck>("pinion-manifest-check", &["pinion manifest check"]),
        Document::answer::<import::Report>("pinion-manifest-import", &["pinion manifest import phoenix"]),
        Document::with_error::<NotifyTest>("pinion-notify-test", &["pinion notify test"]),
        Document::answer::<PlanDocument>("pinion-plan", &["pinion plan"]),
        Document::with_error::<Purged>("pinion-purge", &["pinion purge"]),
        Document::answer::<Restored>("pinion-restore", &["pinion restore"]),
        Document::with_error::<setup::Report>("pinion-setup", &["pinion setup"]),
        Document::answer::<ShownPage>("pinion-show", &["pinion show"]),
        Document::answer::<Status>("pinion-status", &["pinion status"]),
        Document::with_error::<Checked>("pinion-status-check", &["pinion status --check"]),
        Document::answer::<support::Written>("pinion-support-bundle", &["pinion support-bundle"]),
        Document::answer::<Token>("pinion-token-create", &["pinion token create"]),
        Document::with_error::<Uninstalled>("pinion-uninstall", &["pinion uninstall"]),
        Document::answer::<WebLink>("pinion-web-open", &["pinion web open"]),
        Document::answer::<WebSecret>("pinion-web-token-create", &["pinion web token create"]),
        Document::answer::<Vec<WebToken>>("pinion-web-token-list", &["pinion web token list"]),
        Document::answer::<Done>("pinion-web-token-revoke", &["pinion web token revoke"]),
    ]
}

/// How far the placements are that were asked for.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Ensured<'a> {
    /// The exit code.
    pub(super) exit: u8,
    /// Every placement that is meant.
    pub(super) placements: &'a [ProgressLine],
}

/// What was done.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Done<'a> {
    /// What was done, in words.
    pub(super) done: &'a str,
}

/// How an enrolment ended.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Enrolled<'a> {
    /// The exit code.
    pub(super) exit: u8,
    /// The guest, as it was written on the command line.
    pub(super) guest: &'a str,
    /// What happened, in words.
    pub(super) told: &'a str,
}

/// What became of a guest that was evicted.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evicted<'a> {
    /// The guest, as it was written on the command line.
    pub(super) guest: &'a str,
    /// Whether its certificates are revoked, and the keys that it shared are replaced.
    pub(super) compromised: bool,
    /// What was done and what could not be done, in lines.
    pub(super) done: &'a [String],
    /// What became of its agent.
    pub(super) agent: &'a AgentRemoval,
}

/// What is wrong with a manifest, or nothing.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct ManifestCheck {
    /// Whether it could be put in force.
    pub(super) ok: bool,
    /// How many certificates it has; absent if it has mistakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) certificates: Option<usize>,
    /// In how many places they are; absent if it has mistakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) placements: Option<usize>,
    /// The files that it is, in their order; none if it has mistakes.
    pub(super) files: Vec<PathBuf>,
    /// Its mistakes, each with its file.
    pub(super) problems: Vec<Problem>,
    /// Issuers, guests and recipes that this host does not know; absent if the manifest has mistakes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warnings: Option<Vec<String>>,
}

/// Which targets of alarms took a test message.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct NotifyTest<'a> {
    /// The exit code: by the worst target.
    pub(super) exit: u8,
    /// Each target that was tried.
    pub(super) targets: &'a [Tested],
}

/// Which placements' files are removed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Purged<'a> {
    /// The names, as they were written on the command line.
    pub(super) purging: &'a [String],
    /// What the agents that are linked have answered, in words.
    pub(super) results: Vec<&'a str>,
}

/// How everything is, in one line.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Checked<'a> {
    /// The exit code: by the worst that is true.
    pub(super) exit: u8,
    /// The line.
    pub(super) text: &'a str,
}

/// A new join token.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Token<'a> {
    /// The guest, as it was written on the command line.
    pub(super) guest: &'a str,
    /// The token: a secret that works once, within ten minutes.
    pub(super) token: &'a str,
}

/// A link to the page.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WebLink<'a> {
    /// The link: a secret that works once, within two minutes.
    pub(super) link: &'a str,
}

/// A new token for the page and the metrics.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WebSecret<'a> {
    /// The token: a secret that works until it is taken back.
    pub(super) token: &'a str,
}

/// What became of all guests.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Uninstalled<'a> {
    /// Each guest.
    pub(super) guests: Vec<Left<'a>>,
    /// In how many guests there is no agent any more.
    pub(super) gone: usize,
    /// What stays on this host when you remove the package: paths.
    pub(super) stays: &'a [String],
}

/// What became of one guest.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Left<'a> {
    /// The guest.
    pub(super) guest: &'a str,
    /// What was done and what could not be done, in lines.
    pub(super) done: &'a [String],
    /// What became of its agent.
    pub(super) agent: &'a AgentRemoval,
}
