//! Measures what the design promises, and prints it beside the promise.
//!
//! Answers: how large, how hungry, how quick? Invariant: every figure comes from the shipped programs
//! doing their real work; the agents that there are a thousand of run in one other process, with
//! real TLS, keys, files and fsync.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its measurements")]

mod agents;
mod ask;
mod fleet;
mod hostile;
mod memory;
mod planner;
mod quota;
mod served;
mod step_ca;
mod table;

use std::{env, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use table::{Bound, Row, bytes_of};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        // The process that holds the agents is this program too.
        Some((verb, rest)) if verb == "agents" => agents::run(rest).map(|()| true),
        _ => measure(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures what is named, or everything.
fn measure(only: &[String]) -> Result<bool> {
    // What a build has left to be written must not hold up what is timed here: every installation waits for the disk.
    rustix::fs::sync();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|word| word == name);
    let mut rows = Vec::new();
    if wanted("size") {
        let agent = env::var_os("PINION_AGENT").map(PathBuf::from).context("PINION_AGENT names the agent")?;
        let bytes = fs::metadata(&agent).with_context(|| format!("look at {}", agent.display()))?.len();
        let what = "agent: stripped static binary";
        rows.push(Row::new("agent_binary_bytes", what, bytes_of(bytes), Bound::AtMostBytes(6 * 1024 * 1024)));
    }
    if wanted("planner") {
        rows.push(planner::measure()?);
    }
    if wanted("served") {
        rows.extend(served::measure()?);
    }
    if wanted("fleet") {
        rows.extend(fleet::measure()?);
    }
    if wanted("hostile") {
        rows.extend(hostile::measure()?);
    }
    if wanted("step-ca") {
        rows.push(step_ca::measure()?);
    }
    table::print(&rows);
    if only.is_empty() {
        table::write(&rows)?;
    }
    Ok(rows.iter().all(Row::holds))
}
