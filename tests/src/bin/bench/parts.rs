//! The parts of which a measurement consists.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{
    fleet, hostile, planner, rest, scale, served, step_ca,
    table::{Bound, Row, bytes_of},
};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The agent's binary.
    Size,
    /// A plan of a hundred thousand placements.
    Planner,
    /// A renewal with nginx, and the agent's memory.
    Served,
    /// A thousand agents.
    Fleet,
    /// Agents and a controller that have nothing to do.
    Rest,
    /// Messages that are short on the wire and large in memory.
    Hostile,
    /// How much of a step-ca's speed is left.
    StepCa,
    /// Ten thousand agents, and a hundred thousand placements: a quarter of an hour, as root, and only if it is named.
    Scale,
    /// What a placement costs in fleets of different sizes: ten minutes, as root, and only if it is named.
    Cost,
    /// Other tools beside Pinion: a measurement of its own.
    Peers,
}

/// Measures what is named, or everything.
pub(crate) fn measure(only: &[Part]) -> Result<Vec<Row>> {
    // What a build has left to be written must not hold up what is timed here: every installation waits for the disk.
    rustix::fs::sync();
    let mut rows = Vec::new();
    for part in Part::value_variants().iter().filter(|part| only.is_empty() || only.contains(part)) {
        match part {
            Part::Size => rows.push(size()?),
            Part::Planner => rows.push(planner::measure()?),
            Part::Served => rows.extend(served::measure()?),
            Part::Fleet => rows.extend(fleet::measure()?),
            Part::Rest => rows.extend(rest::measure()?),
            Part::Hostile => rows.extend(hostile::measure()?),
            Part::StepCa => rows.push(step_ca::measure()?),
            Part::Scale if only.contains(&Part::Scale) => rows.extend(scale::measure()?),
            Part::Cost if only.contains(&Part::Cost) => rows.extend(scale::cost::measure()?),
            Part::Scale | Part::Cost | Part::Peers => {}
        }
    }
    Ok(rows)
}

fn size() -> Result<Row> {
    let agent = env::var_os("PINION_AGENT").map(PathBuf::from).context("PINION_AGENT names the agent")?;
    let bytes = fs::metadata(&agent).with_context(|| format!("look at {}", agent.display()))?.len();
    let what = "agent: stripped static binary";
    Ok(Row::new("agent_binary_bytes", what, bytes_of(bytes), Bound::AtMostBytes(6 * 1024 * 1024)))
}
