//! docs/reference/manifest.md: every field of the manifest, from its schema.

use serde_json::Value;

use super::{
    text::{page, paragraphs},
    types::{self, Definitions},
};

const ABOUT: &str = "\
Every field of `/etc/pinion/certificate-manifest.json`, version 1. [The manifest](../manifest.md) explains what to write. \
`pinion manifest check` reports every mistake at once, each with line and column, and `pinion manifest schema` prints the \
JSON Schema from which this page is made.

A field that Pinion does not know is a mistake. Where a field has no default here, its meaning says what holds without it; \
fields that a recipe has are the recipe's.";

/// The page.
pub(super) fn write() -> String {
    let schema = pinion_controller::manifest::schema();
    let definitions = Definitions::of(&schema);
    let mut text = page("The manifest's fields", ABOUT);
    text += &section("The whole file", &schema, &definitions);
    for name in in_order(&schema, &definitions) {
        text += &section(&name, &definitions.0[&name], &definitions);
    }
    text
}

fn section(name: &str, schema: &Value, definitions: &Definitions) -> String {
    let mut text = format!("\n## {name}\n\n");
    if let Some(about) = schema["description"].as_str() {
        text += &format!("{}\n\n", paragraphs(about));
    }
    text + &types::members(schema, definitions, true)
}

/// The names of the objects, as a reader meets them.
fn in_order(schema: &Value, definitions: &Definitions) -> Vec<String> {
    let mut names = Vec::new();
    meet(schema, definitions, &mut names);
    names.retain(|name| types::is_object(&definitions.0[name]));
    names
}

fn meet(schema: &Value, definitions: &Definitions, names: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            for (key, member) in members {
                if key == "$ref"
                    && let Some(name) = member.as_str().and_then(|path| path.strip_prefix("#/$defs/"))
                    && !names.iter().any(|known| known == name)
                {
                    names.push(name.to_owned());
                    meet(&definitions.0[name], definitions, names);
                } else if key != "$defs" {
                    meet(member, definitions, names);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| meet(item, definitions, names)),
        _ => {}
    }
}
