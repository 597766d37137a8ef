//! Pinion beside other tools that renew certificates.
//!
//! Answers: what do they take at rest, how soon does a service serve what is due, and what if its reload fails once?
//! Invariant: all of them get the same CA, the same nginx and the same command that reloads it, in the same run on the same
//! machine; what is not measured but follows from a tool's own schedule is said to be so.

mod authority;
mod caddy;
mod certmonger;
mod document;
mod lego;
mod machine;
mod peer;
mod pinion;
mod relay;
mod rest;
mod server;
mod step;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use pinion_tests::interrupt;

use self::{
    authority::Authority,
    caddy::Caddy,
    certmonger::Certmonger,
    document::{Report, Row},
    lego::Lego,
    machine::Machine,
    peer::{Peer, Renewed},
    pinion::Pinion,
    step::{StepDaemon, StepTimer},
};

/// Everything is over by then: ten minutes, less what it takes to end processes.
const MAX: Duration = Duration::from_secs(570);

/// Measures, prints the tables, and writes them into docs/benchmarks.md if asked to; whether everything was measured.
pub(crate) fn run(write: bool) -> Result<bool> {
    interrupt::watch().context("see to it that everything ends")?;
    let started = Instant::now();
    let until = started + MAX;
    let mut machine = Machine::look()?;
    let peers: [&dyn Peer; 7] =
        [&Pinion, &StepDaemon, &StepTimer, &Certmonger::Local, &Certmonger::Helper, &Lego, &Caddy];
    let authority = Authority::start()?;
    eprintln!("peers: at rest, with one certificate and with ten");
    let one = rest::measure(&peers, &authority, 1)?;
    let ten = rest::measure(&peers, &authority, 10)?;
    eprintln!("peers: renewals, and a reload that fails");
    let renewed = renew(&peers, &authority, until)?;
    if interrupt::requested() {
        bail!("interrupted");
    }
    machine.look_again()?;

    let mut rows = Vec::new();
    for (((peer, one), ten), renewed) in peers.iter().zip(one).zip(ten).zip(renewed) {
        let version = peer.version().unwrap_or_else(|error| format!("{error:#}"));
        rows.push(Row { name: peer.name(), version, one, ten, renewed });
    }
    let report = Report { machine, rows, took: started.elapsed() };
    let text = report.text();
    println!("{text}");
    let failures = report.failures();
    for failure in &failures {
        eprintln!("peers: not measured: {failure}");
    }
    if write {
        if !failures.is_empty() {
            bail!("docs/benchmarks.md is left as it is, because {} of the measurements failed", failures.len());
        }
        document::write(&text)?;
    }
    Ok(failures.is_empty())
}

/// One after the other those that renew when they are called, and then at the same time those that wait for their schedule,
/// since these do nothing most of the time.
fn renew(peers: &[&dyn Peer], authority: &Authority, until: Instant) -> Result<Vec<Result<Renewed>>> {
    let one = |peer: &dyn Peer| {
        let renewed = peer.renew(authority, until);
        eprintln!("peers: {} has renewed", peer.name());
        renewed
    };
    let mut renewed: Vec<Option<Result<Renewed>>> = Vec::new();
    for peer in peers {
        renewed.push((!peer.has_schedule()).then(|| one(*peer)));
    }
    thread::scope(|scope| {
        let waiting: Vec<_> =
            peers.iter().map(|peer| peer.has_schedule().then(|| scope.spawn(move || one(*peer)))).collect();
        for (renewed, thread) in renewed.iter_mut().zip(waiting) {
            if let Some(thread) = thread {
                *renewed = Some(thread.join().unwrap_or_else(|_| bail!("its thread panicked")));
            }
        }
    });
    renewed.into_iter().collect::<Option<_>>().context("each was called")
}
