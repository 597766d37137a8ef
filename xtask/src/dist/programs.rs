//! What is packaged.

use std::path::PathBuf;

/// The two programs, built.
#[derive(Debug)]
pub(super) struct Programs {
    /// `pinion`.
    pub(super) controller: PathBuf,
    /// `pinion-agent`, static.
    pub(super) agent: PathBuf,
}
