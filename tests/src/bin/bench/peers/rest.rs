//! What tools take while nothing is to be done.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::{
    authority::Authority,
    peer::{Part, Peer, Resting, sleep_until},
};
use crate::{
    timed::{self, Took},
    usage::{self, Usage},
};

/// What a tool takes, part by part; none if it is measured as another one.
pub(super) type AtRest = Option<Vec<PartAtRest>>;

/// What a part of it takes.
#[derive(Debug, Clone, Default)]
pub(super) struct PartAtRest {
    pub(super) name: &'static str,
    /// All the time (bytes).
    pub(super) memory: u64,
    /// While a command of its runs: the most of it (bytes), and for how long in an hour.
    pub(super) now_and_then: Option<(u64, Duration)>,
    /// In an hour.
    pub(super) switches: f64,
    /// In an hour.
    pub(super) processor: Duration,
    /// In an hour (bytes).
    pub(super) wire: f64,
    /// Programs and data (bytes).
    pub(super) files: u64,
    /// Shared libraries that its processes have mapped (bytes); none where nothing runs.
    pub(super) libraries: Option<u64>,
}

/// Measures all of them at the same time.
pub(super) fn measure(peers: &[&dyn Peer], authority: &Authority, certificates: usize) -> Result<Vec<Result<AtRest>>> {
    let resting: Vec<Result<Option<Resting>>> = peers.iter().map(|peer| peer.rest(authority, certificates)).collect();
    sleep_until(Instant::now() + SETTLE)?;
    let before: Vec<Option<Vec<Result<Sample>>>> = resting.iter().map(samples).collect();
    let begun = Instant::now();
    sleep_until(begun + WINDOW)?;
    let after: Vec<Option<Vec<Result<Sample>>>> = resting.iter().map(samples).collect();
    let window = begun.elapsed();
    let mut measured = Vec::new();
    for ((resting, before), after) in resting.into_iter().zip(before).zip(after) {
        measured.push(match (resting, before, after) {
            (Err(error), ..) => Err(error),
            (Ok(Some(resting)), Some(before), Some(after)) => {
                let parts = resting.parts.iter().zip(before).zip(after);
                let parts = parts.map(|((part, before), after)| one(part, &before?, &after?, window)).collect();
                // What runs is to end before the next one is measured.
                drop(resting.held);
                Result::map(parts, Some)
            }
            _ => Ok(None),
        });
    }
    Ok(measured)
}

/// At a moment.
#[derive(Default)]
struct Sample {
    usage: Usage,
    memory: u64,
    wire: u64,
}

fn samples(resting: &Result<Option<Resting>>) -> Option<Vec<Result<Sample>>> {
    Some(resting.as_ref().ok()?.as_ref()?.parts.iter().map(sample).collect())
}

fn sample(part: &Part) -> Result<Sample> {
    let mut sample = Sample { wire: part.relays.iter().map(|relay| relay.bytes()).sum(), ..Sample::default() };
    for process in &part.processes {
        sample.usage = sample.usage + usage::usage(*process)?;
        sample.memory += usage::memory(*process)?;
    }
    Ok(sample)
}

fn one(part: &Part, before: &Sample, after: &Sample, window: Duration) -> Result<PartAtRest> {
    let hours = window.as_secs_f64() / 3600.0;
    let usage = after.usage - before.usage;
    let mut at_rest = PartAtRest {
        name: part.name,
        memory: after.memory,
        switches: number(usage.switches) / hours,
        processor: usage.processor.div_f64(hours),
        wire: number(after.wire - before.wire) / hours,
        ..PartAtRest::default()
    };
    // All of them are the same command for different files: that many are not measured.
    if let Some((command, log, per_hour)) = part.commands.first() {
        let runs = (0..RUNS).map(|_| timed::measure(command, log)).collect::<Result<Vec<Took>>>()?;
        let times = per_hour * number(u64::try_from(part.commands.len()).context("count the commands")?);
        let each = times / f64::from(RUNS);
        at_rest.switches += number(runs.iter().map(|took| took.switches).sum()) * each;
        at_rest.processor += runs.iter().map(|took| took.processor).sum::<Duration>().mul_f64(each);
        let time = runs.iter().map(|took| took.time).sum::<Duration>().mul_f64(each);
        at_rest.now_and_then = runs.iter().map(|took| took.peak).max().map(|peak| (peak, time));
    }
    at_rest.files = part.files.iter().map(|path| usage::size(path)).sum::<Result<u64>>()?;
    let mut libraries = BTreeSet::new();
    for process in &part.processes {
        libraries.extend(usage::libraries(*process)?);
    }
    let sizes = libraries.iter().filter_map(|path| usage::size(path).ok());
    at_rest.libraries = (!part.processes.is_empty()).then(|| sizes.sum());
    Ok(at_rest)
}

/// Counts here are far below where a float rounds.
#[allow(clippy::cast_precision_loss, reason = "a count of bytes or switches in a minute")]
fn number(count: u64) -> f64 {
    count as f64
}

/// Until what was done last is done: certmonger writes for five seconds, and Pinion's controller for three.
const SETTLE: Duration = Duration::from_secs(15);

/// What is measured of an hour. Pinion's agent looks at its files and at nginx once a minute, so it is a whole number of minutes.
const WINDOW: Duration = Duration::from_secs(60);

/// How often a command is run whose cost is measured.
const RUNS: u32 = 5;
