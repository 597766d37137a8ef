//! The JSON documents that the commands print, described by JSON Schema.
//!
//! Answers: what may a program rely on that reads `--json`?
//! Invariant: a schema is made of the types that are printed. A member that is not required is absent, never `null`.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::transform_subschemas};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

/// What one or several commands print with `--json`.
#[derive(Debug, Clone)]
pub struct Document {
    /// The name of its schema's file, without its end.
    pub name: &'static str,
    /// The commands that print it.
    pub commands: &'static [&'static str],
    /// Its schema, of draft 2020-12.
    pub schema: Value,
}

impl Document {
    /// A document that is printed when the command succeeds; otherwise the error is printed alone.
    #[must_use]
    pub fn answer<T: JsonSchema>(name: &'static str, commands: &'static [&'static str]) -> Self {
        Self { name, commands, schema: schema::<T>() }
    }

    /// A document that may have the error in it.
    #[must_use]
    pub fn with_error<T: JsonSchema>(name: &'static str, commands: &'static [&'static str]) -> Self {
        let mut schema = schema::<WithError<T>>();
        // Called as the answer, and described as that.
        let answer = serde_json::to_value(schemars::schema_for!(T)).unwrap_or_default();
        for member in ["title", "description"] {
            if let (Some(words), Some(object)) = (answer.get(member), schema.as_object_mut()) {
                object.insert(member.to_owned(), words.clone());
            }
        }
        Self { name, commands, schema }
    }

    /// What is printed when a command fails and has no other answer.
    #[must_use]
    pub fn error() -> Self {
        Self::answer::<ErrorAlone>("error", &[])
    }
}

/// An answer with the error in it.
#[derive(Serialize, JsonSchema)]
struct WithError<T> {
    #[serde(flatten)]
    answer: T,
    /// Why the command failed; absent if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// The whole document of a command that failed and has no other answer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
struct ErrorAlone {
    /// Why the command failed.
    error: Failure,
}

fn schema<T: JsonSchema>() -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.root_schema_for::<T>();
    absent_is_not_null(&mut schema);
    plain_numbers(&mut schema);
    schema.to_value()
}

/// A member that is left out where there is nothing to say is never `null`.
fn absent_is_not_null(schema: &mut Schema) {
    let required: Vec<Value> = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(Value::Object(members)) = schema.get_mut("properties") {
        for (name, member) in members {
            if !required.contains(&Value::String(name.clone())) {
                without_null(member);
            }
        }
    }
    transform_subschemas(&mut absent_is_not_null, schema);
}

fn without_null(member: &mut Value) {
    let Some(member) = member.as_object_mut() else { return };
    if let Some(Value::Array(types)) = member.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            member.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(choices)) = member.get_mut("anyOf") {
        choices.retain(|choice| choice["type"] != "null");
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            member.remove("anyOf");
            member.extend(only);
        }
    }
}

/// How many bits a program has for a number is nothing to rely on.
fn plain_numbers(schema: &mut Schema) {
    if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.contains("int")) {
        schema.remove("format");
        schema.remove("maximum");
    }
    transform_subschemas(&mut plain_numbers, schema);
}
