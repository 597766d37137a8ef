//! `cargo xtask bench`: builds the programs as they are shipped, and lets the measuring program measure them.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::Result;

use crate::{
    binaries,
    children::{Children, cargo},
    tools,
};

/// Builds and measures; the measuring program finds the others through its environment.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    let children = Children::watched()?;
    let tools = tools::ensure(root, &children, true, &[&tools::STEP_CA, &tools::STEP])?.build(&children)?;
    let controller = binaries::controller(root, &children)?;
    let agent = binaries::agent(root, &children)?;
    children.run_well(cargo(root).args(["build", "--locked", "--release", "-p", "pinion-tests", "--bins"]))?;
    let mut bench = Command::new(binaries::target(root).join("release/bench"));
    bench.args(arguments).env("PINION_CONTROLLER", controller).env("PINION_AGENT", agent).env("PINION_TOOLS", tools);
    let status = children.run(&mut bench)?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
