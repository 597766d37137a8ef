//! Measures what the design promises, and prints it beside the promise; and Pinion beside its peers.
//!
//! Answers: how large, how hungry, how quick; worse than before; and compared with others? Invariant: every figure comes from
//! the shipped programs doing their real work; the agents that there are a thousand of run in one other process, with real TLS,
//! keys, files and fsync.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its measurements")]

mod agents;
mod ask;
mod compare;
mod fleet;
mod hostile;
mod memory;
mod parts;
mod peers;
mod planner;
mod quota;
mod rest;
mod scale;
mod script;
mod served;
mod step_ca;
mod table;
mod timed;
mod usage;

use std::{env, num::NonZeroU32, path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use clap::Parser;
use parts::Part;
use table::Row;

/// Measures Pinion's programs.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", disable_help_subcommand = true)]
struct Arguments {
    /// What to measure; everything but the peers if nothing is named.
    parts: Vec<Part>,
    /// Write the figures to this file, for a later `--compare`.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    save: Option<PathBuf>,
    /// Say what is worse than before by more than noise, and end with code 1 if something is. Before is a directory with
    /// another build's `bench`, `pinion` and `pinion-agent`, which are measured in turns with the present ones. Or it is a file
    /// of `--save`: then a machine that is slower today looks like a program that is slower.
    #[arg(long, value_name = "BEFORE")]
    compare: Option<PathBuf>,
    /// How often to measure everything: once, if not said, and six times with --compare.
    #[arg(long, value_name = "N")]
    runs: Option<NonZeroU32>,
    /// With `peers`: write the tables into docs/benchmarks.md.
    #[arg(long, conflicts_with_all = ["save", "compare", "runs"])]
    write: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let outcome = match words.split_first() {
        // The process that holds the agents is this program too, and the one that measures a command.
        Some((verb, rest)) if verb == "agents" => agents::run(rest).map(|()| true),
        Some((verb, rest)) if verb == "simulated-agents" => scale::agents::run(rest).map(|()| true),
        Some((verb, rest)) if verb == "scale-inside" => scale::run(rest).map(|()| true),
        Some((verb, rest)) if verb == "cost-inside" => scale::cost::run(rest).map(|()| true),
        Some((verb, rest)) if verb == "timed" => timed::run(rest).map(|()| true),
        _ => run(&Arguments::parse()),
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

/// Whether all budgets hold, or nothing is worse.
fn run(arguments: &Arguments) -> Result<bool> {
    if arguments.parts.contains(&Part::Peers) {
        if arguments.parts.len() > 1 || arguments.save.is_some() || arguments.compare.is_some() {
            bail!("`peers` is a measurement of its own, with `--write` at most");
        }
        return peers::run(arguments.write);
    }
    if arguments.write {
        bail!("`--write` belongs to `peers`");
    }
    if let Some(before) = &arguments.compare {
        return compare::run(before, &arguments.parts, arguments.runs.map_or(PAIRS, NonZeroU32::get));
    }
    let mut runs = Vec::new();
    for _ in 0..arguments.runs.map_or(1, NonZeroU32::get) {
        let rows = parts::measure(&arguments.parts)?;
        table::print(&rows);
        runs.push(rows);
    }
    match &arguments.save {
        Some(file) => table::save(&runs, file)?,
        None if arguments.parts.is_empty() => table::write(runs.last().map_or(&[], Vec::as_slice))?,
        None => {}
    }
    Ok(runs.iter().flatten().all(Row::holds))
}

/// With fewer, Student's interval for eleven figures is wider than what anybody would wait for.
const PAIRS: u32 = 6;
