//! What a person reads of what was found, and pastes of it.

use pinion_proto::{clock::Timestamp, table::Look};
use serde_json::json;

use super::{entries, words};
use crate::{admin::protocol::ExaminedGuest, manifest::Manifest};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

fn found() -> Vec<ExaminedGuest> {
    let seen = |names: &[&str], days: i64, managed: Option<&str>| {
        json!({ "names": names, "issuer": "O=Example, CN=Example Issuing CA 1", "serial": format!("0{days}"),
            "not_after": Timestamp::from_unix(NOW.unix() + days * 86_400), "managed": managed })
    };
    let listener = |address: &str, program: &str, shows: serde_json::Value, starttls: Option<&str>| {
        let why_not = if shows.is_null() { "no TLS" } else { "" };
        json!({ "address": address, "program": program, "starttls": starttls, "shows": shows, "why_not": why_not })
    };
    let gateway = seen(&["*.example.org", "www.example.org", "10.0.0.5"], 20, None);
    let examined = json!({ "now": NOW, "left_out": [], "findings": [], "listeners": [
        listener("0.0.0.0:443", "nginx", gateway.clone(), None),
        listener("[::]:8443", "nginx", gateway, None),
        listener("127.0.0.1:9000", "vault", seen(&["vault.example.org"], 5, Some("vault")), None),
        listener("0.0.0.0:25", "master", seen(&["www.example.org"], -3, None), Some("smtp")),
        listener("0.0.0.0:8080", "java", seen(&["not a name"], 9, None), None),
        listener("127.0.0.1:6379", "redis-server", json!(null), None),
    ], "certificates": [{ "path": "/etc/ssl/www.pem", "holds": seen(&["www.example.org"], -3, None) }] });
    let (answered, silent) = (
        json!({ "guest": "101", "name": "gateway", "examined": examined, "unanswered": null }),
        json!({ "guest": "102", "name": null, "examined": null, "unanswered": "its agent is not linked" }),
    );
    [answered, silent].map(|guest| serde_json::from_value(guest).expect("a guest")).into()
}

#[test]
fn the_worst_comes_first_and_what_is_not_managed_before_what_is() {
    let look = Look { now: NOW, width: Some(80), is_coloured: false };
    let text = words(&found(), false, look);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    assert!(at("0.0.0.0:25 smtp") < at("0.0.0.0:443") && at("0.0.0.0:443") < at("127.0.0.1:9000"), "{text}");
    for part in
        ["3d ago", "in 20d", "*.example.org +2", "vault", "/etc/ssl/www.pem", "guest 102: its agent is not linked"]
    {
        at(part);
    }
    assert!(text.contains("services that showed no certificate: 1") && !text.contains("6379"), "{text}");
    let all = words(&found(), true, look);
    assert!(
        all.contains("127.0.0.1:6379") && all.contains("no TLS") && !all.contains("showed no certificate"),
        "{all}"
    );
    let wide = words(&found(), false, Look { width: None, ..look });
    assert!(
        wide.contains("O=Example, CN=Example Issuing CA 1") && wide.contains("www.example.org, 10.0.0.5"),
        "{wide}"
    );
}

#[test]
fn what_nobody_manages_becomes_entries_that_are_accepted() {
    let entries = entries::of(&found(), false);
    let manifest = Manifest::parse(entries.text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {}", entries.text));
    let names: Vec<_> = manifest.certificates.iter().map(|certificate| certificate.name.as_str()).collect();
    assert_eq!(names, ["www", "www-2"], "{}", entries.text);
    let document: serde_json::Value = serde_json::from_str(&entries.text).expect("JSON");
    let mut of_nginx = None;
    for entry in document["certificates"].as_array().expect("a list") {
        if entry["placements"][0]["recipe"] == "nginx" {
            of_nginx = Some(entry);
        }
    }
    let entry = of_nginx.expect("its program has a recipe");
    assert_eq!(entry["common_name"], "www.example.org", "no wildcard, where there is a choice");
    assert_eq!(entry["sans"], json!(["*.example.org", "10.0.0.5"]));
    let probes = json!([{ "connect": "127.0.0.1:443" }, { "connect": "[::1]:8443" }]);
    assert_eq!(entry["placements"][0]["probe"], probes);
    let notes = entries.notes.join("\n");
    for part in [
        "no entry for 0.0.0.0:8080",
        "its certificate is now in /etc/ssl/www.pem",
        "guest 102: its agent is not linked",
    ] {
        assert!(notes.contains(part), "{part}: {notes}");
    }
}

#[test]
fn whatever_nobody_manages_can_be_watched() {
    let entries = entries::of(&found(), true);
    let manifest = Manifest::parse(entries.text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {}", entries.text));
    assert!(manifest.certificates.iter().all(|certificate| certificate.content.is_watched()), "{}", entries.text);
    let managed = entries::of(&found(), false);
    let managed = Manifest::parse(managed.text.as_bytes()).expect("it is accepted").certificates.len();
    assert_eq!(
        manifest.certificates.len(),
        managed + 1,
        "also what has names that no manifest takes: {}",
        entries.text
    );
}
