//! Ten thousand agents on one controller: how soon they are back, and what it takes to keep and to change what they hold;
//! and what one placement costs in fleets of different sizes.
//!
//! All of it is in a network namespace of its own, so that its network can be cut.

mod agent;
pub(crate) mod agents;
pub(crate) mod cost;
mod counts;
mod found;
mod network;
mod picture;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use pinion_tests::{
    host::{Host, HostOptions},
    memory,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::{
    agents::SimulatedAgents,
    counts::Said,
    found::{PLACEMENTS, Phase, Scale},
};
use crate::{
    agents::guests,
    ask,
    table::{Bound, Row},
};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(900);

/// How long the network is cut: everybody has noticed, and agents dial as rarely as they ever do.
const CUT: Duration = Duration::from_secs(75);

/// All of them together are this many placements.
const AGENTS: u32 = 10_000;

/// What is measured of an hour in which nothing is to be done.
const STEADY: Duration = Duration::from_secs(300);

/// A renewal of all that is spread: so many groups of guests, one after the other.
const SPREAD_GROUPS: usize = 120;
const SPREAD_EVERY: Duration = Duration::from_secs(1);

/// The rows of the budgets; the rest is printed, and a picture is written to `target/pictures/relink.svg`.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let agents = number("PINION_BENCH_AGENTS").unwrap_or(AGENTS);
    let steady = number("PINION_BENCH_SECONDS").map_or(STEADY, |seconds| Duration::from_secs(seconds.into()));
    let scale: Scale = inside(&["scale-inside".to_owned(), agents.to_string(), steady.as_secs().to_string()])?;
    println!("{}", scale.text());
    let mut rows = Vec::new();
    let mut curves = Vec::new();
    for phase in &scale.phases {
        if let Some((key, what)) = RELINKS.iter().find(|(_, what)| *what == phase.what) {
            rows.push(Row::new(key, what, phase.time.as_secs_f64(), Bound::AtMostSeconds(15.0)));
            curves.push(phase);
        }
    }
    fs::write(pictures()?.join("relink.svg"), picture::relink(scale.agents, &curves)).context("write a picture")?;
    Ok(rows)
}

/// Until all agents are linked again.
const RELINKS: [(&str, &str); 4] = [
    ("relink_restart_s", "the controller restarted"),
    ("relink_kill_s", "the controller killed"),
    ("relink_reboot_s", "the host and all guests rebooted"),
    ("relink_cut_s", "the network cut for 75 s"),
];

/// What the environment says, for trying.
fn number(name: &str) -> Option<u32> {
    std::env::var(name).ok()?.parse().ok()
}

/// The directory of pictures.
fn pictures() -> Result<PathBuf> {
    let here = std::env::current_exe().context("find the running executable")?;
    let target = here.parent().and_then(Path::parent).context("find target/")?;
    let pictures = target.join("pictures");
    fs::create_dir_all(&pictures).context("make the directory of pictures")?;
    Ok(pictures)
}

/// What this program finds in a network namespace of its own.
fn inside<T: DeserializeOwned>(words: &[String]) -> Result<T> {
    let here = std::env::current_exe().context("find the running executable")?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--"]).arg(here).args(words);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("start `unshare`")?;
    ensure!(output.status.success(), "the measurement failed; it needs root, for a network of its own");
    serde_json::from_slice(&output.stdout).context("read what was measured")
}

/// `scale-inside AGENTS SECONDS`: measures in this network namespace, and writes what it found as JSON.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let [agents, steady] = words else { bail!("usage: bench scale-inside AGENTS SECONDS") };
    network::up()?;
    let mut fleet = Fleet::new(agents.parse()?, &HostOptions::default())?;
    fleet.phases(Duration::from_secs(steady.parse()?))?;
    let text = serde_json::to_string(&fleet.scale)?;
    println!("{text}");
    Ok(())
}

struct Fleet {
    // The agents end before the host does.
    agents: SimulatedAgents,
    host: Host,
    runtime: tokio::runtime::Runtime,
    scale: Scale,
}

/// What the controller has taken so far.
struct Before {
    begun: Instant,
    processor: Duration,
    written: u64,
}

