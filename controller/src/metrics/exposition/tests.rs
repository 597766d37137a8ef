//! What a scraper reads.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::{
    events::{Events, PlacementEvent, What},
    issuer::Operation,
    metrics::names::{METRICS, MetricKind},
};

const NOW: i64 = 1_800_000_000;

/// Two placements of one certificate, one of them blocked in a guest that is away, and one that nobody asks for any more.
fn status() -> Status {
    let placement = |placement: &str, guest: &str, stage: &str| {
        json!({
            "placement": placement, "certificate": "web", "guest": guest, "guest_name": null, "stage": stage,
            "goal": "served", "validity": "ok", "generation": 3, "incoming": null, "serial": "0A", "names": ["a.example"],
            "not_before": "2027-01-01T00:00:00Z", "not_after": "2027-02-01T00:00:00Z", "renew_at": "2027-01-20T00:00:00Z",
            "issuer": "step-ca", "retired": false, "left_behind": [], "trouble": null,
            "notified": {"reloads": 4, "restarts": 1}
        })
    };
    let (web, mut blocked, mut old) = (
        placement("web@101", "101", "served"),
        placement("web@102", "102", "pending"),
        placement("old@101", "101", "served"),
    );
    blocked["trouble"] = json!({"halt": "blocked", "attempt": "a", "cause": "b", "remedy": "c", "retry_at": null});
    (blocked["due"], blocked["not_after"]) = (json!(true), json!(null));
    old["retired"] = json!(true);
    let guest = |guest: &str, linked: bool, version: Option<&str>| json!({"guest": guest, "name": null, "linked": linked, "since": "2027-01-01T00:00:00Z", "agent_version": version});
    let root = json!({
        "fingerprint": "07".repeat(32), "subject": "R", "not_after": "2036-01-01T00:00:00Z", "signing": true
    });
    let status = json!({
        "version": "0.1.0", "notes": [], "placements": [web, blocked, old],
        "guests": [guest("101", true, Some("0.1.0")), guest("102", false, None)],
        "issuers": [{"name": "step-ca", "roots": [root]}]
    });
    serde_json::from_value(status).expect("a status")
}

fn gathered() -> (tempfile::TempDir, Gathered) {
    let directory = tempfile::tempdir().expect("a directory");
    let events = Events::open(directory.path());
    let served = PlacementEvent::Stage { stage: Stage::Served, back: false, generation: 3, serial: "0A".into() };
    events.record(What::Placement("web@101".parse().expect("an id"), served).at(Timestamp::from_unix(NOW - 5)));
    let refused = PlacementEvent::RequestRefused { generation: 4, why: "no".into() };
    events.record(What::Placement("web@101".parse().expect("an id"), refused).at(Timestamp::from_unix(NOW)));
    let calls = IssuerCalls {
        counts: [((Operation::Sign, "ok"), 3), ((Operation::Sign, "busy"), 1)].into(),
        seconds: Histogram::new([0.1, 1.0]),
        waiting: 2,
        down_since: None,
        checked: None,
    };
    calls.seconds.observe(0.5);
    let gathered = Gathered {
        now: Timestamp::from_unix(NOW),
        started: Timestamp::from_unix(NOW - 100),
        status: status(),
        locked: vec!["102".parse().expect("a guest")],
        issuers: [("step-ca".parse().expect("a name"), calls.clone()), ("unused".parse().expect("a name"), calls)]
            .into(),
        counts: events.counts(),
        passes: Histogram::new([0.1]),
        queues: vec![("links", 1), ("questions", 0)],
    };
    (directory, gathered)
}

#[test]
fn every_value_is_where_a_scraper_looks_for_it() {
    let (_directory, gathered) = gathered();
    let text = gathered.text().expect("written");
    for line in [
        r#"pinion_certificate_expiration_timestamp_seconds{certificate="web",guest="101"} 1801440000"#,
        r#"pinion_placement_stage{certificate="web",guest="101"} 4"#,
        r#"pinion_placement_blocked{certificate="web",guest="102"} 1"#,
        r#"pinion_placement_last_success_timestamp_seconds{certificate="web",guest="101"} 1799999995"#,
        r#"pinion_placement_failures_total{certificate="web",guest="101",reason="request"} 1"#,
        r#"pinion_placement_service_reloads_total{certificate="web",guest="101"} 4"#,
        r#"pinion_guest_linked{guest="102"} 0"#,
        r#"pinion_guest_last_seen_timestamp_seconds{guest="101"} 1800000000"#,
        r#"pinion_guest_silent{guest="102"} 1"#,
        r#"pinion_guest_agent_info{guest="101",version="0.1.0"} 1"#,
        r#"pinion_guest_locked{guest="102"} 1"#,
        r#"pinion_issuer_up{issuer="step-ca"} 1"#,
        r#"pinion_issuer_calls_total{issuer="step-ca",operation="sign",result="busy"} 1"#,
        r#"pinion_issuer_call_duration_seconds_bucket{le="1.0",issuer="step-ca"} 1"#,
        r#"pinion_issuer_queue_length{issuer="step-ca"} 2"#,
        r#"pinion_loop_queue_length{queue="links"} 1"#,
        r#"pinion_build_info{version="0.1.0"} 1"#,
        "pinion_manifest_rejected 0",
        "pinion_start_timestamp_seconds 1799999900",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("unused"), "no issuer that the manifest does not name\n{text}");
    let stages = text.lines().filter(|line| line.starts_with("pinion_placement_stage{")).count();
    assert_eq!(stages, 2, "no placement that the manifest does not name\n{text}");
    assert!(
        !text.contains(r#"expiration_timestamp_seconds{certificate="web",guest="102"}"#),
        "nothing is installed\n{text}"
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn every_metric_is_exposed_under_a_name_by_the_conventions_with_its_help() {
    let (_directory, gathered) = gathered();
    let text = gathered.text().expect("written");
    let mut names = BTreeSet::new();
    for metric in METRICS {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
        assert!(metric.name.starts_with("pinion_") && !metric.name.ends_with("_total"), "{}", metric.name);
        assert!(!metric.help.ends_with('.') && text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)));
        let kind = match metric.kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
            MetricKind::Info => "info",
        };
        assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{}", metric.name);
    }
    let exposed = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(exposed, METRICS.len(), "one that is not in the list\n{text}");
}
