//! docs/reference/events.md: every kind of event, with its sentences and members.

use std::collections::BTreeMap;

use pinion_controller::events::{Event, Kind, examples};
use serde_json::Value;

use super::{
    text::{cell, page, paragraphs, table},
    types::{self, Definitions},
};

const ABOUT: &str = "\
`pinion events` shows what happened, and `pinion events --json` prints each event as one JSON document on a line of its \
own. The journal of `pinion.service` has the same events, with their kind and their level.

The kinds and the members are stable. The sentences are for people and may change: use `kind`, `guest`, `certificate`, \
`generation` and `serial` in programs. The sentences below are examples.";

/// The page.
pub(super) fn write() -> String {
    let mut text = page("Events", ABOUT);
    let schema = pinion_proto::schema::Document::answer::<Event>("events", &[]).schema;
    let definitions = Definitions::of(&schema);
    text += "\n## Members\n\n";
    text += &types::members(&schema, &definitions, false);
    text += "\n### Caller\n\n";
    text += &types::members(&schema["$defs"]["Caller"], &definitions, false);
    text += "\n## Kinds\n";
    let mut examples_of: BTreeMap<&str, Vec<Event>> = BTreeMap::new();
    for event in examples() {
        examples_of.entry(event.kind.as_str()).or_default().push(event);
    }
    for (kind, meaning) in kinds() {
        let examples = examples_of.get(kind.as_str()).map(Vec::as_slice).unwrap_or_default();
        let level = examples.first().map(|event| event.kind.level()).unwrap_or_default();
        text += &format!("\n### {kind}\n\n{}\n\n", paragraphs(&format!("{meaning} Level: {level}.")));
        let rows = examples.iter().map(|event| vec![cell(&event.text), own_members(event).join(", ")]);
        text += &table(&["sentence", "members besides `at`, `kind`, `text`"], rows);
    }
    text += "\n";
    text += &paragraphs("An event that a person asked for ends with `; requested by USER`, and has the member `by`.");
    text += "\n";
    text
}

/// Each kind's word and what it is for.
fn kinds() -> Vec<(String, String)> {
    let schema = schemars::schema_for!(Kind).to_value();
    let kinds = schema["oneOf"].as_array().cloned().unwrap_or_default();
    let word = |kind: &Value, member: &str| kind[member].as_str().unwrap_or_default().to_owned();
    kinds.iter().map(|kind| (word(kind, "const"), word(kind, "description"))).collect()
}

fn own_members(event: &Event) -> Vec<String> {
    let document = serde_json::to_value(event).unwrap_or_default();
    let members = document.as_object().into_iter().flat_map(|members| members.keys());
    members.filter(|name| !["at", "kind", "text"].contains(&name.as_str())).map(|name| format!("`{name}`")).collect()
}
