//! The controller or an agent gone for a while: everything else goes on, and what was missed is made up for.
#![allow(clippy::print_stdout, reason = "a test that tells how long something took")]

use std::{
    thread,
    time::{Duration, Instant},
};

use pinion_controller::events::Kind;
use pinion_proto::stage::Stage;
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    journal,
    site::{Site, manifest},
    wait::{self, PATIENCE},
};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::wire::Wire;

/// A peer that says nothing any more is taken for dead after this long, at most.
const DEAD: Duration = Duration::from_secs(30);

#[test]
fn without_a_controller_everything_is_served_and_missed_renewals_are_made_later() {
    let mut site = Site::served().expect("the certificate is served");
    let serial = site.serial().expect("all agree");
    site.host.stop().expect("the controller stops");
    wait::until("the agent to notice", PATIENCE, || {
        let told = site.guest.pinion_agent(&["status", "--json"]).map_err(|error| format!("{error:#}"))?;
        if told.stdout.contains(r#""linked":false"#) { Ok(()) } else { Err(told.stdout) }
    })
    .expect("the agent notices");
    let shown = pinion_tests::look::served(site.server.address(), Site::NAME, &site.root()).expect("it is served");
    assert_eq!(shown.serial(), serial);
    // The agent restarts too, and still serves.
    site.guest.restart().expect("the agent restarts");
    wait::until("the agent to answer", PATIENCE, || match site.guest.pinion_agent(&["status"]) {
        Ok(finished) if finished.code() == 0 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("the agent answers");
    let answer = site.guest.pinion_agent(&["await", "web", "--until", "served", "--timeout", "20s"]).expect("it runs");
    assert_eq!(answer.code(), 0, "{answer}");

    let mut certificate = site.certificate();
    certificate["sans"] = json!(["meanwhile.internal.example"]);
    site.host.write_manifest(&manifest(json!([certificate]))).expect("the manifest is written");
    let started = Instant::now();
    site.host.start_again().expect("the controller starts");
    site.guest.wait_linked(&site.host).expect("the agent comes by itself");
    site.host.ensure(&[], "served").expect("the change is made up for");
    println!("from the controller's start to the change that it had missed: {:?}", started.elapsed());
    assert_ne!(site.serial().expect("all agree"), serial);
    let text = pinion_tests::openssl::text(&site.guest.read(Site::FULLCHAIN).expect("a chain")).expect("a leaf");
    assert!(text.contains("DNS:meanwhile.internal.example"), "{text}");
}

#[test]
fn an_absent_agent_is_reported_and_delays_no_other_guest() {
    let mut site = Site::served().expect("the certificate is served");
    let other = second(&site);
    for (killed, why) in [(false, "stopped"), (true, "killed")] {
        if killed { site.guest.kill9() } else { site.guest.stop() }.unwrap_or_else(|error| panic!("{why}: {error:#}"));
        wait_away(&site.host, PATIENCE).unwrap_or_else(|error| panic!("{why}: {error:#}"));
        others_go_on(&site, &other);
        site.guest.start().expect("the agent starts");
        site.guest.wait_linked(&site.host).expect("linked");
        site.host.ensure(&[], "served").expect("served");
    }
    let status = site.host.status().expect("the controller answers");
    assert!(status.guest("1001").is_some_and(|guest| guest.linked), "{status:?}");
}

#[test]
fn a_hanging_agent_is_noticed_and_links_again() {
    let mut site = Site::served().expect("the certificate is served");
    let other = second(&site);
    let agent = site.guest.agent().expect("it runs");
    agent.signal(Signal::STOP).expect("frozen");
    let frozen = Instant::now();
    others_go_on(&site, &other);
    wait_away(&site.host, DEAD).expect("a dead peer is noticed");
    println!("a frozen agent is noticed after {:?}", frozen.elapsed());
    others_go_on(&site, &other);
    // What is asked of it meanwhile waits, and says for what.
    let asked = site.host.pinion(&["ensure", "web", "--renew", "--timeout", "1s"]).expect("pinion runs");
    assert!(asked.code() == 3 && asked.stderr.contains("not linked since"), "{asked}");

    let before = site.serial().expect("all agree");
    site.guest.agent().expect("it is there").signal(Signal::CONT).expect("continued");
    site.guest.wait_linked(&site.host).expect("it comes back");
    site.host.ensure(&["web"], "served").expect("what was asked meanwhile is done");
    assert_ne!(site.serial().expect("all agree"), before);
}

#[test]
fn a_hanging_controller_is_noticed_by_the_agent() {
    let mut site = Site::served().expect("the certificate is served");
    let serial = site.serial().expect("all agree");
    site.host.controller().expect("it runs").signal(Signal::STOP).expect("frozen");
    wait_agent_says(&site, false, DEAD).expect("the agent notices");
    let shown = pinion_tests::look::served(site.server.address(), Site::NAME, &site.root()).expect("it is served");
    assert_eq!(shown.serial(), serial);
    site.host.controller().expect("it is there").signal(Signal::CONT).expect("continued");
    wait_agent_says(&site, true, PATIENCE).expect("the agent comes back");
    site.host.renew(&[], "served").expect("renewed");
    assert_ne!(site.serial().expect("all agree"), serial);
}

#[test]
fn a_network_that_goes_silent_is_noticed_at_both_ends() {
    let host = Host::prepare(&HostOptions::embedded(&json!([]))).expect("a host");
    let wire = Wire::before(&host).expect("a network");
    let mut site = Site::served_on(host).expect("the certificate is served");
    let serial = site.serial().expect("all agree");
    wire.silence(true);
    let silent = Instant::now();
    let (agent, controller) = thread::scope(|scope| {
        let agent = scope.spawn(|| wait_agent_says(&site, false, DEAD).map(|()| silent.elapsed()));
        let controller = wait_away(&site.host, DEAD).map(|()| silent.elapsed());
        (agent.join().expect("it does not panic"), controller)
    });
    println!("after silence began: the agent noticed in {agent:?}, the controller in {controller:?}");
    agent.expect("the agent notices");
    controller.expect("the controller notices");
    wire.silence(false);
    site.guest.wait_linked(&site.host).expect("the agent comes back");
    site.host.renew(&[], "served").expect("renewed");
    assert_ne!(site.serial().expect("all agree"), serial);
}

/// Within what a shipped agent takes between two looks, and a little for what it does then.
const LOOKED_AT: Duration = Duration::from_secs(75);

#[test]
fn a_shipped_agent_notices_within_a_minute_what_others_do_to_files_and_services() {
    let site = Site::served().expect("the certificate is served");
    let other = second(&site);
    let good = other.read("/etc/ssl/other.crt").expect("a file");
    other.write("etc/ssl/other.crt", "not a certificate\n").expect("somebody writes to it");
    site.server.unit().stop().expect("the service stops");
    wait::until("the file to be put right", LOOKED_AT, || match other.read("/etc/ssl/other.crt") {
        Ok(text) if text == good => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("the agent puts it right");
    // Both guests had the same minute.
    wait::until("the service to be missed", LOOKED_AT, || {
        let status = site.host.status().map_err(|error| format!("{error:#}"))?;
        match status.placement(Site::PLACEMENT) {
            Some(placement) if placement.stage < Stage::Served => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .expect("the agent reports it");
}

/// Waits until the agent says whether it is linked.
fn wait_agent_says(site: &Site, linked: bool, max: Duration) -> anyhow::Result<()> {
    let words = format!("\"linked\":{linked}");
    wait::until(&words, max, || {
        let told = site.guest.pinion_agent(&["status", "--json"]).map_err(|error| format!("{error:#}"))?;
        if told.stdout.contains(&words) { Ok(()) } else { Err(told.stdout) }
    })
}

/// Guest 1002 with a certificate of its own.
fn second(site: &Site) -> Guest {
    let other = Guest::join(&site.host, 1002).expect("another guest");
    let certificates = json!([site.certificate(), other_certificate()]);
    site.host.write_manifest(&manifest(certificates)).expect("the manifest is written");
    site.host.ensure(&["other"], "served").expect("the other guest has it");
    other
}

fn other_certificate() -> Value {
    json!({ "name": "other", "common_name": "other.internal.example", "placements": [{
        "guest": 1002,
        "files": { "cert": { "path": "/etc/ssl/other.crt" }, "key": { "path": "/etc/ssl/other.key" } },
    }] })
}

/// Waits until the status and the events say that guest 1001 is away.
fn wait_away(host: &Host, max: Duration) -> anyhow::Result<()> {
    wait::until("guest 1001 to be away", max, || {
        let status = host.status().map_err(|error| format!("{error:#}"))?;
        match status.guest("1001") {
            Some(guest) if !guest.linked => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    let status = host.status()?;
    let away = status.guest("1001").and_then(|guest| guest.since);
    anyhow::ensure!(away.is_some(), "the status says since when: {status:?}");
    let words = host.pinion(&["status"])?.succeeded()?.stdout;
    anyhow::ensure!(words.contains("away for"), "{words}");
    journal::wait_event(host, Kind::Unlinked, &["Guest 1001 is no longer linked"]).map(drop)
}

/// A renewal in the other guest works, whatever guest 1001 does.
fn others_go_on(site: &Site, other: &Guest) {
    let serial = || pinion_tests::openssl::serial(&other.read("/etc/ssl/other.crt").expect("a file")).expect("a leaf");
    let before = serial();
    site.host.renew(&["other"], "served").expect("the other guest is renewed");
    assert_ne!(serial(), before);
}
