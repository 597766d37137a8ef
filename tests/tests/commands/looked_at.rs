//! `ensure` and `await` answer with what is so now, not with what was so at the last look.

use std::{
    fs,
    time::{Duration, Instant},
};

use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    process::Finished,
    tls_server::TlsServer,
};
use serde_json::{Value, json};

fn files(name: &str, guest: u32) -> Value {
    json!({ "name": name, "common_name": format!("{name}.internal.example"),
            "placements": [{ "guest": guest, "recipe": "files" }] })
}

/// A certificate whose files no agent may write.
fn outside(guest: u32) -> Value {
    let mut outside = files("outside", guest);
    outside["placements"][0]["files"] =
        json!({ "fullchain": { "path": "/srv/tls/a.crt" }, "key": { "path": "/srv/tls/a.key" } });
    outside
}

fn write(host: &Host, certificates: &Value) {
    host.write_manifest(&json!({ "version": 1, "certificates": certificates })).expect("written");
}

fn ensure(host: &Host, arguments: &[&str]) -> Finished {
    host.pinion(&[&["ensure"], arguments].concat()).expect("it runs")
}

fn wait(guest: &Guest, arguments: &[&str]) -> Finished {
    guest.pinion_agent(&[&["await", "--until", "served"], arguments].concat()).expect("it runs")
}

#[test]
fn a_service_that_went_away_a_moment_ago_is_not_served() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    let server = TlsServer::install(&guest, "/etc/ssl/web.crt", "/etc/ssl/web.key").expect("tls-server is built");
    // The agent is asked by nobody for the next minute.
    let mut placement = server.placement(&guest, "restart");
    placement["probe"]["settle"] = json!("1s");
    write(&host, &json!([{ "name": "web", "common_name": "web.internal.example", "placements": [placement] }]));
    host.ensure(&["web"], "installed").expect("installed");
    server.unit().start().expect("it starts");
    host.ensure(&["web"], "served").expect("served");
    assert_eq!(wait(&guest, &["web", "--timeout", "20s"]).code(), 0);

    server.unit().stop().expect("it stops");
    let ended = wait(&guest, &["web", "--timeout", "3s"]);
    assert!(ended.code() == 3 && ended.stderr.contains("timed out"), "{ended}");
    server.unit().start().expect("it starts");
    assert_eq!(wait(&guest, &["web", "--timeout", "20s"]).code(), 0);
    assert_eq!(ensure(&host, &["web", "--timeout", "20s"]).code(), 0);
    server.unit().stop().expect("it stops");
    let ended = ensure(&host, &["web", "--timeout", "3s"]);
    assert!(ended.code() == 3 && ended.stderr.contains("0 of 1 reached"), "{ended}");
}

#[test]
fn a_renewal_that_is_refused_is_not_reached_although_the_old_certificate_is_served() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    let server = TlsServer::install(&guest, "/etc/ssl/web.crt", "/etc/ssl/web.key").expect("tls-server is built");
    let mut placement = server.placement(&guest, "restart");
    placement["validate"] = json!({ "hook": "check" });
    guest.write_hook("check", "#!/bin/sh\nexit 0\n").expect("written");
    write(&host, &json!([{ "name": "web", "common_name": "web.internal.example", "placements": [placement] }]));
    host.ensure(&["web"], "installed").expect("installed");
    server.unit().start().expect("it starts");
    host.ensure(&["web"], "served").expect("served");
    guest.write_hook("check", "#!/bin/sh\necho 'out of fashion' >&2\nexit 1\n").expect("written");
    assert_eq!(ensure(&host, &["web", "--renew", "--timeout", "20s"]).code(), 4);
    let again = ensure(&host, &["web", "--timeout", "20s"]);
    assert!(again.code() == 4 && again.stderr.contains("out of fashion"), "{again}");
    for until in ["installed", "served"] {
        let ended = guest.pinion_agent(&["await", "web", "--until", until, "--timeout", "20s"]).expect("it runs");
        assert!(ended.code() == 4 && ended.stderr.contains("out of fashion"), "{until}: {ended}");
    }
    // The question itself makes the agent try again.
    guest.write_hook("check", "#!/bin/sh\nexit 0\n").expect("written");
    assert_eq!(wait(&guest, &["web", "--timeout", "20s"]).code(), 0);
    assert_eq!(ensure(&host, &["web", "--timeout", "20s"]).code(), 0);
}

#[test]
fn what_is_blocked_ends_it_at_once_though_others_wait_unless_it_is_waited_for() {
    let host = Host::start(&HostOptions::embedded(&json!([outside(1001), files("web", 1001), files("mail", 1002)])));
    let host = host.expect("a host");
    let _guest = Guest::join(&host, 1001).expect("a guest");
    let began = Instant::now();
    let ended = ensure(&host, &["--timeout", "60s"]);
    assert!(began.elapsed() < Duration::from_secs(30), "it does not wait for guest 1002");
    assert_eq!(ended.code(), 4, "{ended}");
    let last = "1 of 3 reached, 1 blocked: needs a person; the controller keeps trying the other 1\n";
    assert!(ended.stderr.ends_with(last), "{ended}");
    assert!(ended.stderr.contains("mail@1002: pending: waiting"), "{ended}");
    // Without what is blocked it is a wait, and with `--wait` it is one for all.
    assert_eq!(ensure(&host, &["web", "mail", "--timeout", "1s"]).code(), 3);
    let began = Instant::now();
    assert_eq!(ensure(&host, &["--wait", "--timeout", "2s"]).code(), 4);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_broken_manifest_an_unknown_guest_and_a_guests_name_are_understood() {
    let options = HostOptions::embedded(&json!([files("web", 1001), files("mail", 1002)]));
    let host = Host::start(&HostOptions { guests: [("services".to_owned(), 1001)].into(), ..options }).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    for (arguments, code, words) in [
        (&["web@services"][..], 0, "1 of 1 reached"),
        (&["web@Services", "--guest", "services"], 0, "1 of 1 reached"),
        (&["--guest", "1001", "--guest", "1002", "--timeout", "1s"], 3, "1 of 2 reached"),
        (&["mail@services"], 6, "mail@1001"),
        (&["web@nobody"], 6, "no guest named nobody"),
        (&["--guest", "999"], 6, "there is no guest 999"),
        (&["--guest", "1001", "--guest", "999"], 6, "there is no guest 999"),
    ] {
        let ended = ensure(&host, arguments);
        assert!(ended.code() == code && ended.stderr.contains(words), "{arguments:?}: {ended}");
    }
    let status = host.pinion(&["status", "--guest", "999"]).expect("it runs");
    assert_eq!(status.code(), 6, "{status}");
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let installed = |name: &str| guest.pinion_agent(&["await", name, "--timeout", "5s"]).expect("it runs").code();
    assert_eq!(installed(&format!("web@{hostname}")), 0);
    assert_eq!(installed("web@another-guest"), 6);

    let path = host.root().join("etc/pinion/certificate-manifest.json");
    fs::write(path, "{ \"version\": 1,\n  \"certificates\": [ { \"name\": \"web\" } ] }\n").expect("written");
    let ended = ensure(&host, &["web", "--timeout", "20s"]);
    assert!(ended.code() == 2 && ended.stderr.contains("certificate-manifest.json:2:"), "{ended}");
    assert_eq!(ensure(&host, &["web", "--renew"]).code(), 2);
}
