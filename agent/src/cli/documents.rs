//! What the commands print with `--json`, and the list of all such documents.
//!
//! Invariant: members are added, never renamed or removed. The schemas in docs/reference/schemas are made of `documents`,
//! which the feature `schema` compiles: a released agent has none of it.

use std::path::Path;

#[cfg(feature = "schema")]
use pinion_proto::schema::Document;
use pinion_proto::{clock::Timestamp, id::Guest, spec::GuestPath, stage::Validity};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    config::ConfigMistake,
    link::LinkStatus,
    local::{LocalPlacement, LocalStatus},
    recipe::{Complaint, Listed},
};

/// Every document, by the command's name.
#[cfg(feature = "schema")]
#[must_use]
pub fn documents() -> Vec<Document> {
    vec![
        Document::with_error::<Awaited<'_>>("pinion-agent-await", &["pinion-agent await"]),
        Document::with_error::<ConfigChecked<'_>>("pinion-agent-config-check", &["pinion-agent config check"]),
        Document::answer::<Joined>("pinion-agent-join", &["pinion-agent join"]),
        Document::with_error::<RecipeChecked<'_>>("pinion-agent-recipe-check", &["pinion-agent recipe check"]),
        Document::answer::<Recipes>("pinion-agent-recipe-list", &["pinion-agent recipe list"]),
        Document::answer::<crate::recipe::ShownRecipe>("pinion-agent-recipe-show", &["pinion-agent recipe show"]),
        Document::with_error::<SealDocument<'_>>("pinion-agent-seal", &["pinion-agent seal"]),
        Document::answer::<StatusDocument<'_>>("pinion-agent-status", &["pinion-agent status"]),
    ]
}

/// How an await ended.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub(super) struct Awaited<'a> {
    /// The exit code.
    pub(super) exit: u8,
    /// Why it ended so, in words.
    pub(super) why: &'a str,
    /// Those of the placements that are known here.
    pub(super) placements: Vec<&'a LocalPlacement>,
}

/// What is wrong with agent.toml, or nothing.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub(super) struct ConfigChecked<'a> {
    /// The file that was checked.
    pub(super) file: &'a Path,
    /// Whether nothing is wrong.
    pub(super) ok: bool,
    /// The mistakes in it; none either if it could not be read, which the error says.
    pub(super) mistakes: Vec<ConfigMistake>,
}

/// The identity that this guest has now.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub(super) struct Joined {
    /// Which guest this is.
    pub(super) guest: Guest,
    /// How many identities the guest has had.
    pub(super) identity_generation: u64,
    /// The last second of the identity's validity.
    pub(super) not_after: Timestamp,
}

/// What is wrong with a recipe, or nothing.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub(super) struct RecipeChecked<'a> {
    /// The file that was checked.
    pub(super) file: &'a Path,
    /// Whether nothing is wrong.
    pub(super) ok: bool,
    /// The mistakes in it.
    pub(super) complaints: Vec<Complaint>,
}

/// The recipes that this guest can use.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub(super) struct Recipes {
    /// Each of them.
    pub(super) recipes: Vec<Listed>,
}

/// What sealing removed, or what prevents it.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Sealed"))]
pub(super) struct SealDocument<'a> {
    /// The exit code.
    pub(super) exit: u8,
    /// Which guest this was; null if it had no identity that can be read, or is not sealed.
    pub(super) guest: Option<Guest>,
    /// The paths that were removed. Absent if it is not sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) removed: Option<Vec<String>>,
    /// The files that stay, because somebody changed them after Pinion wrote them. Absent if it is not sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<&'a [GuestPath]>,
    /// Whether /etc/machine-id is set, which every copy would share. Absent if it is not sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) machine_id: Option<bool>,
    /// Why it is not sealed. Absent if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// What prevents it, each in words. Absent if it is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) obstacles: Option<Vec<String>>,
    /// What you can do. Absent if it is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

/// Everything about this guest.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "AgentStatus"))]
pub(super) struct StatusDocument<'a> {
    /// The agent's version.
    version: &'a str,
    /// Which guest this is; null before it has joined.
    guest: Option<Guest>,
    /// The last second of the identity's validity.
    identity_not_after: Option<Timestamp>,
    /// How the link to the controller is.
    link: &'a LinkStatus,
    /// Every placement, by name.
    placements: Vec<PlacementDocument<'a>>,
}

/// A placement, and how good its certificate is at this moment.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "AgentPlacement"))]
struct PlacementDocument<'a> {
    #[serde(flatten)]
    placement: &'a LocalPlacement,
    /// How good the installed certificate is; null if there is none.
    validity: Option<Validity>,
}

impl<'a> StatusDocument<'a> {
    /// The daemon's answer, with how good each certificate is.
    pub(super) fn new(status: &'a LocalStatus, validity: impl Fn(&LocalPlacement) -> Option<Validity>) -> Self {
        let LocalStatus { version, guest, identity_not_after, link, placements } = status;
        let placements =
            placements.iter().map(|placement| PlacementDocument { placement, validity: validity(placement) }).collect();
        Self { version, guest: *guest, identity_not_after: *identity_not_after, link, placements }
    }
}
