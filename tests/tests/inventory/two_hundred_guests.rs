//! Two hundred guests that are to be enrolled, through the real root process.
#![allow(clippy::print_stdout, reason = "how long it took is something to know")]

use std::{
    fs,
    time::{Duration, Instant},
};

use pinion_proto::{stage::Halt, token::JoinToken};
use pinion_tests::{host::Host, process::Finished, status::StatusJson, wait};

use crate::{
    proxmox_files::{NODE, Pve, host, wait_status},
    root_process::Tools,
};

/// The first and the last of them.
const GUESTS: std::ops::Range<u32> = 2000..2200;

/// The one in which nothing answers.
const HUNG: u32 = 2003;

/// What enrolling may run at once on a host that runs guests.
const AT_ONCE: usize = 8;

/// Some thousand small processes, beside other suites.
const LONG: Duration = Duration::from_secs(300);

#[test]
fn two_hundred_guests_are_enrolled_at_once_and_one_that_hangs_delays_no_other() {
    let names: Vec<_> = GUESTS.map(|vmid| (format!("web-{vmid}"), vmid)).collect();
    let names: Vec<_> = names.iter().map(|(name, vmid)| (name.as_str(), *vmid)).collect();
    let mut host = host(&names);
    let mut pve = Pve::prepare(&host, "manifest");
    for vmid in GUESTS {
        pve.write(vmid, NODE, "lxc", &format!("hostname: guest-{vmid}\nostype: debian\n"));
        pve.power(vmid, true);
    }
    let tools = Tools::for_host(&host);
    for vmid in GUESTS {
        tools.add(vmid, env!("CARGO_PKG_VERSION"));
    }
    fs::write(tools.guest(HUNG).join("mood"), "hang").expect("written");
    let began = Instant::now();
    host.start_again().expect("the controller starts");

    let joined = |vmid: &u32| {
        let line = fs::read_to_string(tools.guest(*vmid).join("token")).unwrap_or_default();
        JoinToken::parse(line.trim()).is_ok_and(|token| token.guest.to_string() == vmid.to_string())
    };
    let enrolled = wait::until("all but one to have their tokens", LONG, || {
        let missing: Vec<_> = GUESTS.filter(|vmid| *vmid != HUNG && !joined(vmid)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("missing: {missing:?}")) }
    });
    enrolled.expect("each has one of its own");
    println!("199 of 200 guests were given their tokens after {:.1} s", began.elapsed().as_secs_f64());
    let max = tools.max_at_once(HUNG);
    assert!((2..=AT_ONCE).contains(&max), "{max} tools ran at once");
    assert!(!tools.guest(HUNG).join("token").exists());
    // What hangs is told within its patience, and as what it is.
    wait_told_to_hang(&host);
}

/// Waits until the guest that hangs is told as such.
fn wait_told_to_hang(host: &Host) {
    let name = format!("web-{HUNG}@{HUNG}");
    let told = wait::until("the guest that hangs to be told", LONG, || {
        let status = host.status().map_err(|error| format!("{error:#}"))?;
        let trouble = status.placement(&name).and_then(|placement| placement.trouble.clone());
        match trouble {
            Some(trouble) if trouble.halt == Halt::Waiting && trouble.cause.contains("did not end within") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    told.expect("it is told");
}

#[test]
fn guests_that_start_and_stop_are_reported_also_after_the_root_process_was_away() {
    let mut host = host(&[("web", 101)]);
    let mut pve = Pve::for_host(&host);
    host.start_again().expect("the controller starts");
    let runs = |status: &StatusJson, vmid: &str| status.guest(vmid).and_then(|guest| guest.running);
    assert_eq!(runs(&host.status().expect("it answers"), "101"), Some(true), "known from the first moment");
    pve.power(101, false);
    wait_status(&host, "it to have stopped", |status| runs(status, "101") == Some(false));

    pve.tools.as_mut().expect("it runs").stop();
    let status = wait_status(&host, "the host's trouble", |status| !status.troubles.is_empty());
    let trouble = &status.troubles[0];
    assert!(trouble.cause.contains("root process") && trouble.remedy.contains("pinion-channel"), "{trouble}");
    assert_eq!(runs(&status, "101"), Some(false), "as it was known");
    let shown = host.pinion(&["status"]).and_then(Finished::succeeded).expect("a status").stdout;
    assert!(shown.contains(&format!("host: {trouble}")), "{shown}");
    pve.power(101, true);
    pve.tools.as_mut().expect("it is there").start_again(&host);
    wait_status(&host, "it to be over", |status| status.troubles.is_empty() && runs(status, "101") == Some(true));
    let events = host.pinion(&["events"]).and_then(Finished::succeeded).expect("events").stdout;
    assert_eq!(events.matches("The list of Proxmox's guests is out of date").count(), 1, "{events}");
    assert!(events.contains("The list of Proxmox's guests is up to date again"), "{events}");
}
