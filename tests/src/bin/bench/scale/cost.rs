//! What one placement costs, in fleets of different sizes: what grows faster than the fleet shows here.
//!
//! Each fleet is in a network namespace of its own, so that all that its loopback carries is the fleet's. Planning and writing
//! are measured in this process, everything else on the controller.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use pinion_controller::store::Store;
use pinion_tests::{
    host::HostOptions,
    memory::{processor_time, resident},
};

use super::{
    Fleet, PATIENCE,
    found::{Cost, Costs, PLACEMENTS, thousands},
    inside, manifest, network, number, picture, pictures, write,
};
use crate::{
    ask, fleet, planner,
    table::{Bound, Row, bytes_of},
    usage::{Meter, size},
};

/// Each agent has ten placements.
const AGENTS: [u32; 4] = [10, 100, 1000, 10_000];

/// A controller that takes less than this share of a core has done what it had to do.
const CALM: f64 = 0.12;

/// For so long. A guest's record is written three seconds after what it reports.
const CALM_FOR: Duration = Duration::from_secs(5);

/// Prints the table and writes `target/pictures/cost.svg`. The rows say how much more a placement costs in the largest fleet
/// than in the third.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let largest = number("PINION_BENCH_AGENTS").unwrap_or(u32::MAX);
    let mut fleets: Vec<Costs> = Vec::new();
    for agents in AGENTS.into_iter().filter(|agents| *agents <= largest) {
        eprintln!("cost: {agents} agents");
        fleets.push(inside(&["cost-inside".to_owned(), agents.to_string()])?);
    }
    println!("{}", text(&fleets));
    fs::write(pictures()?.join("cost.svg"), picture::cost(&fleets)).context("write a picture")?;
    let [.., smaller, largest] = &fleets[..] else { return Ok(Vec::new()) };
    let both = smaller.each.iter().zip(&largest.each).filter(|(small, _)| small.microseconds > 0.0);
    let worst = both.map(|(small, large)| large.microseconds / small.microseconds);
    let what = "a placement in the largest fleet, beside one in a tenth of it, at worst";
    Ok(vec![Row::new("cost_growth", what, worst.fold(0.0, f64::max), Bound::AtMostTimes(1.5))])
}

/// `cost-inside AGENTS`: measures in this network namespace, and writes what it found as JSON.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let [agents] = words else { bail!("usage: bench cost-inside AGENTS") };
    network::up()?;
    let costs = costs(agents.parse()?)?;
    println!("{}", serde_json::to_string(&costs)?);
    Ok(())
}

fn costs(agents: u32) -> Result<Costs> {
    let placements = agents * PLACEMENTS;
    let mut each = Vec::new();
    let mut add = |what: &str, spent: Spent| {
        let of_each = |whole: f64| whole / f64::from(placements);
        each.push(Cost {
            what: what.to_owned(),
            microseconds: of_each(spent.processor.as_secs_f64() * 1e6),
            bytes: spent.bytes.map(|bytes| of_each(bytes_of(bytes))),
        });
    };
    let known = planner::Fleet::new(agents, PLACEMENTS)?;
    add("plan", Spent { processor: known.plan()?, bytes: None });
    add("write what is known", written(&known)?);
    drop(known);

    let web = Some("metrics_from = [\"127.0.0.1\"]".to_owned());
    let mut fleet = Fleet::new(agents, &HostOptions { web, ..HostOptions::default() })?;
    fleet.host.start_again()?;
    fleet.agents.start()?;
    fleet.agents.wait("everything installed", PATIENCE, |said| said.installed >= u64::from(placements))?;
    fleet.calm()?;
    let controller = fleet.controller()?;

    fleet.agents.hush()?;
    let push = fleet.spend(|fleet| write(&fleet.host, &manifest(agents, 1)))?;
    add("push what is wanted", push);
    let report = fleet.spend(|fleet| fleet.agents.report())?;
    add("report, taken in and written", report);

    // Several, because what the controller does beside it is counted too.
    let repeats = (2000 / agents).clamp(2, 50);
    let repeated = |work: &mut dyn FnMut() -> Result<u64>| -> Result<Spent> {
        let (mut meter, mut bytes) = (Meter::start(controller)?, 0);
        for _ in 0..repeats {
            bytes = work()?;
            meter.look()?;
        }
        Ok(Spent { processor: meter.used().processor / repeats, bytes: Some(bytes) })
    };
    let root = fleet.host.root().to_owned();
    add("status", repeated(&mut || fleet.runtime.block_on(ask::status(&root)))?);
    let web = fleet.host.web().context("the host has a page")?;
    add("metrics scrape", repeated(&mut || fleet::scrape(web, placements))?);
    add("manifest check", check(&fleet, repeats)?);
    let memory = resident(controller)?;
    add("the controller's memory", Spent { processor: Duration::ZERO, bytes: Some(memory) });
    Ok(Costs { placements, each })
}

