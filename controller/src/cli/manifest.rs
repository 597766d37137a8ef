//! `pinion manifest check` and `pinion manifest schema`.

use std::path::Path;

use pinion_proto::{causes::chain, exit::Exit};

use super::print_json;
use crate::manifest::{
    self,
    file::{self, FileError},
};

/// Says everything that is wrong with a manifest.
pub(super) fn check(path: &Path, json: bool) -> Exit {
    match file::load(path) {
        Ok(manifest) => {
            let (certificates, placements) = (manifest.certificates.len(), manifest.placement_count());
            if json {
                let document = serde_json::json!({
                    "ok": true, "certificates": certificates, "placements": placements, "problems": [],
                });
                print_json(&document);
            } else {
                println!("{}: good: {certificates} certificates in {placements} places", path.display());
            }
            Exit::Reached
        }
        Err(error) => {
            if json {
                let problems = match &error {
                    FileError::Bad { errors, .. } => serde_json::to_value(&errors.problems).unwrap_or_default(),
                    FileError::Read { .. } => serde_json::Value::Array(Vec::new()),
                };
                print_json(&serde_json::json!({ "ok": false, "problems": problems }));
            }
            eprintln!("{}", chain(&error));
            Exit::Usage
        }
    }
}

/// Prints the JSON Schema.
pub(super) fn schema() -> Exit {
    match serde_json::to_string_pretty(&manifest::schema()) {
        Ok(text) => {
            println!("{text}");
            Exit::Reached
        }
        Err(error) => {
            eprintln!("pinion: cannot print the schema: {error}");
            Exit::Internal
        }
    }
}
