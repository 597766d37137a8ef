//! Messages that are short on the wire and large in memory: neither program is made large by them.
//!
//! The figures are printed; `cargo xtask bench` has them for the programs as they are shipped.

#![allow(clippy::print_stderr, reason = "the figures are for whoever runs it")]

use std::{collections::BTreeMap, time::Duration};

use pinion_proto::{
    message::{Hello, ToController},
    report::{GuestFacts, PlacementReport},
    wire,
};
use pinion_tests::{
    attack::large::{self, BrokenController, Figures, Guests},
    guest::Guest,
    host::{Host, HostOptions},
    process::{self, Process},
};
use serde_json::json;

/// What one such message may cost, in either direction (bytes).
const MAX: u64 = 16 * 1024 * 1024;

fn told(direction: &str, at_once: usize, what: &str, figures: Figures) {
    let mib = |bytes: u64| bytes / 1024 / 1024;
    eprintln!(
        "{direction}, {at_once} at once, {what}: {} MiB before, {} MiB at most",
        mib(figures.before),
        mib(figures.max)
    );
}

fn host() -> (Host, Guest) {
    let placement = json!({ "guest": 1001, "files": { "cert": { "path": "/etc/ssl/web.crt" }, "key": { "path": "/etc/ssl/web.key" } } });
    let certificate = json!({ "name": "web", "common_name": "web.example", "placements": [placement] });
    let host = Host::start(&HostOptions::embedded(&json!([certificate]))).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    host.renew(&["web"], "installed").expect("installed");
    (host, guest)
}

fn controller(host: &mut Host) -> u32 {
    host.controller().map(|process| Process::id(process)).expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_guests_cost_the_controller_little() {
    let (mut host, guest) = host();
    let process = controller(&mut host);
    for (at_once, max) in [(1, MAX), (2, 2 * MAX), (16, 3 * MAX)] {
        let guests = Guests::join(&host, 2000..2000 + at_once).await.expect("joined");
        for (what, message) in large::to_controller() {
            let (figures, refusals) = guests.all_say(process, &message).await.expect(what);
            let at_once = refusals.len();
            told("to the controller", at_once, what, figures);
            assert!(figures.cost() <= max, "{what}, {at_once} at once: {figures:?}");
            for status in refusals {
                assert_ne!(status.code(), tonic::Code::Ok, "{what}: {status}");
            }
        }
    }
    // The operator is told, the others are at work, and the guests' honest agents would be let in.
    let events = host.pinion(&["events", "--json"]).expect("events").stdout;
    assert!(events.contains("hello.reports") && events.contains("more than 1000 elements"), "{events}");
    host.renew(&["web"], "installed").expect("at work");
    assert!(host.status().expect("a status").is_linked("1001"));
    drop(guest);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_locked_guest_hardly_anything_is_read() {
    let (mut host, guest) = host();
    let process = controller(&mut host);
    let guests = Guests::join(&host, [2000]).await.expect("joined");
    // Joining anew replaces the identity that those hands have.
    let _newer = Guests::join(&host, [2000]).await.expect("joined anew");
    let mut facts_first = BTreeMap::new();
    facts_first.insert("empty reports", large::field(1, &large::field(3, &[]).repeat(large::ELEMENTS)));
    let reports: Vec<PlacementReport> =
        (0..1000).map(|n| PlacementReport::nothing(format!("c{n}").repeat(8).parse().expect("a name"))).collect();
    let hello =
        Hello { facts: GuestFacts::default(), identity_generation: 1, link_count: 1, reports, roots: Vec::new() };
    facts_first.insert("an honest hello", wire::encoded(ToController::Hello(hello)));
    for (what, message) in facts_first {
        let (figures, refusals) = guests.all_say(process, &message).await.expect(what);
        told("to the controller, replaced identity", refusals.len(), what, figures);
        assert!(figures.cost() <= MAX / 4, "{what}: {figures:?}");
        let honest = what == "an honest hello";
        for status in refusals {
            assert_eq!(status.code() == tonic::Code::PermissionDenied, honest, "{what}: {status}");
        }
    }
    let events = host.pinion(&["events", "--json"]).expect("events").stdout;
    assert!(events.contains("has joined again since"), "{events}");
    drop(guest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_controller_costs_the_agent_little() {
    let mut controller = BrokenController::start().await.expect("a controller");
    let mut guest = controller.guest("101").expect("a guest");
    for (what, message) in large::to_agent() {
        let figures = controller.says(&mut guest, &message).await.expect(what);
        told("to the agent", 1, what, figures);
        assert!(figures.cost() <= MAX, "{what}: {figures:?}");
    }
}

/// The largest that is honest goes both ways: many placements in one guest, with many names.
#[tokio::test(flavor = "multi_thread")]
async fn a_guest_with_hundreds_of_large_placements_is_served() {
    let sans: Vec<String> = (0..100).map(|n| format!("host-{n}.some.long.subdomain.of.internal.example")).collect();
    let certificates: Vec<_> = (0..300)
        .map(|n| {
            json!({ "name": format!("c{n}"), "common_name": format!("c{n}.example"), "sans": sans, "placements": [
                { "guest": 1001, "files": { "fullchain": { "path": format!("/etc/ssl/c{n}/web.crt") },
                  "ca": { "path": format!("/etc/ssl/c{n}/ca.crt") }, "key": { "path": format!("/etc/ssl/c{n}/web.key") } } }] })
        })
        .collect();
    let host = Host::start(&HostOptions::embedded(&json!(certificates))).expect("a host");
    let mut guest = Guest::join(&host, 1001).expect("a guest");
    let ensure = || {
        let mut ensure = host.command(&["ensure", "--until", "installed", "--timeout", "900s"]).expect("built");
        process::run(&mut ensure, b"", Duration::from_secs(910)).expect("ends").succeeded()
    };
    ensure().expect("installed");
    guest.restart().expect("restarted");
    guest.wait_linked(&host).expect("its hello is let in");
    // The agent looks at each of the 300 anew, three large files each.
    ensure().expect("all of it");
}
