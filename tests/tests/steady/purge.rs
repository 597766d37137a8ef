//! Purging removes exactly what Pinion wrote, when a person says so, wherever the guest is at that moment.

use std::fs;

use pinion_controller::events::Kind;
use pinion_tests::{
    journal,
    site::{Site, manifest},
    wait::{self, PATIENCE},
};
use serde_json::json;

#[test]
fn purge_removes_what_pinion_wrote_and_leaves_what_others_changed() {
    let site = Site::served().expect("the certificate is served");
    for (file, content) in [("/etc/ssl/web/other.txt", "not Pinion's"), ("/etc/ssl/web.bak", "nor this")] {
        site.guest.write(file, content).expect("a file of somebody else's");
    }
    site.host.write_manifest(&manifest(json!([]))).expect("the manifest is written");
    site.host.wait_placement(Site::PLACEMENT, |placement| placement.retired).expect("it is retired");
    let told = journal::wait_event(&site.host, Kind::Retired, &[Site::PLACEMENT]).expect("it is told");
    assert!(told.text.contains("pinion purge web@1001"), "{}", told.text);
    site.serial().expect("everything is there and served as before");
    let status = site.host.pinion(&["status"]).expect("pinion runs").succeeded().expect("a status");
    assert!(status.stdout.contains("retired"), "{status}");

    site.guest.write(Site::KEY, "somebody's own key\n").expect("a file is changed");
    let purged = site.host.pinion(&["purge", Site::PLACEMENT]).expect("pinion runs").succeeded();
    purged.expect("a retired placement may be purged");
    let event = journal::wait_event(&site.host, Kind::Purged, &[Site::PLACEMENT]).expect("it is told");
    assert!(event.text.contains("changed after Pinion wrote them: /etc/ssl/web/web.key"), "{}", event.text);
    assert!(!site.guest.path(Site::FULLCHAIN).exists() && !site.root().exists());
    assert_eq!(site.guest.read(Site::KEY).expect("it is left"), "somebody's own key\n");
    assert_eq!(site.guest.read("/etc/ssl/web/other.txt").expect("it is left"), "not Pinion's");
    assert_eq!(site.guest.read("/etc/ssl/web.bak").expect("it is left"), "nor this");
    let status = site.host.status().expect("the controller answers");
    assert_eq!(status.placement(Site::PLACEMENT), None, "nothing of it is known any more");
    assert!(!site.guest.path("/var/lib/pinion-agent/placements/web.json").exists(), "nor remembered in the guest");
}

#[test]
fn purge_is_refused_for_what_is_wanted_or_unknown() {
    let site = Site::served().expect("the certificate is served");
    for (name, code, words) in [
        (Site::PLACEMENT, 2, "is in the manifest"),
        ("web", 2, "is in the manifest"),
        ("nothing", 6, "no retired placement is called nothing"),
        ("web@1002", 6, "no retired placement is called web@1002"),
    ] {
        let refused = site.host.pinion(&["purge", name]).expect("pinion runs");
        assert!(refused.code() == code && refused.stderr.contains(words), "{name}: {refused}");
    }
    site.serial().expect("everything is as it was");
}

#[test]
fn a_manifest_that_says_purge_has_the_files_removed() {
    let site = Site::served().expect("the certificate is served");
    let issued = site.issued().expect("the events are there");
    let mut certificate = site.certificate();
    certificate["placements"][0]["purge"] = true.into();
    site.host.write_manifest(&manifest(json!([certificate]))).expect("the manifest is written");
    site.host.ensure(&["web"], "served").expect("there is nothing left to do");
    for file in [Site::FULLCHAIN, Site::KEY, &site.server.ca()] {
        assert!(!site.guest.path(file).exists(), "{file} is removed");
    }
    journal::wait_event(&site.host, Kind::Purged, &[Site::PLACEMENT]).expect("it is told");
    assert_eq!(site.issued().expect("the events are there"), issued);

    site.host.write_manifest(&site.manifest()).expect("the manifest is written");
    site.host.ensure(&["web"], "served").expect("what is wanted again is made again");
    site.serial().expect("all agree");
    assert_eq!(site.issued().expect("the events are there"), issued + 1);
}

#[test]
fn files_of_earlier_manifests_go_with_the_placement() {
    let site = Site::served().expect("the certificate is served");
    let mut moved = site.certificate();
    moved["placements"][0]["files"]["key"]["path"] = "/etc/ssl/elsewhere.key".into();
    site.host.write_manifest(&manifest(json!([moved]))).expect("the manifest is written");
    site.host.ensure(&["web"], "served").expect("served");
    assert!(site.guest.path(Site::KEY).exists() && site.guest.path("/etc/ssl/elsewhere.key").exists());
    retire_and_purge(&site);
    journal::wait_event(&site.host, Kind::Purged, &[Site::PLACEMENT]).expect("it is told");
    for file in [Site::FULLCHAIN, Site::KEY, "/etc/ssl/elsewhere.key"] {
        assert!(!site.guest.path(file).exists(), "{file} is removed");
    }
}

