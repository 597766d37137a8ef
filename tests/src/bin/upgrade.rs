//! Upgrades an installation that an earlier version made, and counts what its clients and its operator notice.
//!
//! Answers: does the state of an earlier version carry over, and do the two versions work together in between?
//! Invariant: both programs of the earlier version are real builds of it; the services' clients never stop asking.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it finds")]

use std::{
    env,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use pinion_controller::events::Kind;
use pinion_proto::stage::Stage;
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    interrupt, journal, look,
    program::Build,
    tls_server::TlsServer,
};
use serde_json::json;

fn main() -> ExitCode {
    let Some(directory) = env::args_os().nth(1) else {
        eprintln!("usage: upgrade DIRECTORY, which holds `pinion` and `pinion-agent` of the earlier version");
        return ExitCode::from(2);
    };
    if let Err(error) = interrupt::watch() {
        eprintln!("upgrade: cannot watch for Ctrl-C: {error}");
        return ExitCode::FAILURE;
    }
    let earlier = Build::Earlier(PathBuf::from(directory));
    let (mut passed, mut failed) = (0, 0);
    for order in [Order::ControllerFirst, Order::AgentsFirst] {
        match upgrade(&earlier, order) {
            Ok(asked) => {
                println!("{order:?}: every placement stayed served; {asked} handshakes, none failed");
                passed += 1;
            }
            Err(error) => {
                println!("{order:?}: {error:#}");
                failed += 1;
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Which half is upgraded first; an operator may do either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    ControllerFirst,
    AgentsFirst,
}

/// How many handshakes the services' clients made meanwhile.
fn upgrade(earlier: &Build, order: Order) -> Result<usize> {
    let mut site = Site::served(earlier).context("the earlier version serves")?;
    let before = site.facts()?;
    let watch = site.watch();
    let steps: [fn(&mut Site) -> Result<()>; 2] = match order {
        Order::ControllerFirst => [Site::upgrade_host, Site::upgrade_guests],
        Order::AgentsFirst => [Site::upgrade_guests, Site::upgrade_host],
    };
    for step in steps {
        step(&mut site)?;
        site.check(&before).context("right after the step")?;
        site.host.renew(&[], "served").context("renew between the steps")?;
        site.linked()?;
    }
    site.host.restart().context("restart the new controller on its own state")?;
    site.linked()?;
    let joined = journal::events(&site.host)?.iter().filter(|event| event.kind == Kind::Joined).count();
    ensure!(joined == site.guests.len(), "{joined} joins for {} guests: one had to join anew", site.guests.len());
    watch.end()
}

/// A host and its guests, each with a small TLS server.
struct Site {
    services: Vec<TlsServer>,
    guests: Vec<Guest>,
    host: Host,
}

impl Site {
    /// Everything up and served, under the build.
    fn served(build: &Build) -> Result<Self> {
        let mut host = Host::prepare(&HostOptions::embedded(&json!([])))?;
        host.use_build(build);
        host.start_again()?;
        let (mut guests, mut services) = (Vec::new(), Vec::new());
        for (vmid, [fullchain, key]) in PLACES {
            let mut guest = Guest::prepare(vmid, &GuestOptions::default())?;
            // The shipped lists, which have changed since, and not the tests' own.
            guest.write("etc/pinion/agent.toml", AGENT_TOML)?;
            guest.use_build(build);
            services.push(TlsServer::install(&guest, fullchain, key)?);
            guest.join_with(&host.token(vmid)?)?.succeeded()?;
            guest.start()?;
            guest.wait_linked(&host)?;
            guests.push(guest);
        }
        let mut site = Self { services, guests, host };
        let certificates: Vec<_> = site.pairs().map(|(guest, service)| certificate(guest, service)).collect();
        site.host.write_manifest(&pinion_tests::site::manifest(certificates.into()))?;
        site.host.ensure(&[], "installed")?;
        site.services.iter().try_for_each(|service| service.unit().start())?;
        site.host.ensure(&[], "served")?;
        // State that has been through more than a first day.
        site.host.renew(&[], "served")?;
        site.linked()?;
        Ok(site)
    }

    fn pairs(&self) -> impl Iterator<Item = (&Guest, &TlsServer)> {
        self.guests.iter().zip(&self.services)
    }

    fn upgrade_host(&mut self) -> Result<()> {
        self.host.stop()?;
        self.host.use_build(&Build::Current);
        self.host.start_again().context("start the new controller on the old state")?;
        self.linked()
    }

    fn upgrade_guests(&mut self) -> Result<()> {
        for guest in &mut self.guests {
            guest.stop()?;
            guest.use_build(&Build::Current);
            guest.start().context("start the new agent on the old state")?;
        }
        self.linked()
    }

    fn linked(&mut self) -> Result<()> {
        self.guests.iter_mut().try_for_each(|guest| guest.wait_linked(&self.host))
    }

    /// Every placement's name, with the serial number that it serves.
    fn facts(&self) -> Result<Vec<(String, Option<String>)>> {
        let status = self.host.status()?;
        Ok(status.placements.into_iter().map(|placement| (placement.placement, placement.serial)).collect())
    }

    /// Nothing but the programs has changed.
    fn check(&self, before: &[(String, Option<String>)]) -> Result<()> {
        self.host.ensure(&[], "served")?;
        for placement in self.host.status()?.placements {
            ensure!(placement.stage == Stage::Served, "{} is {:?}", placement.placement, placement);
            let known = before.iter().any(|(name, _)| *name == placement.placement);
            ensure!(known, "{} was not there before", placement.placement);
        }
        Ok(())
    }

    /// Clients that ask both services all the time.
    fn watch(&self) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let clients = self.pairs().map(|(guest, service)| {
            let (address, name, ca) = (service.address(), name_of(guest), guest.path(&service.ca()));
            let (stop, asked) = (stop.clone(), asked.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    look::served(address, &name, &ca).with_context(|| format!("a client of {name}"))?;
                    asked.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(BETWEEN_HANDSHAKES);
                }
                Ok(())
            })
        });
        Watch { clients: clients.collect(), stop, asked }
    }
}

/// The services' clients.
struct Watch {
    clients: Vec<JoinHandle<Result<()>>>,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Watch {
    /// How many handshakes there were; an error when one failed.
    fn end(self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap_or_else(|_| bail!("a client's thread failed"))?;
        }
        Ok(self.asked.load(Ordering::Relaxed))
    }
}

fn certificate(guest: &Guest, service: &TlsServer) -> serde_json::Value {
    json!({
        "name": format!("web{}", guest.name()),
        "common_name": name_of(guest),
        "placements": [service.placement(guest, "reload")],
    })
}

fn name_of(guest: &Guest) -> String {
    format!("web{}.internal.example", guest.name())
}

/// In a directory of the service's own, and directly in `/etc/ssl`, where earlier versions allowed new files.
const PLACES: [(&str, [&str; 2]); 2] =
    [("1001", ["/etc/ssl/web/web.crt", "/etc/ssl/web/web.key"]), ("1002", ["/etc/ssl/web.crt", "/etc/ssl/web.key"])];

const AGENT_TOML: &str = "[allow]\nunits = [\"tls-server.service\"]\n\n[retry]\ninitial = \"200ms\"\nmax = \"2s\"\n";

const BETWEEN_HANDSHAKES: Duration = Duration::from_millis(50);
