//! `cargo xtask bench`: builds the programs as they are shipped, and lets the measuring program measure them.
//!
//! Invariant: a commit that is compared with is built in a clone of its own below `target`, from its own sources and with its
//! own measuring program; the working tree is not touched.

use std::{
    env, fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    binaries,
    children::{Children, cargo},
    tools,
};

/// What to measure, and what for.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to measure, instead of everything: size, planner, served, fleet, rest, hostile, step-ca; or scale, which is ten
    /// thousand agents and takes half an hour, as root; or cost, which is what a placement costs in fleets of
    /// different sizes, ten minutes, as root; or peers, which are other tools that renew certificates: these are installed,
    /// and take ten minutes. rest measures for five minutes, or for as many as PINION_REST_MINUTES says.
    #[arg(value_name = "PART")]
    parts: Vec<String>,
    /// Write the figures to this file, for a later --compare.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    save: Option<PathBuf>,
    /// Say what is worse than before by more than the machine's noise, and end with code 1 if something is.
    ///
    /// Before is a commit, which is built once in target/earlier, or a directory with its programs bench, pinion and
    /// pinion-agent: these are measured in turns with the present ones, which takes an hour for everything. Or it is a file
    /// of --save: then a machine that is slower today looks like a program that is slower.
    #[arg(long, value_name = "BEFORE")]
    compare: Option<PathBuf>,
    /// How often to measure: once, or in six pairs with --compare.
    #[arg(long, value_name = "N")]
    runs: Option<NonZeroU32>,
    /// With peers: write the tables into docs/benchmarks.md.
    #[arg(long, conflicts_with_all = ["save", "compare", "runs"])]
    write: bool,
}

/// Builds and measures; the measuring program finds the others through its environment.
pub(crate) fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    let once = options.runs.is_some_and(|runs| runs.get() == 1);
    ensure!(!once || options.compare.is_none(), "one run says nothing of its noise: --runs 2 at least");
    let children = Children::watched()?;
    let tools = tools::ensure(root, &children, true, &[&tools::STEP_CA, &tools::STEP])?.build(&children)?;
    if options.parts.iter().any(|part| part == "peers") {
        tools::ensure_peers(&children, true)?;
    }
    let before = match &options.compare {
        Some(before) if !before.exists() => Some(earlier(root, &children, before)?),
        other => other.clone(),
    };
    let build = Build::of(root, &children)?;
    let mut bench = Command::new(build.bench);
    bench.args(&options.parts).env("PINION_CONTROLLER", build.controller).env("PINION_AGENT", build.agent);
    for (option, file) in [("--save", &options.save), ("--compare", &before)] {
        if let Some(file) = file {
            bench.arg(option).arg(file);
        }
    }
    if let Some(runs) = options.runs {
        bench.args(["--runs", &runs.to_string()]);
    }
    if options.write {
        bench.arg("--write");
    }
    let status = children.run(bench.env("PINION_TOOLS", tools))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The two programs, and the one that measures them.
struct Build {
    bench: PathBuf,
    controller: PathBuf,
    agent: PathBuf,
}

impl Build {
    /// Builds them from these sources.
    fn of(root: &Path, children: &Children) -> Result<Self> {
        let controller = binaries::controller(root, children)?;
        let agent = binaries::agent(root, children)?;
        children.run_well(cargo(root).args(["build", "--locked", "--release", "-p", "pinion-tests", "--bins"]))?;
        Ok(Self { bench: binaries::target(root).join("release/bench"), controller, agent })
    }
}

/// The directory with the programs of a commit, which are built once.
fn earlier(root: &Path, children: &Children, commit: &Path) -> Result<PathBuf> {
    let commit = commit.to_str().context("a commit's name is text")?;
    let no_commit = || format!("`{commit}` is neither a file, nor a directory, nor a commit");
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["rev-parse", "--verify", "--quiet", "--end-of-options"]);
    let output = git.arg(format!("{commit}^{{commit}}")).stdin(Stdio::null()).output().with_context(no_commit)?;
    ensure!(output.status.success(), no_commit());
    let hash = String::from_utf8(output.stdout).context("read the commit's name")?.trim().to_owned();

    let earlier = binaries::target(root).join("earlier");
    let kept = earlier.join(&hash);
    if PROGRAMS.iter().all(|program| kept.join(program).is_file()) {
        return Ok(kept);
    }
    // Relative, it would be in the clone; else the two builds would have one.
    let shared = env::var_os("CARGO_TARGET_DIR").is_some_and(|directory| Path::new(&directory).is_absolute());
    ensure!(!shared, "an earlier commit needs a directory of its own to be built in: unset CARGO_TARGET_DIR");
    println!("building {commit} ({hash}), once; this takes a quarter of an hour");
    let source = earlier.join("source");
    if !source.is_dir() {
        let mut clone = Command::new("git");
        clone.args(["clone", "--quiet", "--shared", "--no-checkout"]);
        children.run_well(clone.args([root, &source]))?;
    }
    let mut checkout = Command::new("git");
    children.run_well(checkout.arg("-C").arg(&source).args(["checkout", "--quiet", "--force", "--detach", &hash]))?;
    let build = Build::of(&source, children)?;
    // All of them or none: another run looks whether they are there.
    let fresh = tempfile::tempdir_in(&earlier).with_context(|| format!("make a directory in {}", earlier.display()))?;
    for (from, name) in [build.bench, build.controller, build.agent].iter().zip(PROGRAMS) {
        fs::copy(from, fresh.path().join(name)).with_context(|| format!("copy {}", from.display()))?;
    }
    fs::rename(fresh.keep(), &kept).with_context(|| format!("make {}", kept.display()))?;
    Ok(kept)
}

/// As the measuring program looks for them in a directory; in the order of [`Build`].
const PROGRAMS: [&str; 3] = ["bench", "pinion", "pinion-agent"];
