//! What is wrong with a manifest: every problem, each with its place.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

/// Everything wrong with a manifest, in the order of the file. Written one problem a line as
/// `LINE:COLUMN PATH: MESSAGE`; the caller puts the file's name before each.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
pub struct ManifestErrors {
    /// The problems; at least one.
    pub problems: Vec<Problem>,
    /// How many more there are than are kept.
    #[serde(skip_serializing_if = "is_zero")]
    pub omitted: usize,
}

/// One thing wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// Which value, for example `certificates[1].placements[0].files.key.mode`; empty for the whole file.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, path, message } = self;
        if path.is_empty() {
            write!(f, "{line}:{column} {message}")
        } else {
            write!(f, "{line}:{column} {path}: {message}")
        }
    }
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        if self.omitted > 0 {
            write!(f, "\n… and {} more problems", self.omitted)?;
        }
        Ok(())
    }
}

/// The first line of what is wrong with a manifest, for a place that has room for one.
pub(crate) fn first_problem(problem: &str) -> &str {
    problem.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it cannot be read")
}

impl ManifestErrors {
    /// A single problem with the file as a whole, at a line and column.
    pub(super) fn whole(line: usize, column: usize, message: impl Into<String>) -> Self {
        Self { problems: vec![Problem { line, column, path: String::new(), message: message.into() }], omitted: 0 }
    }
}

// Serde's signature asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
