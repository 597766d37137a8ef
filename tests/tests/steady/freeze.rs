//! A freeze: nothing disruptive is done, everything else goes on, and both are told.

use pinion_controller::events::Kind;
use pinion_tests::{
    journal,
    site::{Site, manifest},
};
use serde_json::{Value, json};

fn frozen(site: &Site) -> Vec<Value> {
    let told = site.host.pinion(&["status", "--json"]).expect("pinion runs");
    let status: Value = serde_json::from_str(&told.stdout).expect("JSON");
    status["freezes"].as_array().expect("a list").clone()
}

#[test]
fn what_is_frozen_is_not_disturbed_and_says_so_until_it_is_lifted() {
    let mut site = Site::served().expect("the certificate is served");
    let serial = site.serial().expect("all agree");
    let freeze =
        |site: &Site, arguments: &[&str]| site.host.pinion(&[&["freeze"], arguments].concat()).expect("pinion runs");
    for (arguments, code) in [
        (&["nothing-of-that-name"][..], 6),
        (&["--lift", "web"], 6),
        (&["--guest", "no-such-guest"], 6),
        (&["--until", "soon"], 2),
        (&["--until", "2020-01-01T00:00Z"], 2),
        (&["--lift", "--until", "8h"], 2),
    ] {
        let told = freeze(&site, arguments);
        assert_eq!(told.code(), code, "{arguments:?}: {told}");
    }
    assert!(frozen(&site).is_empty());

    // What does not disturb anybody goes on.
    assert_eq!(freeze(&site, &[]).code(), 0);
    site.host.renew(&[], "served").expect("a reload is not disruptive");
    let reloaded = site.serial().expect("all agree");
    assert_ne!(reloaded, serial);
    assert_eq!(freeze(&site, &["--lift"]).code(), 0);

    let mut certificate = site.certificate();
    certificate["placements"][0]["reload"] = json!({ "restart": "tls-server.service" });
    site.host.write_manifest(&manifest(json!([certificate]))).expect("the manifest is written");
    site.host.ensure(&[], "served").expect("served");
    let told = freeze(&site, &["web", "--until", "8h"]);
    assert!(told.code() == 0 && told.stdout.contains("frozen: web until 20"), "{told}");
    let asked = site.host.pinion(&["ensure", "web", "--renew", "--timeout", "8s"]).expect("pinion runs");
    assert!(asked.code() == 3 && asked.stderr.contains("it is frozen until"), "it says why: {asked}");
    site.host.restart().expect("the controller restarts");
    site.guest.wait_linked(&site.host).expect("linked");
    let waits = |site: &Site| {
        let held_back = site.host.wait_placement(Site::PLACEMENT, |placement| {
            placement.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("it is frozen"))
        });
        held_back.expect("it is held back, and told");
    };
    waits(&site);
    assert_eq!((site.server.unit().restarts(), frozen(&site).len()), (0, 1), "also over a restart of the controller");
    let words = site.host.pinion(&["status"]).expect("pinion runs").stdout;
    assert!(words.starts_with("note: frozen: web until ") && words.contains("by root"), "{words}");

    // Without an end it is for a person to end it: nobody waits in vain.
    let told = freeze(&site, &["web"]);
    assert!(told.stdout.contains("disturbs the service despite the freeze if it has to"), "one line: {told}");
    let status: Value =
        serde_json::from_str(&site.host.pinion(&["status", "--json"]).expect("pinion runs").stdout).expect("JSON");
    let notes: Vec<_> = status["notes"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(!notes.is_empty() && notes.iter().all(|note| !note.contains('\n') && !note.contains("  ")), "{notes:?}");
    assert!(told.stdout.contains("in its last day") && told.stdout.contains("despite the freeze"), "{told}");
    let asked = site.host.pinion(&["ensure", "web"]).expect("pinion runs");
    assert!(asked.code() == 4 && asked.stderr.contains("pinion freeze --lift web"), "{asked}");
    assert_eq!(site.server.unit().restarts(), 0);

    let lifted = freeze(&site, &["--lift", "web"]);
    assert!(lifted.code() == 0 && lifted.stdout.contains("nothing is frozen"), "{lifted}");
    site.host.ensure(&[], "served").expect("it goes on at once");
    assert_ne!(site.serial().expect("all agree"), reloaded);
    assert_eq!(site.server.unit().restarts(), 1);
    for words in ["web is frozen until 20", "web is frozen until it is lifted", "The freeze of web is lifted"] {
        let event = journal::wait_event(&site.host, Kind::Asked, &[words, "requested by root"]);
        event.unwrap_or_else(|error| panic!("{words}: {error:#}"));
    }
}
