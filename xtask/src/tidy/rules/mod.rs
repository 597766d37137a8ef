//! The rules, a file each.
//!
//! A rule looks at a whole checkout and names what breaks it; [`super::judge`] takes the exceptions off.

use super::{crates::Crates, finding::Finding};

mod code_map;
mod circles;
mod docs_width;
mod file_size;
mod generated;
mod impl_files;
mod links;
mod lints;
mod mutable_world;
mod proxmox_paths;
mod questions;
mod words;

pub(super) use impl_files::implemented;
pub(super) use words::banned;

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// As exceptions and messages call it.
    pub(super) name: &'static str,
    pub(super) check: fn(&Crates<'_>) -> Vec<Finding>,
}

/// All of them.
pub(super) const RULES: &[Rule] = &[
    Rule { name: "code-map", check: code_map::check },
    Rule { name: "questions", check: questions::check },
    Rule { name: "lints", check: lints::check },
    Rule { name: "generated-code", check: generated::check },
    Rule { name: "proxmox-paths", check: proxmox_paths::check },
    Rule { name: "file-size", check: file_size::check },
    Rule { name: "impl-files", check: impl_files::check },
    Rule { name: "mutable-world", check: mutable_world::check },
    Rule { name: "circles", check: circles::check },
    Rule { name: "docs-width", check: docs_width::check },
    Rule { name: "links", check: links::check },
    Rule { name: "words", check: words::check },
];

/// What a rule finds in a small checkout, as `subject: why`.
#[cfg(test)]
fn found(check: fn(&Crates<'_>) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    let tree = super::tree::Tree::with(files);
    let crates = Crates::of(&tree);
    check(&crates).into_iter().map(|finding| format!("{}: {}", finding.subject, finding.why)).collect()
}

/// The manifest of a crate `a`.
#[cfg(test)]
const MANIFEST: (&str, &str) = ("a/Cargo.toml", "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n");
