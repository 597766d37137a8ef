//! What an administrator reads of one placement, of an issuer's root, and of what happened to a name.

use std::fs;

use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    nginx::Nginx,
    process::Finished,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

fn said(host: &Host, arguments: &[&str]) -> Finished {
    host.pinion(arguments).and_then(Finished::succeeded).expect("it is answered")
}

fn document(host: &Host, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(host, arguments).stdout).expect("stdout is one JSON document")
}

#[test]
fn one_placement_is_shown_whole() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    let nginx =
        Nginx::install(&guest, "/etc/nginx/ssl/web.internal.example.crt", "/etc/nginx/ssl/web.internal.example.key")
            .expect("nginx is installed");
    let certificates =
        json!([{ "name": "web", "common_name": "web.internal.example", "placements": [nginx.placement(&guest)] }]);
    host.write_manifest(&json!({ "version": 1, "certificates": certificates })).expect("written");
    host.ensure(&["web"], "installed").expect("installed");
    nginx.unit().start().expect("nginx starts");
    host.ensure(&["web"], "served").expect("served");

    let text = said(&host, &["show", "web@1001"]).stdout;
    let status = host.status().expect("a status");
    let serial = status.placement("web@1001").and_then(|found| found.serial.clone()).expect("it is there");
    let address = nginx.address().to_string();
    for part in [
        "validity     ok",
        "stage        served",
        &format!("serial       {serial}"),
        "issuer       embedded",
        "chain        ",
        "key          ecdsa-p256",
        "/etc/nginx/ssl/web.internal.example.crt",
        "/etc/nginx/ssl/web.internal.example.key",
        "service      reload nginx.service",
        &format!("served       this certificate, at {address}"),
        "last events of web@1001",
        "web@1001 is served",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let whole = document(&host, &["show", "web@1001", "--json"]);
    let details = &whole["placements"][0]["details"];
    assert_eq!(details["files"].as_array().map(Vec::len), Some(2), "{whole}");
    assert!(details["chain"].as_array().is_some_and(|chain| !chain.is_empty()), "{whole}");
}

#[test]
fn an_issuers_root_is_printed_as_pem_and_nothing_else_is() {
    let options = HostOptions::embedded(&json!([{ "name": "web", "common_name": "web.internal.example",
        "placements": [{ "guest": 1001, "files": { "ca": { "path": "/etc/ssl/root.crt" },
            "cert": { "path": "/etc/ssl/web.crt" }, "key": { "path": "/etc/ssl/web.key" } } }] }]));
    let host = Host::start(&options).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&[], "installed").expect("installed");
    let placed = fs::read_to_string(guest.path("/etc/ssl/root.crt")).expect("the guest has it");
    for arguments in [&["issuer", "root"][..], &["issuer", "root", "embedded"]] {
        let printed = said(&host, arguments);
        assert_eq!(printed.stdout.trim(), placed.trim(), "{printed}");
        assert!(printed.stderr.contains("embedded: ") && printed.stderr.contains("SHA-256"), "{printed}");
    }
    let reports = document(&host, &["issuer", "root", "--json"]);
    let root = &reports[0]["roots"][0];
    assert_eq!((root["pem"].as_str().map(str::trim), &root["is_signing"]), (Some(placed.trim()), &json!(true)));
    let unknown = host.pinion(&["issuer", "root", "embeded"]).expect("it runs");
    assert!(unknown.code() == 6 && unknown.stderr.contains("embedded") && unknown.stdout.is_empty(), "{unknown}");
}

#[test]
fn events_are_those_of_a_name_and_since_a_moment() {
    let files = |name: &str, guest: u32| {
        json!({ "name": name, "common_name": format!("{name}.internal.example"),
                "placements": [{ "guest": guest, "recipe": "files" }] })
    };
    let options = HostOptions::embedded(&json!([files("web", 1001), files("mail", 1002)]));
    let host = Host::start(&HostOptions { guests: [("services".to_owned(), 1001)].into(), ..options }).expect("a host");
    let _guests = [1001, 1002].map(|vmid| Guest::join(&host, vmid).expect("a guest"));
    host.ensure(&[], "reloaded").expect("all is there");
    let of = |arguments: &[&str]| {
        let lines = said(&host, &[&["events", "--json"], arguments].concat()).stdout;
        let parse = |line| serde_json::from_str::<Value>(line).expect("a line is JSON");
        lines.lines().map(parse).collect::<Vec<_>>()
    };
    let has = |events: &[Value], field: &str, value: &str| {
        !events.is_empty() && events.iter().all(|event| event[field].to_string().trim_matches('"') == value)
    };
    for name in ["web", "web@1001", "web@services"] {
        assert!(has(&of(&[name]), "certificate", "web"), "{name}");
    }
    for name in ["1002", "services"] {
        let guest = if name == "services" { "1001" } else { name };
        assert!(has(&of(&[name]), "guest", guest), "{name}");
    }
    assert_eq!(host.pinion(&["events", "wbe"]).expect("it runs").code(), 6);
    let all = of(&[]).len();
    assert_eq!(of(&["--since", "8h"]).len(), all);
    // Moments are whole seconds: what happened in this one is since this one.
    wait::until("the next second", PATIENCE, || match of(&["--since", "0s"]) {
        events if events.is_empty() => Ok(()),
        events => Err(format!("{events:?}")),
    })
    .expect("nothing has happened since now");
    assert_eq!(of(&["--since", "2020-01-01", "--last", "2"]).len(), 2);
    assert_eq!(host.pinion(&["events", "--since", "tomorrow"]).expect("it runs").code(), 2);
}