impl Fleet {
    fn new(count: u32, options: &HostOptions) -> Result<Self> {
        let host = Host::prepare(options)?;
        let config = host.root().join("etc/pinion/controller.toml");
        let text = fs::read_to_string(&config).context("read the configuration")?;
        // The first is the agents' port.
        let text = text.replacen("listen = \"127.0.0.1:", "listen = \"0.0.0.0:", 1);
        fs::write(&config, text).context("configure")?;
        write(&host, &manifest(count, 0))?;
        eprintln!("scale: {count} guests get their identities");
        let made = tempfile::Builder::new().prefix("pinion-state-").tempdir_in("/dev/shm").context("make a state")?;
        let agents = SimulatedAgents::make(made.path(), host.address().port(), count)?;
        copy(made.path(), &host.root().join("var/lib/pinion"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        Ok(Self { agents, host, runtime, scale: Scale { agents: count, ..Scale::default() } })
    }

    fn phases(&mut self, steady: Duration) -> Result<()> {
        let all = u64::from(self.scale.agents);
        let everything = all * u64::from(PLACEMENTS);
        self.host.start_again()?;
        let before = self.before()?;
        self.agents.start()?;
        let said = self.agents.wait("everything installed", PATIENCE, |said| said.installed >= everything)?;
        self.note("linked for the first time, and everything issued and installed", before, said.last_installed)?;

        self.written()?;
        self.scale.at_rest = memory::resident(self.controller()?)?;
        let before = self.before()?;
        std::thread::sleep(steady);
        self.note("nothing to do", before, steady)?;

        self.restarted("the controller restarted", Host::stop, |_| true)?;
        self.restarted("the controller killed", Host::kill9, |_| true)?;
        self.rebooted()?;

        network::cut()?;
        std::thread::sleep(CUT);
        let before = self.before()?;
        network::mend()?;
        self.linked("the network cut for 75 s", before, |_| true)?;

        let before = self.before()?;
        write(&self.host, &manifest(self.scale.agents, 1))?;
        std::thread::sleep(Duration::from_secs(2));
        let said = self.quiet(|said| said.last_wanted)?;
        self.note("the manifest changed for all placements", before, said.last_wanted)?;

        let before = self.before()?;
        self.runtime.block_on(ask::renew(self.host.root(), Vec::new()))?;
        let said = self.agents.wait("everything renewed", PATIENCE, |said| said.installed >= everything)?;
        self.note("everything renewed at once", before, said.last_installed)?;

        let before = self.before()?;
        self.renew_spread()?;
        let said = self.agents.wait("everything renewed", PATIENCE, |said| said.installed >= everything)?;
        self.note("everything renewed, spread over two minutes", before, said.last_installed)?;

        let new_root = |host: &mut Host| {
            host.stop()?;
            host.pinion(&["identity", "new-root", "--yes"])?.succeeded().map(drop)
        };
        self.restarted("the next identity root made known by a restart", new_root, |said| said.trusting >= all)?;
        self.restarted("that root taking over by a restart", Host::stop, |_| true)
    }

    /// Renews everything of a few guests at a time.
    fn renew_spread(&mut self) -> Result<()> {
        let guests: Vec<String> = guests(self.scale.agents).map(|guest| guest.to_string()).collect();
        let groups: Vec<_> = guests.chunks(guests.len().div_ceil(SPREAD_GROUPS)).collect();
        let begun = Instant::now();
        for (group, n) in groups.into_iter().zip(0_u32..) {
            std::thread::sleep((SPREAD_EVERY * n).saturating_sub(begun.elapsed()));
            self.runtime.block_on(ask::renew(self.host.root(), group.to_vec()))?;
        }
        Ok(())
    }

    /// Ends the controller and starts it, and waits until all are linked and this is so.
    fn restarted(
        &mut self,
        what: &str,
        end: impl FnOnce(&mut Host) -> Result<()>,
        done: impl Fn(&Said) -> bool,
    ) -> Result<()> {
        end(&mut self.host)?;
        self.agents.mark()?;
        let begun = Instant::now();
        self.host.start_again()?;
        self.linked(what, Before { begun, processor: Duration::ZERO, written: 0 }, done)
    }

    /// Host and guests start at the same moment.
    fn rebooted(&mut self) -> Result<()> {
        self.host.kill9()?;
        self.agents.reboot()?;
        let begun = Instant::now();
        self.host.start_again()?;
        let before = Before { begun, processor: Duration::ZERO, written: 0 };
        self.linked("the host and all guests rebooted", before, |_| true)
    }

    /// Waits until all are linked and this is so, and the controller has got over it.
    fn linked(&mut self, what: &str, before: Before, done: impl Fn(&Said) -> bool) -> Result<()> {
        let all = u64::from(self.scale.agents);
        let said = self.agents.wait(what, PATIENCE, |said| said.linked >= all && done(said))?;
        self.quiet(|said| said.last_wanted)?;
        self.note(what, before, said.last_link)
    }

    /// Waits until the controller has written what it learned, a part each three seconds.
    fn written(&mut self) -> Result<()> {
        let controller = self.controller()?;
        let mut before = None;
        while before != Some(memory::written(controller)?) {
            before = Some(memory::written(controller)?);
            std::thread::sleep(Duration::from_secs(8));
        }
        Ok(())
    }

    /// Waits until this has been the same for five seconds.
    fn quiet(&mut self, of: impl Fn(&Said) -> Duration) -> Result<Said> {
        let mut last = (Instant::now(), None);
        loop {
            let said = self.agents.count()?;
            let now = of(&said);
            if last.1 != Some(now) {
                last = (Instant::now(), Some(now));
            } else if last.0.elapsed() >= Duration::from_secs(5) {
                return Ok(said);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn controller(&mut self) -> Result<u32> {
        Ok(self.host.controller().context("the controller runs")?.id())
    }

    fn before(&mut self) -> Result<Before> {
        let controller = self.controller()?;
        memory::forget_peak(controller)?;
        self.agents.mark()?;
        Ok(Before {
            begun: Instant::now(),
            processor: memory::processor_time(controller)?,
            written: memory::written(controller)?,
        })
    }

    fn note(&mut self, what: &str, before: Before, time: Duration) -> Result<()> {
        let controller = self.controller()?;
        let Said { dialled, links, lost, .. } = self.agents.times()?;
        let phase = Phase {
            what: what.to_owned(),
            time,
            processor: memory::processor_time(controller)?.saturating_sub(before.processor),
            peak: memory::peak(controller)?,
            written: memory::written(controller)?.saturating_sub(before.written),
            dialled,
            links,
        };
        eprintln!(
            "scale: {what}: {:.1} s, {:.1} s of a processor, at most {} MiB, {} KiB written, {} dials; over after {:.1} s",
            time.as_secs_f64(),
            phase.processor.as_secs_f64(),
            phase.peak / 1024 / 1024,
            phase.written / 1024,
            dialled,
            before.begun.elapsed().as_secs_f64(),
        );
        for (why, times) in lost {
            eprintln!("scale:   {times} times: {why}");
        }
        self.scale.phases.push(phase);
        Ok(())
    }
}

/// What these agents should hold; another `version` touches every placement, and no certificate.
fn manifest(agents: u32, version: u32) -> Value {
    let certificates = (0..PLACEMENTS).map(|n| {
        let placements = guests(agents).map(|guest| {
            json!({ "guest": guest, "files": {
                "fullchain": { "path": format!("/etc/ssl/{n}-{version}.pem") },
                "key": { "path": format!("/etc/ssl/{n}-{version}.key") } } })
        });
        json!({ "name": format!("c{n}"), "issuer": "embedded", "common_name": format!("c{n}.internal.example"),
                "placements": placements.collect::<Vec<_>>() })
    });
    json!({ "version": 1, "certificates": certificates.collect::<Vec<_>>() })
}

/// Without the spaces of people: a manifest has at most 16 MiB.
fn write(host: &Host, manifest: &Value) -> Result<()> {
    let path = host.root().join("etc/pinion/certificate-manifest.json");
    let fresh = path.with_extension("new");
    fs::write(&fresh, serde_json::to_vec(manifest)?).context("write the manifest")?;
    fs::rename(&fresh, &path).context("write the manifest")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("write {}", target.display()))?;
        }
    }
    Ok(())
}
