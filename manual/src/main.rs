//! `manual DIRECTORY`: writes the man pages there. `cargo xtask dist` starts it.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// Write the man pages of both programs.
#[derive(Debug, Parser)]
#[command(name = "manual")]
struct Arguments {
    /// Where to write them; it is created if it is missing.
    directory: PathBuf,
}

fn main() -> Result<()> {
    pinion_manual::write(&Arguments::parse().directory)
}
