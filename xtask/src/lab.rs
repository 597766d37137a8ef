//! `cargo xtask lab`: builds the hypervisor in a box, and becomes its program.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::{
    binaries,
    children::{Children, cargo},
    tools,
};

/// The lab is a program of the harness, `tests/src/bin/lab.rs`; the words are its.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<ExitCode> {
    let children = Children::watched()?;
    let (vm, all) = (words.contains(&"--vm"), words.contains(&"--all"));
    let mut wanted = vec![&tools::STEP_CA, &tools::STEP];
    if all {
        wanted.push(&tools::TRAEFIK);
    }
    let tools = tools::ensure(root, &children, true, &wanted)?.build(&children)?;
    if vm {
        tools::ensure_machine(&children, true)?;
    }
    let mut build = cargo(root);
    build.args(["build", "--locked", "--quiet", "-p", "pinion-controller", "-p", "pinion-agent", "-p", "pinion-tests"]);
    for name in ["pinion", "pinion-agent", "lab", "pct", "qm", "pvesh", "tls-server"] {
        build.args(["--bin", name]);
    }
    children.run_well(&mut build)?;
    // Becomes it: a shell wants the terminal, and Ctrl-C is for the lab.
    let program = binaries::target(root).join("debug/lab");
    let mut lab = Command::new(&program);
    lab.args(words).env("PINION_TOOLS", tools);
    if all {
        // What is brought into the guests.
        lab.env("PINION_STATIC_AGENT", binaries::test_agent(root, &children)?);
    }
    Err(lab.exec()).with_context(|| format!("start {}", program.display()))
}
