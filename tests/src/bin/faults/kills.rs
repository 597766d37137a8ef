//! The agent is killed at random moments while it renews, and started again each time.
//!
//! Invariant: nobody tells the agent anything after a kill but its ledger.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use pinion_proto::spec::Layout;
use pinion_tests::{guest::Guest, host::Host, interrupt, process::Process};
use serde_json::Value;

use crate::{
    place::Place,
    random::Random,
    tally::Tally,
    watch::{Seen, Watch},
};

/// So many kills in each layout.
pub(crate) fn attack(kills: usize, random: &mut Random, tally: &mut Tally) -> Result<()> {
    println!("\n### Kills\n");
    println!(
        "| layout | kills | within an exchange | renewals served | handshakes | failed | pairs by handle | mismatched | pairs by path | mismatched | not readable | served in the end |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|");
    for layout in [Layout::Symlink, Layout::Copy] {
        let mut place = Place::served(layout, None)?;
        eprintln!("faults: {kills} kills, layout {layout}");
        // The agent that was started last goes on until the end is seen.
        let Killed { seen, within, renewed, last: _agent } = kill(&mut place, kills, random)?;
        let end = place.comes_to_be_served(|_| true);
        tally.kills += kills;
        if let Err(error) = &end {
            tally.lose(&format!("after {kills} kills in the layout {layout}: {error:#}"));
        }
        for why in [&seen.by_handle.why, &seen.by_path.why].into_iter().flatten() {
            eprintln!("faults: a reader could not read: {why}");
        }
        let unreadable = seen.by_handle.unreadable + seen.by_path.unreadable;
        tally.tear(seen.shakes.failed, "a handshake failed");
        tally.tear(seen.by_handle.mismatched, "a pair in one directory did not match");
        tally.tear(unreadable, "a file could not be read");
        println!(
            "| `{layout}` | {kills} | {within} | {renewed} | {} | {} | {} | {} | {} | {} | {unreadable} | {} |",
            seen.shakes.hands + seen.shakes.failed,
            seen.shakes.failed,
            seen.by_handle.pairs,
            seen.by_handle.mismatched,
            seen.by_path.pairs,
            seen.by_path.mismatched,
            if end.is_ok() { "yes" } else { "**no**" },
        );
    }
    Ok(())
}

struct Killed {
    seen: Seen,
    /// Kills after which the ledger had a journal.
    within: usize,
    /// Renewals that came to be served meanwhile.
    renewed: usize,
    /// The agent that was started after the last kill.
    last: Process,
}

fn kill(place: &mut Place, kills: usize, random: &mut Random) -> Result<Killed> {
    place.guest.stop()?;
    let (done, renewed, mut within) = (AtomicBool::new(false), AtomicUsize::new(0), 0);
    let (done, renewed, place) = (&done, &renewed, &*place);
    let (seen, last) = thread::scope(|scope| -> Result<_> {
        let watch = Watch::begin(scope, place, done);
        let renewing = scope.spawn(move || renew(&place.host, done, renewed));
        let killing = (|| -> Result<Process> {
            for count in 1..=kills {
                let mut agent = spawn(&place.guest)?;
                // Not a wait for anything: the moment is what chance says.
                thread::sleep(Duration::from_micros(random.below(MAX_LIFE_US)));
                agent.check_running()?;
                agent.kill9()?;
                within += usize::from(has_journal(&place.guest));
                if interrupt::requested() {
                    bail!("interrupted");
                }
                if count % 50 == 0 {
                    eprintln!("faults: {count} kills, {} renewals", renewed.load(Ordering::Relaxed));
                }
            }
            spawn(&place.guest)
        })();
        done.store(true, Ordering::Relaxed);
        let renewing = renewing.join();
        let seen = watch.seen()?;
        if renewing.is_err() {
            bail!("the renewals panicked");
        }
        Ok((seen, killing?))
    })?;
    Ok(Killed { seen, within, renewed: renewed.load(Ordering::Relaxed), last })
}

/// Renews again and again. What is not served in time is renewed once more: the agent is being killed.
fn renew(host: &Host, done: &AtomicBool, renewed: &AtomicUsize) {
    while !done.load(Ordering::Relaxed) {
        let finished = host.pinion(&["ensure", "web", "--renew", "--until", "served", "--timeout", "20s"]);
        match finished.and_then(pinion_tests::process::Finished::succeeded) {
            Ok(_) => drop(renewed.fetch_add(1, Ordering::Relaxed)),
            Err(error) => eprintln!("faults: a renewal took too long: {error:#}"),
        }
    }
}

/// Starts it and waits for nothing, so that it can be killed before it answers.
fn spawn(guest: &Guest) -> Result<Process> {
    Process::spawn("pinion-agent", &mut guest.command(&["run"])?, &guest.path("/var/log/pinion-agent.log"))
}

/// Whether the dead agent's ledger says that an exchange was under way.
fn has_journal(guest: &Guest) -> bool {
    let ledger = fs::read(guest.path(Place::STATE).join("placements/web.json")).context("read the ledger");
    let ledger = ledger.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).context("parse the ledger"));
    ledger.is_ok_and(|ledger| ledger.pointer("/placement/switch").is_some_and(|switch| !switch.is_null()))
}

/// Twice what a start and a renewal take on an idle machine, so that kills fall everywhere in them (microseconds).
const MAX_LIFE_US: u64 = 900_000;
