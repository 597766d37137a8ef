//! axe-core, which judges whether a page can be read and used by everybody.
//!
//! Invariant: it is of exactly the version that is written here, and in `target/tools`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::children::Children;

const VERSION: &str = "4.10.3";

/// Puts `axe.min.js` into `bin`, from npm's registry.
///
/// # Errors
/// There is no npm, or it cannot fetch the package.
pub(super) fn ensure(tools: &Path, children: &Children, may_install: bool) -> Result<()> {
    let script = tools.join("bin/axe.min.js");
    if fs::read_to_string(&script).is_ok_and(|text| text.contains(&format!("axe v{VERSION}"))) {
        println!("axe-core: {}", script.display());
        return Ok(());
    }
    ensure!(may_install, "axe-core {VERSION} not found, and not fetching it, as asked");
    let node = tools.join("node");
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&node);
    children.run_well(npm.arg(format!("axe-core@{VERSION}"))).context("fetch axe-core")?;
    fs::create_dir_all(tools.join("bin")).context("make the tools' directory")?;
    let fetched = node.join("node_modules/axe-core/axe.min.js");
    fs::copy(&fetched, &script).with_context(|| format!("copy {}", fetched.display()))?;
    Ok(())
}
