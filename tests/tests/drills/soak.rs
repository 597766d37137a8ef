//! Renewals without a pause: nothing that is kept for each of them grows.

use std::{fs, time::Instant};

use pinion_tests::{memory, process::Process, site::Site};

use crate::{asked::Asked, length};

#[test]
fn memory_and_open_files_stay_as_they_are_over_thousands_of_renewals() {
    let mut site = Site::served().expect("the certificate is served");
    let client = Asked::begin(&site);
    // What is filled once, such as caches and the allocator's pools, is filled by then.
    (0..WARM).for_each(|_| renew(&site));
    let (warm, begun, mut renewals) = (Kept::of(&mut site), Instant::now(), 0);
    while begun.elapsed() < length() {
        renew(&site);
        renewals += 1;
    }
    let (asked, now) = (client.end(), Kept::of(&mut site));
    println!("{renewals} renewals, {asked} handshakes, none failed; {warm:?}, then {now:?}");
    for (before, after) in [(&warm.controller, &now.controller), (&warm.agent, &now.agent)] {
        assert!(after.files <= before.files + MORE_FILES, "{warm:?}, then {now:?}");
        assert!(after.memory <= before.memory + MORE_MEMORY, "{warm:?}, then {now:?}");
    }
    site.serial().expect("all agree");
}

fn renew(site: &Site) {
    site.host.renew(&[], "served").expect("it is renewed");
}

/// What both programs hold.
#[derive(Debug)]
struct Kept {
    controller: Held,
    agent: Held,
}

impl Kept {
    fn of(site: &mut Site) -> Self {
        let controller = Held::of(site.host.controller().expect("the controller runs"));
        Self { controller, agent: Held::of(site.guest.agent().expect("the agent runs")) }
    }
}

/// What a program holds.
#[derive(Debug)]
struct Held {
    /// In bytes.
    memory: u64,
    files: usize,
}

impl Held {
    fn of(program: &Process) -> Self {
        let id = program.id();
        let files = fs::read_dir(format!("/proc/{id}/fd")).expect("listed").count();
        Self { memory: memory::resident(id).expect("it runs"), files }
    }
}

/// Renewals before anything is measured.
const WARM: usize = 200;

/// A connection of a command line may be about to end.
const MORE_FILES: usize = 4;

/// Events that `status` shows are kept in memory up to a number; the allocator keeps a little of what was freed.
const MORE_MEMORY: u64 = 4 * 1024 * 1024;
