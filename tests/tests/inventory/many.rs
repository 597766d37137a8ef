//! Two hundred guests that are to be enrolled, through the real root process.
#![allow(clippy::print_stdout, reason = "how long it took is something to know")]

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use pinion_proto::{stage::Halt, token::JoinToken};
use pinion_tests::{host::Host, process::Finished, wait};

use crate::{
    pve::{NODE, Pve, host, wait_status},
    tools::Tools,
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
fn two_hundred_guests_are_enrolled_at_once_and_one_that_hangs_holds_up_nobody() {
    let names: Vec<_> = GUESTS.map(|vmid| (format!("web-{vmid}"), vmid)).collect();
    let names: Vec<_> = names.iter().map(|(name, vmid)| (name.as_str(), *vmid)).collect();
    let mut host = host(&names);
    let tools = Tools::for_host(&host);
    let mut pve = Pve::for_host(&host);
    for vmid in GUESTS {
        pve.write(vmid, NODE, "lxc", &format!("hostname: guest-{vmid}\nostype: debian\n"));
        tools.add(vmid, env!("CARGO_PKG_VERSION"));
    }
    fs::write(tools.guest(HUNG).join("mood"), "hang").expect("written");
    let began = Instant::now();
    host.start_again().expect("the controller starts");

    let (over, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                most.fetch_max(tools.running(), Ordering::SeqCst);
                thread::yield_now();
            }
        });
        let joined = |vmid: &u32| {
            let line = fs::read_to_string(tools.guest(*vmid).join("token")).unwrap_or_default();
            JoinToken::parse(line.trim()).is_ok_and(|token| token.guest.to_string() == vmid.to_string())
        };
        let enrolled = wait::until("all but one to have their tokens", LONG, || {
            let missing: Vec<_> = GUESTS.filter(|vmid| *vmid != HUNG && !joined(vmid)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("missing: {missing:?}")) }
        });
        over.store(true, Ordering::SeqCst);
        enrolled.expect("each has one of its own");
    });
    println!("199 of 200 guests were given their tokens after {:.1} s", began.elapsed().as_secs_f64());
    let most = most.into_inner();
    assert!((2..=AT_ONCE).contains(&most), "{most} tools ran at once");
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
fn that_proxmox_does_not_say_which_guests_run_is_told_once_and_is_over_when_it_does() {
    let mut host = host(&[("web", 101)]);
    let tools = Tools::for_host(&host);
    let _pve = Pve::for_host(&host);
    fs::remove_file(tools.resources()).expect("removed");
    host.start_again().expect("the controller starts");
    let status = wait_status(&host, "the host's trouble", |status| !status.troubles.is_empty());
    let trouble = &status.troubles[0];
    assert!(trouble.cause.contains("pvesh") && !trouble.remedy.is_empty(), "{trouble}");
    let shown = host.pinion(&["status"]).and_then(Finished::succeeded).expect("a status").stdout;
    assert!(shown.contains(&format!("host: {trouble}")), "{shown}");

    fs::write(tools.resources(), r#"[{"vmid":101,"status":"stopped"}]"#).expect("written");
    wait_status(&host, "it to be over", |status| {
        status.troubles.is_empty() && status.guest("101").is_some_and(|guest| guest.running == Some(false))
    });
    let events = host.pinion(&["events"]).and_then(Finished::succeeded).expect("events").stdout;
    assert_eq!(events.matches("ask Proxmox which guests run").count(), 1, "{events}");
    assert!(events.contains("Proxmox says again which guests run"), "{events}");
}
