//! `manual pages DIRECTORY` writes the man pages there, `manual reference DIRECTORY` the reference. `cargo xtask dist` and
//! `cargo xtask codegen` start it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use pinion_manual::{pages, reference};

/// Write the man pages or the reference of both programs.
#[derive(Debug, Parser)]
#[command(name = "manual")]
enum Arguments {
    /// A man page for each command.
    Pages {
        /// Where to write them; it is created if it is missing.
        directory: PathBuf,
    },
    /// The reference, for docs/reference.
    Reference {
        /// Where to write it; it is created if it is missing.
        directory: PathBuf,
        /// Only compare, and fail when they differ.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    match Arguments::parse() {
        Arguments::Pages { directory } => pages::write(&directory),
        Arguments::Reference { directory, check: true } => reference::check(&directory),
        Arguments::Reference { directory, check: false } => reference::write(&directory),
    }
}