/// What something took, for all placements together.
#[derive(Debug, Clone, Copy)]
struct Spent {
    processor: Duration,
    bytes: Option<u64>,
}

fn written(known: &planner::Fleet) -> Result<Spent> {
    let directory = tempfile::tempdir().context("make a directory")?;
    let store = Store::open(&directory.path().join("local"), &directory.path().join("shared"))?;
    let mut meter = Meter::start(std::process::id())?;
    known.write(&store)?;
    meter.look()?;
    Ok(Spent { processor: meter.used().processor, bytes: Some(size(directory.path())?) })
}

/// How long a person waits for `pinion manifest check`.
fn check(fleet: &Fleet, repeats: u32) -> Result<Spent> {
    let path = Path::new("etc/pinion/certificate-manifest.json");
    let bytes = fs::metadata(fleet.host.root().join(path)).context("look at the manifest")?.len();
    let begun = Instant::now();
    for _ in 0..repeats {
        fleet.host.pinion(&["manifest", "check"])?.succeeded()?;
    }
    Ok(Spent { processor: begun.elapsed() / repeats, bytes: Some(bytes) })
}

impl Fleet {
    /// What something takes of the controller and of the network, until the controller is calm again.
    fn spend(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<Spent> {
        let (mut meter, bytes) = (Meter::start(self.controller()?)?, network::carried()?);
        work(self)?;
        self.calm_seen_by(|| meter.look())?;
        Ok(Spent { processor: meter.used().processor, bytes: Some(network::carried()?.saturating_sub(bytes)) })
    }

    /// Waits until the controller has done what it had to do.
    fn calm(&mut self) -> Result<()> {
        self.calm_seen_by(|| Ok(()))
    }

    /// The same, and calls this now and then.
    fn calm_seen_by(&mut self, mut look: impl FnMut() -> Result<()>) -> Result<()> {
        let controller = self.controller()?;
        let begun = Instant::now();
        loop {
            let before = processor_time(controller)?;
            std::thread::sleep(CALM_FOR);
            look()?;
            let share = (processor_time(controller)? - before).as_secs_f64() / CALM_FOR.as_secs_f64();
            if share < CALM {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the controller still takes {:.0} % of a core", share * 100.0);
        }
    }
}

/// As Markdown: microseconds and bytes a placement.
fn text(fleets: &[Costs]) -> String {
    let mut text = String::from("| each placement |");
    fleets.iter().for_each(|fleet| text += &format!(" of {} |", thousands(fleet.placements)));
    text += "\n|---|";
    fleets.iter().for_each(|_| text += "---:|");
    text += "\n";
    for (n, cost) in fleets.first().map_or(&[][..], |fleet| &fleet.each).iter().enumerate() {
        text += &format!("| {} |", cost.what);
        for cost in fleets.iter().filter_map(|fleet| fleet.each.get(n)) {
            text += &format!(" {} |", cell(cost));
        }
        text += "\n";
    }
    text
}

fn cell(cost: &Cost) -> String {
    let time = (cost.microseconds > 0.0).then(|| match cost.microseconds {
        few if few < 10.0 => format!("{few:.1} µs"),
        many => format!("{many:.0} µs"),
    });
    let bytes = cost.bytes.map(|bytes| format!("{bytes:.0} B"));
    [time, bytes].into_iter().flatten().collect::<Vec<_>>().join(", ")
}
