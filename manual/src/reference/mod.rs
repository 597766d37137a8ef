//! docs/reference, from the code: commands, the manifest, configuration, events, exit codes, and JSON with its schemas.
//!
//! Invariant: a schema that promises less than the one that is there is refused, not written over it.

mod additions;
mod commands;
mod configuration;
mod events;
mod exit_codes;
mod json;
mod manifest;
mod metrics;
mod text;
mod types;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

pub use additions::broken;

/// Where the schemas are, below the directory.
const SCHEMAS: &str = "schemas";

/// Every file of the reference, by its path below the directory.
#[must_use]
pub fn files() -> BTreeMap<String, String> {
    let documents = json::documents();
    let mut files: BTreeMap<_, _> =
        documents.iter().map(|document| (format!("{SCHEMAS}/{}.json", document.name), json::file(document))).collect();
    let pages = [
        ("commands.md", commands::write(&super::programs())),
        ("configuration.md", configuration::write()),
        ("events.md", events::write()),
        ("exit-codes.md", exit_codes::write()),
        ("json.md", json::write(&documents)),
        ("manifest.md", manifest::write()),
        ("metrics.md", metrics::write()),
    ];
    files.extend(pages.map(|(name, text)| (name.to_owned(), text)));
    files
}

/// Writes the reference into a directory.
///
/// # Errors
/// A schema there promises more than the code keeps, or the directory cannot be written.
pub fn write(directory: &Path) -> Result<()> {
    let files = files();
    only_additions(directory, &files)?;
    fs::create_dir_all(directory.join(SCHEMAS)).with_context(|| format!("create {}", directory.display()))?;
    for (name, text) in &files {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Compares the reference in a directory with the code.
///
/// # Errors
/// They differ, or a file cannot be read.
pub fn check(directory: &Path) -> Result<()> {
    let files = files();
    only_additions(directory, &files)?;
    let mut stale = BTreeSet::new();
    for (name, text) in &files {
        if existing(&directory.join(name))?.as_ref() != Some(text) {
            stale.insert(name.clone());
        }
    }
    for entry in fs::read_dir(directory.join(SCHEMAS)).context("list the schemas")? {
        let name = format!("{SCHEMAS}/{}", entry?.file_name().to_string_lossy());
        if !files.contains_key(&name) {
            stale.insert(name);
        }
    }
    ensure!(
        stale.is_empty(),
        "{} is not what the code says: {}; run `cargo xtask codegen` and commit what it writes",
        directory.display(),
        stale.into_iter().collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

/// Programs rely on the schemas that are there.
fn only_additions(directory: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, text) in files.iter().filter(|(name, _)| name.ends_with(".json")) {
        let Some(earlier) = existing(&directory.join(name))? else { continue };
        let parse = |text: &str| serde_json::from_str::<Value>(text).with_context(|| format!("read {name}"));
        wrong.extend(broken(&parse(&earlier)?, &parse(text)?).into_iter().map(|line| format!("{name}: {line}")));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("programs rely on what --json prints, and these promises are broken:\n{}", wrong.join("\n"))
}

fn existing(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}
