//! `pinion status --check`, the one call of a monitoring system: a line, and an exit code that is true.

use std::fs;

use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

fn files(name: &str, guest: u32) -> Value {
    json!({ "name": name, "common_name": format!("{name}.internal.example"),
            "placements": [{ "guest": guest, "recipe": "files" }] })
}

fn write(host: &Host, certificates: &[Value]) {
    host.write_manifest(&json!({ "version": 1, "certificates": certificates })).expect("written");
}

/// Waits until a check ends with this code and says these words; its line.
fn ends_with(host: &Host, code: i32, words: &str) -> String {
    let ended = wait::until(&format!("a check that ends with {code}"), PATIENCE, || {
        let check = host.pinion(&["status", "--check"]).map_err(|error| format!("{error:#}"))?;
        let is_so = check.code() == code && check.stdout.contains(words) && check.stdout.lines().count() == 1;
        if is_so { Ok(check.stdout) } else { Err(check.to_string()) }
    });
    ended.expect("it is so")
}

#[test]
fn a_check_ends_with_the_worst_that_is_true() {
    let mut host = Host::start(&HostOptions::embedded(&json!([files("web", 1001)]))).expect("a host");
    let mut guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&[], "reloaded").expect("it is there");
    // It can be looked at by nobody, and is at its goal.
    ends_with(&host, 0, "1 of 1 placement good");
    let status = host.pinion(&["status", "--json"]).expect("it runs");
    let status: Value = serde_json::from_str(&status.stdout).expect("a document");
    let web = &status["placements"][0];
    assert_eq!((&web["validity"], &web["due"], &web["stage"]), (&json!("ok"), &json!(false), &json!("reloaded")));
    let table = host.pinion(&["status"]).expect("it runs").stdout;
    assert!(table.starts_with("VALIDITY") && table.contains("\nok "), "{table}");

    // A guest that is away holds a good certificate, and nothing is due there.
    guest.stop().expect("it stops");
    ends_with(&host, 0, "1 of 1 placement good");
    write(&host, &[files("web", 1001), files("mail", 1001)]);
    ends_with(&host, 3, "1 waiting (mail@1001), 1 of 2 placements good");
    guest.start().expect("it starts");
    ends_with(&host, 0, "2 of 2 placements good");

    let mut outside = files("outside", 1001);
    outside["placements"][0]["files"] =
        json!({ "fullchain": { "path": "/srv/tls/a.crt" }, "key": { "path": "/srv/tls/a.key" } });
    write(&host, &[outside, files("web", 1001), files("mail", 1002)]);
    ends_with(&host, 4, "1 blocked (outside@1001), 1 waiting (mail@1002), 1 of 3 placements good");
    let chosen = |names: &[&str]| host.pinion(&[&["status", "--check"], names].concat()).expect("it runs").code();
    assert_eq!([chosen(&["web"]), chosen(&["mail"]), chosen(&["outside"]), chosen(&["wbe"])], [0, 3, 4, 6]);

    write(&host, &[files("web", 1001)]);
    ends_with(&host, 0, "1 of 1 placement good");
    let path = host.root().join("etc/pinion/certificate-manifest.json");
    fs::write(&path, "{ \"version\": 1,\n \"certificates\": [ { } ] }\n").expect("written");
    let line = ends_with(&host, 2, "1 of 1 placement good; the manifest on disk is not in force");
    assert!(line.contains("certificate-manifest.json:2:"), "{line}");
    let json = host.pinion(&["status", "--check", "--json"]).expect("it runs");
    let document: Value = serde_json::from_str(&json.stdout).expect("a document");
    assert_eq!((json.code(), &document["exit"]), (2, &json!(2)), "{json}");

    host.stop().expect("it stops");
    assert_eq!(host.pinion(&["status", "--check"]).expect("it runs").code(), 5);
}
