//! Attacks an installation while it is in use, and counts what its readers and clients notice.
//!
//! Answers: is a set of files ever torn, is a certificate ever lost? The agent, nginx and the controller are the real
//! ones, and so are SIGKILL, full disks and read-only mounts. Invariant: every mount is in a mount namespace of this
//! program's own, so that it goes with it however it ends; what chance decides comes from a seed that is printed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it finds")]

mod disk;
mod failing_disks;
mod kills;
mod place;
mod random;
mod reader;
mod tally;
mod watch;

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail};
use pinion_proto::spec::Layout;
use pinion_tests::interrupt;
use random::Random;
use tally::Tally;

fn main() -> ExitCode {
    match Asked::read(env::args().skip(1)).and_then(|asked| run(&asked)) {
        Ok(tally) => {
            tally.print();
            if tally.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("faults: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(asked: &Asked) -> Result<Tally> {
    in_own_namespace()?;
    interrupt::watch().context("watch for Ctrl-C")?;
    eprintln!("faults: seed {}", asked.seed);
    println!("seed: {}", asked.seed);
    let mut tally = Tally::default();
    let mut random = Random::from(asked.seed);
    if asked.wants("kills") {
        let each = asked.size.kills.div_ceil(Layout::ALL.len());
        kills::attack(each, &mut random, &mut tally)?;
    }
    if asked.wants("reader") {
        reader::attack(asked.size.switches, asked.size.reads, &mut tally)?;
    }
    if asked.wants("disk") {
        failing_disks::attack(asked.size.layouts, &mut tally)?;
    }
    Ok(tally)
}

/// What the command line asks for.
struct Asked {
    size: Size,
    seed: u64,
    only: Vec<String>,
}

/// How much of it.
struct Size {
    kills: usize,
    switches: usize,
    reads: usize,
    /// In which the disk fails.
    layouts: &'static [Layout],
}

/// What is promised.
const FULL: Size = Size { kills: 500, switches: 1_000, reads: 10_000, layouts: &Layout::ALL };

/// Enough to see that it works, in less than a minute.
const SHORT: Size = Size { kills: 16, switches: 50, reads: 500, layouts: &[Layout::Symlink] };

impl Asked {
    /// `[--short] [--seed N] [kills] [reader] [disk]`
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is past 1970")?;
        let mut asked = Self { size: FULL, seed: now.as_secs(), only: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--short" => asked.size = SHORT,
                "--seed" => {
                    let seed = arguments.next().context("--seed has a number")?;
                    asked.seed = seed.parse().with_context(|| format!("`{seed}` is no seed"))?;
                }
                "kills" | "reader" | "disk" => asked.only.push(argument),
                other => bail!("`{other}` is neither --short, --seed, kills, reader nor disk"),
            }
        }
        Ok(asked)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

/// Goes on in a mount namespace of its own: this returns only inside it.
fn in_own_namespace() -> Result<()> {
    if env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let itself = env::current_exe().context("find the running executable")?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).arg(itself).args(env::args_os().skip(1));
    let failed = command.env(INSIDE, "1").exec();
    Err(anyhow!(failed).context("make a mount namespace with unshare; that needs root"))
}

/// Set where the namespace is made.
const INSIDE: &str = "PINION_FAULTS_INSIDE";
