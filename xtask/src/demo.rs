//! `cargo xtask demo`: builds what the demo shows, and runs it.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::Result;

use crate::{
    binaries,
    children::{Children, cargo},
};

/// Builds and shows; the demo is a program of the harness, `tests/src/bin/demo.rs`.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let children = Children::watched()?;
    println!("building; the first time takes a few minutes");
    let mut build = cargo(root);
    build.args(["build", "--locked", "--quiet", "-p", "pinion-controller", "-p", "pinion-agent", "-p", "pinion-tests"]);
    build.args(["--bin", "pinion", "--bin", "pinion-agent", "--bin", "tls-server", "--bin", "demo"]);
    children.run_well(&mut build)?;
    let status = children.run(&mut Command::new(binaries::target(root).join("debug/demo")))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
