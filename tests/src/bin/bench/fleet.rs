//! A thousand agents: what each costs the controller, and how long renewing all of them takes.

use std::time::Duration;

use anyhow::{Context, Result};
use pinion_proto::stage::Stage;
use pinion_tests::{
    host::{Host, HostOptions},
    memory::resident,
    wait,
};

use crate::{
    agents::{self, Agents},
    ask,
    table::{Bound, Row, bytes_of},
};

const AGENTS: u32 = 1000;

/// Tokens that are live at once stay few: so many guests join in a round.
const ROUND: usize = 50;

/// Memory is read when nothing has happened for this long: buffers of the last work are freed.
const REST: Duration = Duration::from_secs(5);

/// What a link costs, and the time of a thousand renewals.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let mut host = Host::start(&HostOptions::embedded(&agents::certificates(AGENTS, "embedded")))?;
    let root = host.root().to_owned();
    let controller = host.controller().context("the controller runs")?.id();
    let directory = tempfile::Builder::new().prefix("pinion-agents-").tempdir().context("make the agents' roots")?;
    let mut fleet = Agents::spawn(directory.path())?;

    let all: Vec<u32> = agents::guests(AGENTS).collect();
    let (first, rest) = all.split_at(1);
    fleet.start(&runtime.block_on(agents::tokens(&root, first.iter().copied()))?)?;
    wait_linked(&runtime, &root, 1)?;
    std::thread::sleep(REST);
    let with_one = resident(controller)?;
    for round in rest.chunks(ROUND) {
        fleet.start(&runtime.block_on(agents::tokens(&root, round.iter().copied()))?)?;
    }
    wait_linked(&runtime, &root, all.len())?;
    runtime.block_on(ask::ensure(&root, false, Stage::Installed))?;
    std::thread::sleep(REST);
    let with_all = resident(controller)?;
    let each = bytes_of(with_all.saturating_sub(with_one)) / f64::from(AGENTS - 1);
    eprintln!("fleet: controller at {with_one} bytes with one agent, {with_all} with {AGENTS}");

    let took = runtime.block_on(ask::ensure(&root, true, Stage::Installed))?;
    drop(fleet);
    let what = "controller: memory per linked agent, beyond the first";
    Ok(vec![
        Row::new("controller_bytes_per_agent", what, each, Bound::AtMostBytes(40 * 1024)),
        Row::new(
            "renew_1000_s",
            "1,000 placements on 1,000 agents renewed and installed",
            took.as_secs_f64(),
            Bound::AtMostSeconds(10.0),
        ),
    ])
}

/// Waits until so many guests are linked.
pub(crate) fn wait_linked(runtime: &tokio::runtime::Runtime, root: &std::path::Path, count: usize) -> Result<()> {
    wait::until(&format!("{count} links"), Duration::from_secs(120), || match runtime.block_on(ask::linked(root)) {
        Ok(linked) if linked >= count => Ok(()),
        Ok(linked) => Err(format!("{linked} are linked")),
        Err(error) => Err(format!("{error:#}")),
    })
}
