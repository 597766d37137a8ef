//! The import's table of recipes is what the agent ships.

use std::{fs, path::Path};

use pinion_proto::spec::Part;
use serde_json::{Value, json};

use super::super::recipes::{MORE, Notifies, RECIPES};

#[test]
fn the_table_is_what_the_agent_ships() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/recipes");
    for recipe in RECIPES {
        let text = fs::read_to_string(directory.join(format!("{}.toml", recipe.name))).expect(recipe.name);
        let shipped: toml::Table = text.parse().expect(recipe.name);
        let shipped = serde_json::to_value(shipped).expect("JSON");
        let mut files = serde_json::Map::new();
        for (part, path, mode, owner, group) in recipe.files {
            let part: &Part = part;
            files.insert(part.to_string(), json!({ "path": path, "mode": mode, "owner": owner, "group": group }));
        }
        let mut theirs = shipped["files"].clone();
        for (part, file) in theirs.as_object_mut().expect("files") {
            let file = file.as_object_mut().expect("a file");
            let mode = if part == "key" { "0600" } else { "0644" };
            for (field, default) in [("mode", mode), ("owner", "root"), ("group", "root")] {
                file.entry(field).or_insert(json!(default));
            }
        }
        assert!(recipe.files.is_empty() || Value::Object(files) == theirs, "{}: {theirs}", recipe.name);
        assert_eq!(recipe.files.is_empty(), shipped["restricted"] == json!(true), "{}", recipe.name);
        assert_eq!(recipe.probe, shipped["probe"]["connect"].as_str(), "{}", recipe.name);
        assert_eq!(recipe.client, shipped["usage"] == json!("client"), "{}", recipe.name);
        let own = recipe.reload().map(|reload| serde_json::to_value(reload).expect("JSON"));
        assert_eq!(own.unwrap_or_default(), shipped["reload"], "{}", recipe.name);
        assert_eq!(recipe.notifies == Notifies::Placement, shipped["requires"] == json!(["reload"]), "{}", recipe.name);
    }
}

#[test]
fn units_with_recipes_of_their_own_are_those_that_these_notify() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/recipes");
    for (unit, recipe) in MORE {
        let text = fs::read_to_string(directory.join(format!("{recipe}.toml"))).expect(recipe);
        assert!(text.contains(&format!("{unit:?}")), "{recipe} does not notify {unit}: {text}");
    }
}
