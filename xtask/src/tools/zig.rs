//! A linker that knows the C libraries of older systems.
//!
//! Invariant: cargo-zigbuild and the Zig that it calls are of exactly the versions that are written here, and in
//! `target/tools`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::debian;
use crate::children::Children;

/// From Python's package index, which has both as programs for Linux.
const PACKAGES: [&str; 2] = ["cargo-zigbuild==0.24.1", "ziglang==0.17.1"];

/// Both, in a directory of their own.
#[derive(Debug)]
pub(crate) struct Zig {
    directory: PathBuf,
}

impl Zig {
    /// Installs what is missing, about 440 MiB.
    ///
    /// # Errors
    /// There is no pip, or it cannot fetch a package.
    pub(crate) fn ensure(root: &Path, children: &Children) -> Result<Self> {
        let directory = root.join("target/tools/zig");
        let (installed, wanted) = (directory.join("installed"), PACKAGES.join("\n"));
        if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
            return Ok(Self { directory });
        }
        debian::ensure(&debian::PIP, children, true)?;
        let mut pip = Command::new("pip3");
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"]).arg(&directory);
        children.run_well(pip.args(PACKAGES)).context("install Zig")?;
        fs::write(&installed, wanted).with_context(|| format!("write {}", installed.display()))?;
        Ok(Self { directory })
    }

    /// `cargo-zigbuild`; its first argument is its own name, as cargo calls it.
    pub(crate) fn build(&self) -> Command {
        let mut command = Command::new(self.directory.join("bin/cargo-zigbuild"));
        command.env("CARGO", env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.env("CARGO_ZIGBUILD_ZIG_PATH", self.directory.join("ziglang/zig"));
        command.arg("zigbuild");
        command
    }
}
