//! `pinion explain`: one placement's story, in each state that it can be in.

use pinion_tests::{
    guest::Guest,
    host::Host,
    process::Finished,
    site::{Site, manifest},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

/// What is explained, whatever its lines; none of them is too wide for a terminal.
fn explained(host: &Host, name: &str) -> String {
    let told = host.pinion(&["explain", name]).and_then(Finished::succeeded).expect("it is explained");
    for line in told.stdout.lines() {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
    told.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Waits until all of these words are in what is explained.
fn says(host: &Host, name: &str, parts: &[&str]) {
    let said = wait::until(&format!("what {name} is told of"), PATIENCE, || {
        let text = explained(host, name);
        match parts.iter().find(|part| !text.contains(**part)) {
            None => Ok(()),
            Some(part) => Err(format!("no {part:?} in {text}")),
        }
    });
    said.expect("it is told");
}

#[test]
fn every_state_of_a_placement_is_explained() {
    let mut site = Site::served().expect("the certificate is served");
    let host = &site.host;
    let served = [
        "web@1001 is as it should be since 20",
        "wanted A certificate of embedded for web.internal.example",
        "It belongs in guest 1001",
        "there is Generation 1 of embedded, serial",
        "Its service serves it at 127.0.0.1:",
        "why It matches the manifest",
        "next Its renewal is due at",
        "you can Nothing has to be done.",
    ];
    says(host, "web", &served);
    says(host, "1001", &["Guest 1001, is linked since", "web@1001 is as it should be"]);
    assert_eq!(host.pinion(&["explain", "wbe"]).expect("it runs").code(), 6);

    host.pinion(&["freeze", "web", "--until", "8h"]).and_then(Finished::succeeded).expect("frozen");
    says(host, "web@1001", &["web@1001 is as it should be, and frozen since 20", "with `pinion freeze --lift web`"]);
    host.pinion(&["freeze", "--lift"]).and_then(Finished::succeeded).expect("lifted");

    // One that its guest refuses, and one of the same certificate in a guest that never came.
    let mut outside = json!({ "name": "outside", "common_name": "outside.internal.example", "placements": [
        { "guest": 1001, "files": { "fullchain": { "path": "/srv/a.crt" }, "key": { "path": "/srv/a.key" } } }] });
    outside["placements"].as_array_mut().expect("a list").push(json!({ "guest": 1002, "recipe": "files" }));
    host.write_manifest(&manifest(json!([site.certificate(), outside]))).expect("written");
    let blocked =
        ["outside@1001 is blocked and needs you since 20", "you can", "After a change, `pinion ensure outside@1001`"];
    says(host, "outside@1001", &blocked);
    says(host, "outside", &["outside@1001 is blocked", "outside@1002 waits", "The guest was never linked."]);
    let json = host.pinion(&["explain", "outside", "--json"]).expect("it runs");
    let document: Value = serde_json::from_str(&json.stdout).expect("a document");
    let states: Vec<_> = document["placements"].as_array().expect("a list").iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["blocked", "waiting"], "{document:#}");

    // A guest that went while something is due for it.
    site.guest.stop().expect("it stops");
    let host = &site.host;
    let mut renamed = site.certificate();
    renamed["sans"] = json!(["more.internal.example"]);
    host.write_manifest(&manifest(json!([renamed]))).expect("written");
    says(host, "web", &["web@1001 waits since 20", "more.internal.example", "The guest's agent is away since"]);

    host.write_manifest(&manifest(json!([]))).expect("written");
    says(host, "web", &["web@1001 is retired", "Nothing: the manifest does not name it.", "`pinion purge web@1001`"]);
    host.write_manifest(&json!({ "version": 2 })).expect("written");
    says(host, "web", &["The manifest on disk is not in force: "]);
}

#[test]
fn a_certificate_that_was_there_before_is_explained_as_that() {
    let host = Host::start(&Default::default()).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    let files = json!([{ "name": "web", "common_name": "web.internal.example",
        "placements": [{ "guest": guest.manifest_name(), "recipe": "files" }] }]);
    host.write_manifest(&manifest(files)).expect("written");
    host.ensure(&["web"], "reloaded").expect("it is there");
    says(&host, "web", &["Its files are in place, and its service was notified."]);
}
