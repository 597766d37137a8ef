//! Where the programs are that the harness starts.
//!
//! Pinion's own lie beside the running executable, because cargo puts them there; others on PATH,
//! or in the directories that `PINION_TOOLS` names (`cargo xtask test` sets it).

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Which build of Pinion's two programs a host or a guest runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Build {
    /// The one that the tests belong to.
    #[default]
    Current,
    /// `pinion` and `pinion-agent` of an earlier version, in this directory.
    Earlier(PathBuf),
}

impl Build {
    /// Where one of its programs is.
    ///
    /// # Errors
    /// It is not built.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        match self {
            Self::Current => own(name),
            Self::Earlier(directory) => Ok(directory.join(name)),
        }
    }
}

/// A program of this workspace: `pinion`, `pinion-agent`, `tls-server`. `PINION_CONTROLLER` and
/// `PINION_AGENT` name other builds of the first two.
///
/// # Errors
/// It is not built.
pub fn own(name: &str) -> Result<PathBuf> {
    let other = match name {
        "pinion" => env::var_os("PINION_CONTROLLER"),
        "pinion-agent" => env::var_os("PINION_AGENT"),
        _ => None,
    };
    if let Some(path) = other {
        return Ok(path.into());
    }
    let here = env::current_exe().context("find the running executable")?;
    let mut directory = here.parent().unwrap_or(Path::new("/"));
    // A test lies in target/debug/deps, a program one above.
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(directory);
    }
    let path = directory.join(name);
    if !path.is_file() {
        bail!(
            "{} is not built: run `cargo xtask test`, or `cargo build --workspace` before `cargo test`",
            path.display()
        );
    }
    Ok(path)
}

/// The version to which the tests upgrade: the same programs, which `cargo xtask test` has say this number.
#[must_use]
pub fn next_version() -> String {
    let numbers = env!("CARGO_PKG_VERSION").split('.').map(|number| number.parse().unwrap_or_default());
    let mut numbers: Vec<u64> = numbers.collect();
    // As long as this one's.
    let bumped = usize::from(numbers.get(1).is_some_and(|minor| minor % 10 != 9));
    if let Some(number) = numbers.get_mut(bumped) {
        *number += 1;
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

/// The directory with both Debian packages of this version, made of the programs that the tests belong to.
/// `PINION_PACKAGES` names another one with this version, relative to the project: a release in `target/dist`.
///
/// # Errors
/// They are not built.
pub fn packages(version: &str) -> Result<PathBuf> {
    if let (Some(other), env!("CARGO_PKG_VERSION")) = (env::var_os("PINION_PACKAGES"), version) {
        return Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(other));
    }
    let directory = own("pinion")?.with_file_name("../test-packages").join(version);
    if !directory.is_dir() {
        bail!("{} is not there: run `cargo xtask test`", directory.display());
    }
    Ok(directory)
}

/// `pinion-agent` with everything linked in, as guests get it.
///
/// # Errors
/// It is not built.
pub fn static_agent() -> Result<PathBuf> {
    let built = env::var_os("PINION_STATIC_AGENT").map(PathBuf::from);
    let path = match built {
        Some(path) => path,
        None => own("pinion-agent")?.with_file_name("../x86_64-unknown-linux-gnu/test-agent/pinion-agent"),
    };
    if !path.is_file() {
        bail!(
            "{} is not built: run `cargo xtask test`, or `RUSTFLAGS='-C target-feature=+crt-static' cargo build \
             --profile test-agent -p pinion-agent --target x86_64-unknown-linux-gnu` before `cargo test`",
            path.display()
        );
    }
    Ok(path)
}

/// A program of the system or of `PINION_TOOLS`: `nginx`, `dockerd`, `openssl`, `step-ca`.
///
/// # Errors
/// It is nowhere.
pub fn found(name: &str) -> Result<PathBuf> {
    let tools = env::var_os("PINION_TOOLS").unwrap_or_default();
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&tools)
        .chain(env::split_paths(&path))
        // Debian keeps daemons where an ordinary user's PATH does not look.
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin"), PathBuf::from("/sbin")])
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{name} is not installed: `cargo xtask test` installs it, or put it on PATH"))
}
