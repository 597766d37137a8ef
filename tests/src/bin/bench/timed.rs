//! What a command takes that ends by itself, all of its processes and threads together.
//!
//! The kernel adds that up for the children that a process has waited for. So each command is run by a process that has no
//! other child: this program, once more.

use std::{
    env,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};
use serde::{Deserialize, Serialize};

/// What it took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Took {
    /// From its start to its end.
    pub(crate) time: Duration,
    /// On processors.
    pub(crate) processor: Duration,
    /// Context switches, voluntary or not.
    pub(crate) switches: u64,
    /// The most memory that one of its processes had (resident set, bytes).
    pub(crate) peak: u64,
    /// How it ended.
    pub(crate) code: i32,
}

/// `timed PROGRAM ARGUMENT…`: runs it, and writes what it took, as JSON.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let Some((program, arguments)) = words.split_first() else { bail!("usage: bench timed PROGRAM ARGUMENT…") };
    let started = Instant::now();
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("start {program}"))?;
    let time = started.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("ask what the command took")?;
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let took = Took {
        time,
        processor: Duration::from_micros(number(microseconds)),
        switches: number(usage.voluntary_context_switches()) + number(usage.involuntary_context_switches()),
        // getrusage(2): in kilobytes.
        peak: number(usage.max_rss()) * 1024,
        code: status.code().unwrap_or(-1),
    };
    let text = serde_json::to_vec(&took).context("write JSON")?;
    std::io::stdout().write_all(&text).context("say what the command took")
}

/// Runs a command in this way; what it writes to its standard error goes to the file `log`.
pub(crate) fn measure(command: &Command, log: &Path) -> Result<Took> {
    let mut measured = Command::new(env::current_exe().context("find the running executable")?);
    measured.arg("timed").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => measured.env(name, value),
            None => measured.env_remove(name),
        };
    }
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log);
    let output = measured.stdin(Stdio::null()).stderr(log.context("open a log")?).output().context("run a command")?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{command:?} could not be measured"))
}
