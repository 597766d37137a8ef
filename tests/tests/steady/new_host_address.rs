//! The host gets another address: agents find it there, and none joins anew.

use std::fs;

use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    wait::{self, PATIENCE},
};
use serde_json::json;

/// The first addresses, each with the harness's port.
const OLD: [u8; 4] = [127, 0, 0, 2];
const NEW: [u8; 4] = [127, 0, 0, 3];

/// What the agent keeps of what the controller says.
const DOCUMENT: &str = "/var/lib/pinion-agent/controllers.json";

fn at(host: &Host, ip: [u8; 4]) -> String {
    std::net::SocketAddr::from((ip, host.address().port())).to_string()
}

/// Where the controller listens, and what it advertises, from its next start on.
fn configure(host: &Host, listen: &str, advertise: &[&str]) {
    let path = host.root().join("etc/pinion/controller.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    let lines = text.lines().map(|line| match line.split_once(" = ") {
        Some(("listen", _)) => format!("listen = {}\n", json!(listen)),
        Some(("advertise", _)) => format!("advertise = {}\n", json!(advertise)),
        _ => format!("{line}\n"),
    });
    fs::write(&path, lines.collect::<String>()).expect("written");
}

/// Starts the controller again, and waits for the agent.
fn restarted(host: &mut Host, guest: &mut Guest) {
    host.restart().expect("restarted");
    guest.wait_linked(host).expect("linked");
}

fn joins(host: &Host) -> usize {
    let events = host.pinion(&["events", "--json"]).expect("events").succeeded().expect("events").stdout;
    events.matches("joined with identity").count()
}

#[test]
fn a_host_gets_another_address_and_no_agent_joins_anew() {
    let placement = json!({ "guest": 1001, "files": { "cert": { "path": "/etc/ssl/web.crt" }, "key": { "path": "/etc/ssl/web.key" } } });
    let certificate = json!({ "name": "web", "common_name": "web.example", "placements": [placement] });
    let mut host = Host::prepare(&HostOptions::embedded(&json!([certificate]))).expect("a host");
    let (old, new) = (at(&host, OLD), at(&host, NEW));
    configure(&host, &old, &[&old]);
    host.start_again().expect("a controller");
    let mut guest = Guest::join(&host, 1001).expect("joined by the old address");
    host.ensure(&["web"], "installed").expect("installed");

    // While the old address is still there, agents hear of the new one.
    configure(&host, &old, &[&new, &old]);
    restarted(&mut host, &mut guest);
    wait::until("the agent to write down the new address", PATIENCE, || {
        let text = guest.read(DOCUMENT).unwrap_or_default();
        if text.contains(&new) { Ok(()) } else { Err(text) }
    })
    .expect("told");

    // An agent that is down when the host is renumbered finds it all the same.
    guest.stop().expect("stopped");
    host.stop().expect("stopped");
    configure(&host, &new, &[&new]);
    host.start_again().expect("a controller at the new address");
    guest.start().expect("started");
    guest.wait_linked(&host).expect("linked at the new address");
    host.renew(&["web"], "installed").expect("renewed");
    assert!(guest.read(DOCUMENT).expect("a document").contains(&format!("\"last\":\"{new}\"")));
    assert_eq!(joins(&host), 1, "nobody joined anew");

    // What the agent joined with stays: a document that is lost costs what it said.
    guest.stop().expect("stopped");
    guest.write(DOCUMENT.trim_start_matches('/'), "{ damaged").expect("damaged");
    host.stop().expect("stopped");
    configure(&host, &old, &[&old]);
    host.start_again().expect("back at the old address");
    guest.start().expect("started");
    guest.wait_linked(&host).expect("linked where it joined");
    assert_eq!(joins(&host), 1, "nobody joined anew");
}

#[test]
fn a_name_is_resolved_for_agents_and_an_unresolvable_one_is_reported() {
    let mut host = Host::prepare(&HostOptions::default()).expect("a host");
    let (listen, port) = (host.address().to_string(), host.address().port());
    configure(&host, &listen, &[&format!("nowhere.invalid:{port}")]);
    host.start_again().expect("a controller");
    let told = |host: &Host, text: &str| {
        wait::until("the note", PATIENCE, || match host.status() {
            Ok(status) if status.notes.iter().any(|note| note.contains(text)) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .expect("told");
    };
    told(&host, "cannot resolve nowhere.invalid");
    let refused = host.pinion(&["token", "create", "--guest", "1001"]).expect("an answer");
    assert!(refused.code() != 0 && refused.stderr.contains("cannot resolve nowhere.invalid"), "{refused}");

    configure(&host, &listen, &[&format!("localhost:{port}"), &format!("nowhere.invalid:{port}")]);
    host.restart().expect("restarted");
    told(&host, "cannot resolve nowhere.invalid");
    let guest = Guest::join(&host, 1001).expect("joined by what the name leads to");
    drop(guest);
}
