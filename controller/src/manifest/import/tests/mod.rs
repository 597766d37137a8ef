//! Old entries in, placements and reports out.

mod entries;
mod hostile;
mod lines;
mod recipes;
mod whole;

use serde_json::{Value, json};

use super::{Imported, import};

/// Imports these entries.
fn imported(entries: &Value) -> Imported {
    import(entries.to_string().as_bytes(), "step-ca".parse().expect("a name")).expect("it is imported")
}

/// The certificates of the manifest, and the report as JSON.
fn documents(entries: &Value) -> (Value, Value) {
    let imported = imported(entries);
    let manifest: Value = serde_json::from_str(&imported.manifest).expect("JSON");
    (manifest["certificates"].clone(), serde_json::to_value(&imported.report).expect("JSON"))
}

/// What is wrong with a file.
fn mistakes(bytes: &[u8]) -> String {
    import(bytes, "step-ca".parse().expect("a name")).expect_err("it is refused").to_string()
}

/// An entry in guest 101 whose line is this.
fn entry(line: &str) -> Value {
    json!({ "common_name": "web.internal.example", "guest_id": 101, "guest_type": "lxc", "post_renewal_command": line })
}

/// The things to look at of all entries, a line each.
fn look_at(report: &Value) -> String {
    let entries = report["entries"].as_array().expect("entries");
    let lines = entries.iter().flat_map(|entry| entry["look_at"].as_array().expect("a list"));
    lines.map(|line| line.as_str().expect("text")).collect::<Vec<_>>().join("\n")
}
