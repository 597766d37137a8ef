//! Types of JSON Schema in words, and the members of an object as a table.

use serde_json::{Map, Value};

use super::text::{anchor, cell, table};

/// The `$defs` of a schema.
#[derive(Debug, Clone, Default)]
pub(super) struct Definitions(pub(super) Map<String, Value>);

impl Definitions {
    /// Those of a whole schema.
    pub(super) fn of(schema: &Value) -> Self {
        Self(schema["$defs"].as_object().cloned().unwrap_or_default())
    }

    fn get(&self, reference: &Value) -> Option<(&str, &Value)> {
        let name = reference.as_str()?.strip_prefix("#/$defs/")?;
        self.0.get_key_value(name).map(|(name, schema)| (name.as_str(), schema))
    }
}

/// Whether a schema has members, or forms with members, that a table shows.
pub(super) fn is_object(schema: &Value) -> bool {
    schema["properties"].is_object() || forms(schema).next().is_some()
}

/// The forms of an enum whose values are objects with one member.
fn forms(schema: &Value) -> impl Iterator<Item = &Value> {
    schema["oneOf"].as_array().into_iter().flatten().filter(|form| form["properties"].is_object())
}

/// A table of an object's members. With `input`, of what is read: whether it is required, and what holds otherwise.
pub(super) fn members(schema: &Value, definitions: &Definitions, input: bool) -> String {
    let required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|one| one == name));
    let mut rows = Vec::new();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let meaning = member["description"].as_str().unwrap_or_default();
        let column = match (input, required(name)) {
            (true, true) => "required".to_owned(),
            (true, false) if member["default"].is_null() => String::new(),
            (true, false) => format!("`{}`", member["default"]),
            (false, true) => "always".to_owned(),
            (false, false) => "not always".to_owned(),
        };
        rows.push(vec![format!("`{name}`"), of(member, definitions), column, cell(meaning)]);
    }
    for form in schema["oneOf"].as_array().into_iter().flatten() {
        let meaning = form["description"].as_str().unwrap_or_default();
        if let Some((name, member)) = form["properties"].as_object().and_then(|members| members.iter().next()) {
            let column = if input { "one of these" } else { "" };
            rows.push(vec![format!("`{name}`"), of(member, definitions), column.into(), cell(meaning)]);
        } else if let Some(word) = form["const"].as_str() {
            rows.push(vec![format!("`\"{word}\"`"), "instead of an object".into(), String::new(), cell(meaning)]);
        }
    }
    let third = if input { "default" } else { "there" };
    table(&["member", "type", third, "meaning"], rows)
}

/// A type in words, as Markdown.
pub(super) fn of(schema: &Value, definitions: &Definitions) -> String {
    if let Some((name, named)) = definitions.get(&schema["$ref"]) {
        return if is_object(named) { format!("[{name}](#{})", anchor(name)) } else { of(named, definitions) };
    }
    if let Some(words) = words(schema) {
        return words.join(", ");
    }
    let choices = ["anyOf", "oneOf"].iter().find_map(|member| schema[member].as_array());
    if let (Some(choices), false) = (choices, schema["properties"].is_object()) {
        let choices: Vec<_> = choices.iter().map(|choice| of(choice, definitions)).collect();
        return choices.join(" or ");
    }
    if let Some(only) = schema.get("const") {
        return format!("`{only}`");
    }
    match &schema["type"] {
        Value::Array(types) => {
            let one = |kind: &Value| {
                let mut one = schema.clone();
                one["type"] = kind.clone();
                of(&one, definitions)
            };
            types.iter().map(one).collect::<Vec<_>>().join(" or ")
        }
        Value::String(kind) => named(kind, schema, definitions),
        _ => "any".into(),
    }
}

fn named(kind: &str, schema: &Value, definitions: &Definitions) -> String {
    match kind {
        "array" => format!("list of {}", of(&schema["items"], definitions)),
        "string" if schema["format"] == "date-time" => "time".into(),
        "string" => "text".into(),
        "integer" => "number".into(),
        "object" if schema["additionalProperties"].is_object() => {
            format!("object: name → {}", of(&schema["additionalProperties"], definitions))
        }
        other => other.into(),
    }
}

/// The words of an enum of words.
fn words(schema: &Value) -> Option<Vec<String>> {
    let word = |word: &Value| word.as_str().map(|word| format!("`{word}`"));
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(word).collect();
    }
    let forms = schema["oneOf"].as_array()?;
    let mut all = Vec::new();
    for form in forms {
        match form["enum"].as_array() {
            Some(words) => all.extend(words.iter().map(word).collect::<Option<Vec<_>>>()?),
            None => all.push(word(&form["const"])?),
        }
    }
    Some(all)
}
