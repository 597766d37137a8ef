//! A thousand agents: what each costs the controller, and how long renewing all of them takes.

use std::{
    io::{Write as _, read_to_string},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use pinion_proto::stage::Stage;
use pinion_tests::{
    host::{Host, HostOptions},
    memory::{processor_time, resident},
    wait,
};

use crate::{
    agents::{self, Agents},
    ask,
    table::{Bound, Row, bytes_of},
};

const AGENTS: u32 = 1000;

/// How often the metrics are asked for: what the agents do beside it is little then.
const SCRAPES: u32 = 50;

/// How often Prometheus asks.
const SCRAPE_EVERY: Duration = Duration::from_secs(15);

/// One hundredth of a core, for a scrape every 15 seconds.
const ONE_PERCENT_MS: f64 = 150.0;

/// Memory is read when nothing has happened for this long: buffers of the last work are freed.
const REST: Duration = Duration::from_secs(5);

/// What a link costs, and the time of a thousand renewals.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
    let mut host = Host::start(&HostOptions {
        web: Some("metrics_from = [\"127.0.0.1\"]".into()),
        ..HostOptions::embedded(&agents::certificates(AGENTS, "embedded"))
    })?;
    let root = host.root().to_owned();
    let controller = host.controller().context("the controller runs")?.id();
    let directory = tempfile::Builder::new().prefix("pinion-agents-").tempdir().context("make the agents' roots")?;
    let mut fleet = Agents::spawn(directory.path())?;

    let all: Vec<u32> = agents::guests(AGENTS).collect();
    let (first, rest) = all.split_at(1);
    fleet.join(&runtime, &root, first)?;
    wait_linked(&runtime, &root, 1)?;
    std::thread::sleep(REST);
    let with_one = resident(controller)?;
    fleet.join(&runtime, &root, rest)?;
    wait_linked(&runtime, &root, all.len())?;
    runtime.block_on(ask::ensure(&root, false, Stage::Installed))?;
    std::thread::sleep(REST);
    let with_all = resident(controller)?;
    let each = bytes_of(with_all.saturating_sub(with_one)) / f64::from(AGENTS - 1);
    eprintln!("fleet: controller at {with_one} bytes with one agent, {with_all} with {AGENTS}");

    let scrape = scrapes(&host, controller)?;
    let took = runtime.block_on(ask::ensure(&root, true, Stage::Installed))?;
    drop(fleet);
    let what = "controller: memory per linked agent, beyond the first";
    let scraped = "controller: processor time of a scrape, 1,000 placements";
    Ok(vec![
        Row::new("controller_bytes_per_agent", what, each, Bound::AtMostBytes(40 * 1024)),
        Row::new("scrape_ms", scraped, scrape, Bound::AtMostMs(ONE_PERCENT_MS)),
        Row::new(
            "renew_1000_s",
            "1,000 placements on 1,000 agents renewed and installed",
            took.as_secs_f64(),
            Bound::AtMostSeconds(10.0),
        ),
    ])
}

/// The processor time that the controller needs to answer a scraper (milliseconds).
fn scrapes(host: &Host, controller: u32) -> Result<f64> {
    let address = host.web().context("the host has a page")?;
    let before = processor_time(controller)?;
    for _ in 0..SCRAPES {
        scrape(address, AGENTS)?;
    }
    let each = (processor_time(controller)? - before) / SCRAPES;
    let share = each.as_secs_f64() / SCRAPE_EVERY.as_secs_f64() * 100.0;
    eprintln!("fleet: a scrape takes {each:?} of a processor: {share:.2} % of a core every {SCRAPE_EVERY:?}");
    Ok(each.as_secs_f64() * 1000.0)
}

/// Asks for the metrics once, as a scraper does; their length (bytes).
pub(crate) fn scrape(address: SocketAddr, placements: u32) -> Result<u64> {
    let mut stream = TcpStream::connect(address).context("connect to the page")?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("ask for the metrics")?;
    let text = read_to_string(&mut stream).context("read the metrics")?;
    let told = text.matches("\npinion_placement_stage{").count();
    ensure!(told == placements as usize, "{told} of {placements} placements are in the metrics");
    Ok(text.len().try_into()?)
}

/// Waits until so many guests are linked.
pub(crate) fn wait_linked(runtime: &tokio::runtime::Runtime, root: &std::path::Path, count: usize) -> Result<()> {
    wait::until(&format!("{count} links"), Duration::from_secs(120), || match runtime.block_on(ask::linked(root)) {
        Ok(linked) if linked >= count => Ok(()),
        Ok(linked) => Err(format!("{linked} are linked")),
        Err(error) => Err(format!("{error:#}")),
    })
}
