//! Whether a schema promises everything that an earlier one promised.
//!
//! Invariant: what a program may have relied on is a member's name, that it is always there, its types, and the words of an
//! enum. More members and more words are no break.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What the earlier schema promised and the later one does not, each with its place.
pub fn broken(earlier: &Value, later: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let roots = (&earlier["$defs"], &later["$defs"]);
    compare(earlier, later, roots, "", &mut broken);
    broken
}

fn compare(earlier: &Value, later: &Value, roots: (&Value, &Value), at: &str, broken: &mut Vec<String>) {
    let (earlier, later) = (resolved(earlier, roots.0), resolved(later, roots.1));
    let (before, after) = (kinds(&earlier), kinds(&later));
    if !before.is_empty() && !after.is_subset(&before) {
        broken.push(format!("{}: it was {before:?} and is {after:?}", place(at)));
    }
    for word in words(&earlier).difference(&words(&later)) {
        broken.push(format!("{}: the word {word} is gone", place(at)));
    }
    let members = |schema: &Map<String, Value>| schema.get("properties").and_then(Value::as_object).cloned();
    let (old, new) = (members(&earlier).unwrap_or_default(), members(&later).unwrap_or_default());
    for (name, member) in &old {
        let at = format!("{at}.{name}");
        match new.get(name) {
            None => broken.push(format!("{}: the member is gone", place(&at))),
            Some(now) => compare(member, now, roots, &at, broken),
        }
    }
    for name in required(&earlier).difference(&required(&later)) {
        broken.push(format!("{}: it was always there, and may be absent now", place(&format!("{at}.{name}"))));
    }
    if let (Some(old), Some(new)) = (earlier.get("items"), later.get("items")) {
        compare(old, new, roots, &format!("{at}[]"), broken);
    }
    if let (Some(old), Some(new)) = (earlier.get("additionalProperties"), later.get("additionalProperties")) {
        compare(old, new, roots, &format!("{at}.*"), broken);
    }
}

fn place(at: &str) -> &str {
    match at.trim_start_matches('.') {
        "" => "the document",
        at => at,
    }
}

/// The schema behind references; of a choice between one schema and null, that schema.
fn resolved(schema: &Value, definitions: &Value) -> Map<String, Value> {
    let mut merged = Map::new();
    let Some(schema) = schema.as_object() else { return merged };
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/")) {
        merged = resolved(&definitions[name], definitions);
    }
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let is_null = |choice: &&Value| choice["type"] == "null";
        if let Some(choice) = choices.iter().find(|choice| !is_null(choice)) {
            merged = resolved(choice, definitions);
        }
        if choices.iter().any(|choice| is_null(&choice)) {
            let mut types: Vec<_> = kinds(&merged).into_iter().map(Value::String).collect();
            types.push("null".into());
            merged.insert("type".to_owned(), Value::Array(types));
        }
    }
    for (key, value) in schema {
        if key != "$ref" && key != "anyOf" {
            merged.insert(key.clone(), value.clone());
        }
    }
    merged
}

fn kinds(schema: &Map<String, Value>) -> BTreeSet<String> {
    match schema.get("type") {
        Some(Value::String(kind)) => [kind.clone()].into(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        _ if schema.contains_key("oneOf") || schema.contains_key("enum") => ["string".to_owned()].into(),
        _ => BTreeSet::new(),
    }
}

fn required(schema: &Map<String, Value>) -> BTreeSet<String> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

fn words(schema: &Map<String, Value>) -> BTreeSet<String> {
    let own = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let forms = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let of_forms = forms.flat_map(|form| {
        let more = form["enum"].as_array().cloned().unwrap_or_default();
        more.into_iter().chain([form["const"].clone()])
    });
    own.cloned().chain(of_forms).filter(|word| !word.is_null()).map(|word| word.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "stage": { "$ref": "#/$defs/Stage" },
                "list": { "type": "array", "items": { "$ref": "#/$defs/One" } },
                "maybe": { "anyOf": [{ "$ref": "#/$defs/One" }, { "type": "null" }] }
            },
            "required": ["stage", "list"],
            "$defs": {
                "Stage": { "oneOf": [{ "type": "string", "const": "a" }, { "type": "string", "const": "b" }] },
                "One": { "type": "object", "properties": { "x": { "type": "integer" } }, "required": ["x"] }
            }
        })
    }

    fn changed(pointer: &str, value: Value) -> Vec<String> {
        let mut later = schema();
        *later.pointer_mut(pointer).expect("it is there") = value;
        broken(&schema(), &later)
    }

    #[test]
    fn more_members_and_words_are_no_break() {
        assert!(broken(&schema(), &schema()).is_empty());
        let more = json!({ "x": { "type": "integer" }, "y": { "type": "string" } });
        assert!(changed("/$defs/One/properties", more).is_empty());
        assert!(changed("/required", json!(["stage", "list", "maybe"])).is_empty());
        let words = json!([{ "const": "a" }, { "const": "b" }, { "const": "c" }]);
        assert!(changed("/$defs/Stage/oneOf", words).is_empty());
    }

    #[test]
    fn what_a_program_relied_on_is_missed() {
        let renamed = json!({ "z": { "type": "integer" } });
        assert_eq!(
            changed("/$defs/One/properties", renamed),
            ["list[].x: the member is gone", "maybe.x: the member is gone"]
        );
        assert_eq!(changed("/required", json!(["list"])), ["stage: it was always there, and may be absent now"]);
        assert_eq!(changed("/$defs/Stage/oneOf", json!([{ "const": "a" }])), ["stage: the word \"b\" is gone"]);
        let text = changed("/$defs/One/properties/x/type", json!("string"));
        assert_eq!(text[0], "list[].x: it was {\"integer\"} and is {\"string\"}");
        assert!(changed("/$defs/One/properties/x/type", json!(["integer", "null"]))[0].starts_with("list[].x: it was"));
    }
}
