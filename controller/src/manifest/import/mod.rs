//! `pinion manifest import phoenix`: the manifest of the Phoenix scripts becomes one of version 1.
//!
//! Answers: what is this old entry here, and what of it must a person look at?
//! Invariant: pure, and the same bytes for the same file. Nothing of an old command is ever executed: it is read, and what is
//! not known becomes a hook to review and a line of the report. What comes out is a manifest that `pinion manifest check`
//! takes.

mod allow;
mod certificates;
mod choose;
mod command;
mod docker;
mod draft;
mod files;
mod gather;
mod hook;
mod old;
mod options;
mod output;
mod recipes;
mod report;
mod run;
mod service;
mod shell;
mod sources;
mod step;

pub use allow::Allow;
pub use hook::Hook;
pub use old::MAX_BYTES;
pub use report::{Became, EntryReport, Report};
pub use run::{ImportError, Imported, import};

#[cfg(test)]
mod tests;
