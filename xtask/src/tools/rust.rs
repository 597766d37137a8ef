//! Programs that are built from crates, once.
//!
//! Invariant: a program is of exactly the version that is written here, and in `target/tools`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::children::{Children, cargo};

/// What lists what the programs are made from.
#[derive(Debug)]
pub(crate) struct Inventory {
    programs: PathBuf,
}

/// Crates and their versions, with cargo-about's feature that makes it a program.
const CRATES: [(&str, &str, &[&str]); 2] =
    [("cargo-cyclonedx", "0.5.9", &[]), ("cargo-about", "0.9.3", &["--features", "cli"])];

impl Inventory {
    /// Builds what is missing, which takes minutes.
    ///
    /// # Errors
    /// cargo cannot build one.
    pub(crate) fn ensure(root: &Path, children: &Children) -> Result<Self> {
        let tools = root.join("target/tools");
        fs::create_dir_all(&tools).with_context(|| format!("make {}", tools.display()))?;
        for (name, version, features) in CRATES {
            // cargo knows what it has installed there, and in which version.
            let mut install = cargo(root);
            install.args(["install", "--quiet", "--locked", "--version", version, "--root"]).arg(&tools);
            children.run_well(install.arg(name).args(features)).with_context(|| format!("build {name} {version}"))?;
        }
        Ok(Self { programs: tools.join("bin") })
    }

    /// `cargo-cyclonedx`; its first argument is its own name, as cargo calls it.
    pub(crate) fn cyclonedx(&self) -> Command {
        self.program("cargo-cyclonedx")
    }

    /// `cargo-about`, likewise.
    pub(crate) fn about(&self) -> Command {
        self.program("cargo-about")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.env("CARGO", env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
    }
}
