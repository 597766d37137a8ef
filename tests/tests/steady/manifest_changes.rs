//! A change in the manifest is acted on within a second and without a restart.
//!
//! The events are asked for, and nothing else, while a change is awaited: most questions to the
//! controller make it look at the manifest's file, which would hide a watch that sleeps.
#![allow(clippy::print_stdout, reason = "a test that tells how long something took")]

use std::time::{Duration, Instant};

use pinion_controller::events::{Event, Kind};
use pinion_proto::stage::Stage;
use pinion_tests::{
    journal, openssl,
    site::{Site, manifest},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

#[test]
fn every_change_is_acted_on_within_a_second() {
    let site = Site::served().expect("the certificate is served");
    let mut certificate = site.certificate();
    let mut times = Vec::new();
    let mut change = |what: &str, certificates: Value, seen: (Kind, &str)| {
        let took = acted_on(&site, certificates, seen.0, &[seen.1]);
        times.push((what.to_owned(), took));
        site.host.ensure(&[], "served").expect("served");
        site.serial().expect("all agree")
    };

    certificate["sans"] = json!(["second.internal.example"]);
    let second = change("a name added", json!([certificate]), (Kind::Issued, "web@1001"));

    certificate["key"] = json!({ "algorithm": "ecdsa-p384" });
    let third = change("another kind of key", json!([certificate]), (Kind::Issued, "web@1001"));
    assert_ne!(second, third);
    let text = openssl::text(&site.guest.read(Site::FULLCHAIN).expect("a chain")).expect("a leaf");
    assert!(text.contains("Public-Key: (384 bit)") && text.contains("DNS:second.internal.example"), "{text}");

    let other = json!({ "name": "other", "common_name": "other.internal.example", "placements": [{
        "guest": 1001,
        "files": { "cert": { "path": "/etc/ssl/other.crt" }, "key": { "path": "/etc/ssl/other.key" } },
    }] });
    let added = change("a placement added", json!([certificate, other]), (Kind::Stage, "other@1001 is "));
    assert_eq!(added, third, "another placement is no reason for a new certificate");

    let removed = change("a placement removed", json!([certificate]), (Kind::Retired, "other@1001"));
    assert_eq!(removed, third);
    let status = site.host.status().expect("the controller answers");
    assert!(status.placement("other@1001").is_some_and(|placement| placement.retired), "{status:?}");
    for file in ["/etc/ssl/other.crt", "/etc/ssl/other.key"] {
        assert!(site.guest.path(file).exists(), "{file} stays until it is purged");
    }

    certificate["common_name"] = "second.internal.example".into();
    certificate["sans"] = json!([Site::NAME]);
    let renamed = change("another common name", json!([certificate]), (Kind::Issued, "web@1001"));
    assert_ne!(renamed, third);

    certificate["placements"][0]["files"]["ca"]["path"] = "/etc/ssl/elsewhere/root.crt".into();
    let moved = change("a file moved", json!([certificate]), (Kind::Stage, "web@1001 is "));
    assert_eq!(moved, renamed, "another place is no reason for a new certificate");

    // Only the median, because the machine may have better things to do for a moment.
    times.sort_by_key(|(_, took)| *took);
    println!("from the manifest's change to the deed: {times:?}");
    assert!(times[times.len() / 2].1 < Duration::from_secs(1), "{times:?}");
}

#[test]
fn another_common_name_among_the_same_names_is_one_new_certificate() {
    const SECOND: &str = "second.internal.example";
    let mut site = Site::served().expect("the certificate is served");
    let named = |site: &Site, common_name: &str, other: &str| {
        let mut certificate = site.certificate();
        certificate["common_name"] = common_name.into();
        certificate["sans"] = json!([other]);
        json!([certificate])
    };
    site.host.write_manifest(&manifest(named(&site, Site::NAME, SECOND))).expect("the manifest is written");
    site.host.ensure(&[], "served").expect("served");
    for common_name in [SECOND, Site::NAME] {
        let other = if common_name == SECOND { Site::NAME } else { SECOND };
        let issued = site.issued().expect("the events are there");
        acted_on(&site, named(&site, common_name, other), Kind::Issued, &["web@1001"]);
        site.host.ensure(&[], "served").expect("served");
        let subject = openssl::subject(&site.guest.read(Site::FULLCHAIN).expect("a chain")).expect("a leaf");
        assert!(subject.contains(common_name) && !subject.contains(other), "{subject}");
        let serial = site.serial().expect("all agree");
        for _ in 0..5 {
            site.host.ensure(&[], "served").expect("served");
        }
        site.guest.restart().expect("the agent restarts");
        site.host.restart().expect("the controller restarts");
        site.guest.wait_linked(&site.host).expect("linked");
        site.host.ensure(&[], "served").expect("served");
        assert_eq!(site.serial().expect("all agree"), serial);
        assert_eq!(site.issued().expect("the events are there"), issued + 1, "one, and no more");
    }
}

#[test]
fn files_move_with_the_certificate_that_they_have() {
    let site = Site::served().expect("the certificate is served");
    let (serial, issued) = (site.serial().expect("all agree"), site.issued().expect("the events are there"));
    let mut moved = site.certificate();
    let (chain, key) = ("/etc/ssl/elsewhere/web.crt", "/etc/ssl/elsewhere/web.key");
    moved["placements"][0]["files"]["fullchain"]["path"] = chain.into();
    moved["placements"][0]["files"]["key"]["path"] = key.into();
    acted_on(&site, json!([moved]), Kind::Stage, &["web@1001 is "]);
    site.host.ensure(&[], "served").expect("the service still serves what it had");

    let at = |path: &str| openssl::serial(&site.guest.read(path).expect("a file")).expect("a leaf");
    assert_eq!(at(chain), serial, "the same certificate at the new place");
    assert!(openssl::is_pair(&site.guest.path(chain), &site.guest.path(key)).expect("both are there"));
    let left = |site: &Site| {
        let status = site.host.status().expect("the controller answers");
        let mut left = status.placement(Site::PLACEMENT).expect("it is known").left_behind.clone();
        left.sort();
        left
    };
    assert_eq!(left(&site), [Site::FULLCHAIN, Site::KEY]);
    assert_eq!(at(Site::FULLCHAIN), serial, "the old files stay until they are purged");

    site.host.write_manifest(&site.manifest()).expect("the manifest is written");
    site.host.ensure(&[], "served").expect("served");
    assert_eq!(left(&site), [chain, key]);
    assert_eq!(site.serial().expect("all agree"), serial);
    assert_eq!(site.issued().expect("the events are there"), issued, "moving issues nothing");
}

#[test]
fn another_reload_or_probe_is_taken_without_a_new_certificate() {
    let site = Site::served().expect("the certificate is served");
    let (serial, issued) = (site.serial().expect("all agree"), site.issued().expect("the events are there"));
    let mut certificate = site.certificate();
    certificate["placements"][0]["reload"] = json!({ "restart": "tls-server.service" });
    acted_on(&site, json!([certificate]), Kind::Manifest, &["is in force"]);
    site.host.ensure(&[], "served").expect("served");
    assert_eq!((site.serial().expect("all agree"), site.server.unit().restarts()), (serial, 0));

    site.host.renew(&[], "served").expect("renewed");
    assert_eq!(site.server.unit().restarts(), 1, "the new way of telling the service is used");

    certificate["placements"][0]["probe"] = "nothing".into();
    let without = json!([certificate]);
    site.host.write_manifest(&manifest(without)).expect("the manifest is written");
    site.host.ensure(&[], "served").expect("as far as it can be looked at");
    site.host.wait_placement(Site::PLACEMENT, |placement| placement.goal == Some(Stage::Reloaded)).expect("no probe");
    assert_eq!(site.issued().expect("the events are there"), issued + 1, "the one renewal that was asked for");
}

#[test]
fn what_was_retired_and_is_wanted_again_goes_on_with_what_it_has() {
    let site = Site::served().expect("the certificate is served");
    let (serial, issued) = (site.serial().expect("all agree"), site.issued().expect("the events are there"));
    let reloads = site.server.unit().reloads();
    for _ in 0..3 {
        site.host.write_manifest(&manifest(json!([]))).expect("the manifest is written");
        site.host.wait_placement(Site::PLACEMENT, |placement| placement.retired).expect("it is retired");
        site.host.write_manifest(&site.manifest()).expect("the manifest is written");
        site.host.ensure(&[], "served").expect("served");
        let status = site.host.status().expect("the controller answers");
        assert!(status.placement(Site::PLACEMENT).is_some_and(|placement| !placement.retired), "{status:?}");
    }
    assert_eq!(site.serial().expect("all agree"), serial);
    assert_eq!(site.issued().expect("the events are there"), issued);
    assert_eq!(site.server.unit().reloads(), reloads);
}

/// Writes the manifest and waits for the event that shows that it was acted on; how long that took.
fn acted_on(site: &Site, certificates: Value, kind: Kind, words: &[&str]) -> Duration {
    let known = journal::events(&site.host).expect("the events are there").len();
    site.host.write_manifest(&manifest(certificates)).expect("the manifest is written");
    let written = Instant::now();
    let fits = |event: &Event| event.kind == kind && words.iter().all(|word| event.text.contains(word));
    wait::until(&format!("{kind:?} {words:?}"), PATIENCE, || {
        let events = journal::events(&site.host).map_err(|error| format!("{error:#}"))?;
        let new: Vec<_> = events.into_iter().skip(known).collect();
        if new.iter().any(fits) { Ok(()) } else { Err(format!("{new:?}")) }
    })
    .expect("the change is acted on");
    written.elapsed()
}
