//! What is wrong with a manifest: every problem, each with its place.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

/// Everything wrong with a manifest, in the order of its files. Written one problem a line as
/// `FILE:LINE:COLUMN PATH: MESSAGE`, without the file if the text is from none.
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
    /// The file, if the document is about several or about none in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
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
        let Self { file, line, column, path, message } = self;
        if let Some(file) = file {
            write!(f, "{}:", file.display())?;
        }
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
        let (path, message) = (String::new(), message.into());
        Self { problems: vec![Problem { file: None, line, column, path, message }], omitted: 0 }
    }

    /// The same of a file.
    #[must_use]
    pub(super) fn in_file(mut self, file: Option<&Path>) -> Self {
        for problem in &mut self.problems {
            problem.file = file.map(Into::into);
        }
        self
    }

    /// All in the order of the files, at most `max` of them; none where nothing is wrong.
    pub(super) fn joined<'f>(
        all: impl IntoIterator<Item = Self>,
        files: impl Iterator<Item = Option<&'f Path>> + Clone,
        max: usize,
    ) -> Option<Self> {
        let mut joined = Self { problems: Vec::new(), omitted: 0 };
        for Self { problems, omitted } in all {
            joined.problems.extend(problems);
            joined.omitted += omitted;
        }
        joined.problems.sort_by_cached_key(|problem| files.clone().position(|file| file == problem.file.as_deref()));
        joined.omitted += joined.problems.len().saturating_sub(max);
        joined.problems.truncate(max);
        (!joined.problems.is_empty()).then_some(joined)
    }
}

// Serde's signature asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