#[test]
fn a_guest_that_is_away_is_purged_when_it_links_again() {
    let mut site = Site::served().expect("the certificate is served");
    site.guest.stop().expect("the agent stops");
    retire_and_purge(&site);
    // A wish is not forgotten with the controller that heard it.
    site.host.restart().expect("restarted");
    assert!(site.guest.path(Site::FULLCHAIN).exists(), "nobody has removed anything yet");
    site.guest.start().expect("the agent starts");
    journal::wait_event(&site.host, Kind::Purged, &[Site::PLACEMENT]).expect("it is told");
    assert!(!site.guest.path(Site::FULLCHAIN).exists() && !site.guest.path(Site::KEY).exists());
    wait::until("the placement to be forgotten", PATIENCE, || match site.host.status() {
        Ok(status) if status.placement(Site::PLACEMENT).is_none() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("it is forgotten");
}

#[test]
fn a_wish_to_purge_ends_when_the_placement_is_wanted_again() {
    let mut site = Site::served().expect("the certificate is served");
    let (serial, issued) = (site.serial().expect("all agree"), site.issued().expect("the events are there"));
    site.guest.stop().expect("the agent stops");
    retire_and_purge(&site);
    site.host.write_manifest(&site.manifest()).expect("the manifest is written");
    let path = site.host.root().join("etc/pinion/certificate-manifest.json");
    assert!(fs::read_to_string(path).expect("the manifest").contains("web"));
    site.guest.start().expect("the agent starts");
    site.host.ensure(&["web"], "served").expect("served");
    assert_eq!(site.serial().expect("all agree"), serial);
    assert_eq!(site.issued().expect("the events are there"), issued);
    let told = journal::events(&site.host).expect("the events are there");
    assert!(!told.iter().any(|event| event.kind == Kind::Purged), "{told:?}");
}

#[test]
fn what_was_there_before_is_told_of_kept_and_put_back_and_what_is_named_stays() {
    let site = Site::served().expect("the certificate is served");
    let elsewhere = "/etc/ssl/elsewhere.crt";
    let mut parameters = rcgen::CertificateParams::new(["mine.example".to_owned()]).expect("names");
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "By hand");
    let by_hand = parameters.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").pem();
    site.guest.write(elsewhere, &by_hand).expect("somebody's own certificate");
    site.guest.write("/etc/web.conf", "cert /etc/ssl/web/web.crt\n").expect("somebody's configuration");
    let mut moved = site.certificate();
    moved["placements"][0]["files"]["fullchain"]["path"] = elsewhere.into();
    site.host.write_manifest(&manifest(json!([moved]))).expect("the manifest is written");
    site.host.ensure(&["web"], "served").expect("served");
    let told = journal::wait_event(&site.host, Kind::Replaced, &[Site::PLACEMENT]).expect("it is told");
    let words = " /etc/ssl/elsewhere.crt, a certificate of mine.example by By hand, valid until ";
    assert!(told.text.contains(words), "{}", told.text);

    // Of what is in the manifest, what it left behind.
    let named = site.host.pinion(&["purge", "web"]).expect("pinion runs");
    assert!(named.code() == 4 && named.stdout.contains("/etc/web.conf:1 names /etc/ssl/web/web.crt"), "{named}");
    assert!(site.guest.path(Site::FULLCHAIN).exists());
    site.guest.write("/etc/web.conf", "cert /etc/ssl/elsewhere.crt\n").expect("it is mended");
    let purged = site.host.pinion(&["purge", "web"]).expect("pinion runs").succeeded().expect("nothing names it");
    assert_eq!(purged.stdout, "The files that web@1001 left behind are removed\n");
    assert!(!site.guest.path(Site::FULLCHAIN).exists() && site.guest.path(elsewhere).exists());

    // And all of it, in the same session.
    site.host.write_manifest(&manifest(json!([]))).expect("the manifest is written");
    site.host.wait_placement(Site::PLACEMENT, |placement| placement.retired).expect("it is retired");
    let named = site.host.pinion(&["purge", "web"]).expect("pinion runs");
    assert!(named.code() == 4 && named.stdout.contains("names /etc/ssl/elsewhere.crt"), "{named}");
    let purged = site.host.pinion(&["purge", "--force", "--restore", "web"]).expect("pinion runs").succeeded();
    let text = purged.expect("by force").stdout;
    assert!(text.contains("what was there before Pinion is back: /etc/ssl/elsewhere.crt"), "{text}");
    assert_eq!(site.guest.read(elsewhere).expect("it is back"), by_hand);
}

fn retire_and_purge(site: &Site) {
    site.host.write_manifest(&manifest(json!([]))).expect("the manifest is written");
    site.host.pinion(&["purge", "web"]).expect("pinion runs").succeeded().expect("it is retired and may be purged");
}
