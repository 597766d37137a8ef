//! `cargo xtask drills`: what takes long by nature, in one count.
//!
//! Invariant: the last line is `N passed, N failed`, and the exit code is 0 only when none failed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};

use crate::{
    binaries,
    children::{Children, cargo},
};

/// Runs the drills.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let children = Children::watched()?;
    println!("building this version, and {EARLIER}; the first time takes some minutes");
    let mut build = cargo(root);
    build.args(["build", "--locked", "--quiet", "--workspace", "--bins"]);
    children.run_well(&mut build)?;
    let earlier = earlier(root, &children).context("build the earlier version")?;
    let status = children.run(Command::new(binaries::target(root).join("debug/upgrade")).arg(earlier))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds the programs of the earlier version; their directory.
fn earlier(root: &Path, children: &Children) -> Result<PathBuf> {
    let place = binaries::target(root).join("earlier").join(EARLIER);
    let (source, target) = (place.join("source"), place.join("target"));
    if !source.join("Cargo.toml").is_file() {
        fs::create_dir_all(&source).with_context(|| format!("make {}", source.display()))?;
        let archive = place.join("source.tar");
        let mut git = Command::new("git");
        git.current_dir(root).args(["archive", "--format=tar", "--output"]).arg(&archive).arg(EARLIER);
        children.run_well(&mut git).context("take the earlier version out of the repository's history")?;
        children.run_well(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&source))?;
    }
    let mut build = cargo(&source);
    build.args(["build", "--locked", "--quiet", "-p", "pinion-controller", "-p", "pinion-agent", "--bins"]);
    children.run_well(build.arg("--target-dir").arg(&target))?;
    Ok(target.join("debug"))
}

/// The last commit before runtime directories, allow-lists and roots of identities changed their shape. State that its
/// programs left has to carry over.
const EARLIER: &str = "9f7f947";
