//! `cargo xtask drills`: what takes long by nature, in one count.
//!
//! Invariant: the last line is `N passed, N failed`, the exit code is 0 only when none failed, and a drill that ends without
//! a count of its own has failed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{
    binaries,
    children::{Children, cargo},
    faults, suites,
    test::Tally,
};

/// What is drilled. When to run which is in CONTRIBUTING.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// An installation that an earlier version made, upgraded host first and guests first.
    Upgrade,
    /// Every cut, kill and failing disk of `cargo xtask faults`; needs root.
    Faults,
    /// No quorum for half an hour, with certificates that live five minutes.
    Quorum,
    /// Renewals without a pause for half an hour: memory and open files stay as they are.
    Soak,
    /// A unit that takes a minute and a half to start, and is renewed; needs root.
    Starts,
}

/// Runs these drills, or all of them where none is named.
pub(crate) fn run(root: &Path, subjects: &[Subject]) -> Result<ExitCode> {
    let children = Children::watched()?;
    let subjects = if subjects.is_empty() { Subject::value_variants() } else { subjects };
    println!("building; the first time takes some minutes");
    let mut build = cargo(root);
    build.args(["build", "--locked", "--quiet", "--workspace", "--bins"]);
    children.run_well(&mut build)?;
    let mut tally = Tally::default();
    for subject in subjects {
        let began = Instant::now();
        println!("\n=== {subject:?}");
        if let Err(error) = subject.run(root, &children, &mut tally) {
            println!("{subject:?}: {error:#}");
            tally.count(&format!("{subject:?}"), false);
        }
        println!("{subject:?}: {} s", began.elapsed().as_secs());
    }
    Ok(tally.end())
}

impl Subject {
    fn run(self, root: &Path, children: &Children, tally: &mut Tally) -> Result<()> {
        match self {
            Self::Upgrade => {
                let earlier = earlier(root, children).context("build the earlier version")?;
                let status = children.run(Command::new(binaries::target(root).join("debug/upgrade")).arg(earlier))?;
                tally.count("an installation of an earlier version is upgraded", status.success());
                Ok(())
            }
            Self::Faults => {
                let passed = faults::attack(root, children, &[])?;
                tally.count("nothing is torn and nothing is lost", passed);
                Ok(())
            }
            Self::Quorum => on_the_real_clock("quorum::", root, children, tally),
            Self::Soak => on_the_real_clock("soak::", root, children, tally),
            Self::Starts => on_the_real_clock("starts::", root, children, tally),
        }
    }
}

/// A part of the suite `drills`.
fn on_the_real_clock(part: &'static str, root: &Path, children: &Children, tally: &mut Tally) -> Result<()> {
    let scratch = tempfile::Builder::new().prefix("pinion-").tempdir().context("make a directory for the drill")?;
    let suite = suites::drill(root, children, scratch.path(), part)?;
    suites::run(
        vec![suite],
        children,
        scratch.path(),
        |command| {
            command.env("TMPDIR", scratch.path());
        },
        |told| {
            print!("{}", told.text);
            tally.add_suite(&told.text, told.succeeded);
        },
    )
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
