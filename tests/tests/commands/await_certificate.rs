//! `pinion-agent await` as scripts use it: it comes back when the certificate is there, or with the true reason.

use std::{
    fs,
    time::{Duration, Instant},
};

use pinion_tests::{
    ca::StepCa,
    guest::Guest,
    host::{Host, HostOptions},
    process::Process,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

fn files(name: &str) -> Value {
    json!({ "name": name, "common_name": format!("{name}.internal.example"),
            "placements": [{ "guest": 1001, "recipe": "files" }] })
}

fn manifest(certificates: &Value) -> Value {
    json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": certificates })
}

fn site(certificates: &Value) -> (Host, Guest) {
    let host = Host::start(&HostOptions::embedded(certificates)).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    (host, guest)
}

/// Starts an `await`, and returns when it says that it waits.
fn start(guest: &Guest, arguments: &[&str]) -> Process {
    let mut command = guest.command(&[&["await"], arguments].concat()).expect("pinion-agent is built");
    let process = Process::spawn("await", &mut command, &guest.path("/var/log/await.log")).expect("it starts");
    let says = wait::until("await to say that it waits", PATIENCE, || match process.log() {
        log if log.contains("waiting: ") => Ok(()),
        log => Err(log),
    });
    says.expect("it waits");
    process
}

fn code(mut waiting: Process) -> (i32, String) {
    let ended = waiting.wait_end(PATIENCE).expect("it ends");
    (ended.code().expect("it ends by itself"), waiting.log())
}

#[test]
fn it_waits_for_a_placement_that_the_manifest_does_not_have_yet_and_returns_at_once_afterwards() {
    let (host, guest) = site(&json!([]));
    let waiting = start(&guest, &["docker", "--timeout", "30s"]);
    assert!(waiting.log().contains("the manifest does not place it in this guest yet"), "{}", waiting.log());
    host.write_manifest(&manifest(&json!([files("docker")]))).expect("written");
    let (code, log) = code(waiting);
    assert_eq!(code, 0, "{log}");
    let serial = host.wait_placement("docker@1001", |placement| placement.serial.is_some()).expect("installed").serial;
    assert!(log.contains(&serial.expect("a serial")), "{log}");
    guest.read("/etc/pinion/certs/docker.internal.example.key").expect("the key is there");

    let started = Instant::now();
    let again = guest.pinion_agent(&["await", "docker@1001", "--timeout", "30s"]).expect("it runs");
    again.succeeded().expect("it is there");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // Nothing can be looked at, so `served` ends where the placement does.
    guest.pinion_agent(&["await", "docker", "--until", "served"]).and_then(|f| f.succeeded()).expect("its goal");
}

#[test]
fn it_waits_while_the_certificate_is_being_made_and_through_a_restart_of_the_daemon() {
    let mut ca = StepCa::start().expect("step-ca is installed");
    let issuer = ca.issuer().expect("a root");
    ca.stop();
    let host = Host::start(&HostOptions::step_ca(issuer, &json!([files("web")]))).expect("a host");
    let mut guest = Guest::join(&host, 1001).expect("a guest");
    let late = guest.pinion_agent(&["await", "web", "--timeout", "1s"]).expect("it runs");
    assert_eq!(late.code(), 3, "{late}");
    let waiting = start(&guest, &["web", "--timeout", "30s"]);
    guest.restart().expect("the agent restarts");
    ca.restart().expect("step-ca starts again");
    let (code, log) = code(waiting);
    assert_eq!(code, 0, "{log}");
}

#[test]
fn it_ends_with_3_when_the_time_is_up_and_says_what_is_waited_for() {
    let mut served = files("web");
    served["placements"][0]["probe"] = json!({ "connect": "127.0.0.1:1" });
    let (host, guest) = site(&json!([served]));
    guest.pinion_agent(&["await", "web"]).and_then(|f| f.succeeded()).expect("it is installed");
    host.wait_placement("web@1001", |placement| placement.trouble.is_some()).expect("nobody serves it");
    let finished = guest.pinion_agent(&["await", "web", "--until", "served", "--timeout", "1s"]).expect("it runs");
    assert_eq!(finished.code(), 3, "{finished}");
    assert!(finished.stderr.contains("timed out") && finished.stderr.contains("127.0.0.1:1"), "{finished}");
}

#[test]
fn it_ends_with_4_and_the_reason_when_a_person_is_needed() {
    let mut outside = files("outside");
    outside["placements"][0]["files"] =
        json!({ "fullchain": { "path": "/srv/tls/a.crt" }, "key": { "path": "/srv/tls/a.key" } });
    let mut invalid = files("invalid");
    invalid["placements"][0]["validate"] = json!({ "hook": "refuse" });
    let mut nobody = files("nobody");
    nobody["issuer"] = json!("elsewhere");
    let (_host, guest) = site(&json!([outside, invalid, nobody, files("good")]));
    guest.write_hook("refuse", "#!/bin/sh\necho 'the cipher is out of fashion' >&2\nexit 1\n").expect("written");

    for (name, reason) in [
        // The guest's own allow-list.
        ("outside", "/srv/tls"),
        // The service's own check.
        ("invalid", "the cipher is out of fashion"),
        // What holds it up on the host is told in the guest too.
        ("nobody", "elsewhere"),
    ] {
        let started = Instant::now();
        let finished =
            guest.pinion_agent(&["await", name, "--until", "reloaded", "--timeout", "25s"]).expect("it runs");
        assert_eq!(finished.code(), 4, "{name}: {finished}");
        assert!(finished.stderr.contains("blocked") && finished.stderr.contains(reason), "{name}: {finished}");
        assert!(started.elapsed() < Duration::from_secs(20), "it does not wait for the end of its time");
    }
    let both = guest.pinion_agent(&["await", "good", "outside", "--timeout", "25s"]).expect("it runs");
    assert!(both.code() == 4 && both.stderr.contains("outside"), "{both}");
}

#[test]
fn it_ends_with_5_when_the_daemon_is_absent_or_stays_away() {
    let (_host, mut guest) = site(&json!([]));
    let waiting = start(&guest, &["docker", "--timeout", "2s"]);
    guest.stop().expect("the agent stops");
    let (code, log) = code(waiting);
    assert_eq!(code, 5, "{log}");
    let finished = guest.pinion_agent(&["await", "docker", "--timeout", "30s"]).expect("it runs");
    assert!(finished.code() == 5 && finished.stderr.contains("agent.sock"), "{finished}");
}

#[test]
fn it_ends_with_6_for_a_name_that_nobody_has_and_for_another_guests() {
    let (_host, guest) = site(&json!([files("web")]));
    let finished = guest.pinion_agent(&["await", "wbe", "--timeout", "1s"]).expect("it runs");
    assert!(finished.code() == 6 && finished.stderr.contains("wbe"), "{finished}");
    let finished = guest.pinion_agent(&["await", "web", "wbe", "--timeout", "1s"]).expect("it runs");
    assert!(finished.code() == 6 && finished.stderr.contains("wbe"), "{finished}");
    let started = Instant::now();
    let finished = guest.pinion_agent(&["await", "web@1002", "--timeout", "30s"]).expect("it runs");
    assert!(finished.code() == 6 && finished.stderr.contains("1001"), "{finished}");
    assert!(started.elapsed() < Duration::from_secs(10), "it is certain at once");
    let finished = guest.pinion_agent(&["await", "not a name"]).expect("it runs");
    assert_eq!(finished.code(), 2, "{finished}");
}

#[test]
fn it_waits_for_all_of_several_names_and_tells_them_in_json() {
    let (host, guest) = site(&json!([files("first")]));
    let waiting = start(&guest, &["first", "second", "--timeout", "30s", "--json"]);
    host.write_manifest(&manifest(&json!([files("first"), files("second")]))).expect("written");
    let (code, log) = code(waiting);
    assert_eq!(code, 0, "{log}");

    let finished = guest.pinion_agent(&["await", "first", "second", "--json"]).expect("it runs");
    let document: Value = serde_json::from_str(&finished.stdout).expect("stdout is one JSON document");
    assert_eq!(document["exit"], 0);
    let status = host.status().expect("a status");
    for (index, name) in ["first", "second"].into_iter().enumerate() {
        let placement = &document["placements"][index];
        assert_eq!(placement["certificate"], name);
        let theirs = status.placement(&format!("{name}@1001")).and_then(|placement| placement.serial.clone());
        assert_eq!(placement["serial"].as_str(), theirs.as_deref());
    }
    let finished = guest.pinion_agent(&["await", "third", "--timeout", "1s", "--json"]).expect("it runs");
    let document: Value = serde_json::from_str(&finished.stdout).expect("stdout is one JSON document");
    assert_eq!((finished.code(), &document["exit"]), (6, &json!(6)));
    assert!(document["why"].as_str().is_some_and(|why| why.contains("third")), "{document}");
}

#[test]
fn it_ends_with_2_and_the_reason_while_the_manifest_on_the_host_is_broken() {
    let (host, guest) = site(&json!([files("web")]));
    guest.pinion_agent(&["await", "web"]).and_then(|f| f.succeeded()).expect("it is installed");
    let path = host.root().join("etc/pinion/certificate-manifest.json");
    let good = fs::read_to_string(&path).expect("a manifest");
    // Who waits already learns it, too.
    let waiting = start(&guest, &["new", "--timeout", "60s"]);
    fs::write(&path, good.replacen("\"name\"", "\"nam\u{1b}e\"", 1)).expect("written");
    host.pinion(&["status"]).expect("it looks");
    let (code, log) = code(waiting);
    assert!(code == 2 && log.contains("manifest on the host is not in force"), "{code}: {log}");
    assert!(!log.contains('\u{1b}'), "{log}");
    let ended = guest.pinion_agent(&["await", "web", "--timeout", "30s", "--json"]).expect("it runs");
    assert_eq!(ended.code(), 2, "{ended}");
    assert!(ended.stdout.contains("certificate-manifest.json") && ended.stdout.contains("\"exit\":2"), "{ended}");
    // A restart of the agent changes nothing about it, and the mended manifest ends it.
    fs::write(&path, good).expect("written");
    host.ensure(&[], "installed").expect("it is good");
    guest.pinion_agent(&["await", "web"]).and_then(|f| f.succeeded()).expect("it is good");
}
