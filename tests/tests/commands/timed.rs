//! `pinion explain --timing`: where the time of a renewal went.

use pinion_tests::{
    process::Finished,
    site::{Site, manifest},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

/// The last renewal of the site's placement, once it is done.
fn renewal(site: &Site, generation: u64) -> Value {
    let renewal = wait::until("a renewal that is done", PATIENCE, || {
        let told = site.host.pinion(&["explain", Site::PLACEMENT, "--timing", "--json"]).expect("it runs");
        let document: Value = serde_json::from_str(&told.stdout).map_err(|error| error.to_string())?;
        let renewal = document["placements"][0]["renewal"].clone();
        let is_it = renewal["is_done"] == true && renewal["generation"] == generation;
        if is_it { Ok(renewal) } else { Err(told.to_string()) }
    });
    renewal.expect("it is done")
}

/// Each step with its length.
fn steps(renewal: &Value) -> Vec<(&str, u64)> {
    let steps = renewal["steps"].as_array().expect("a list").iter();
    steps.map(|step| (step["step"].as_str().expect("text"), step["milliseconds"].as_u64().expect("a number"))).collect()
}

#[test]
fn the_slowest_step_is_seen_and_all_steps_add_up_to_the_whole() {
    let mut site = Site::served().expect("the certificate is served");
    site.guest.write_hook("slow-check", "#!/bin/sh\nsleep 0.3\n").expect("written");
    let mut certificate = site.certificate();
    certificate["placements"][0]["validate"] = json!({ "hook": "slow-check" });
    site.host.write_manifest(&manifest(json!([certificate]))).expect("written");
    site.host.renew(&["web"], "served").expect("renewed");
    let renewal = renewal(&site, 2);
    let steps = steps(&renewal);
    let (slowest, length) = steps.iter().max_by_key(|(_, length)| length).expect("there are steps");
    assert!(*slowest == "check" && (300..2_000).contains(length), "{renewal:#}");
    assert_eq!(steps.iter().map(|(_, length)| length).sum::<u64>(), renewal["milliseconds"], "{renewal:#}");
    for step in ["write", "reload"] {
        assert!(steps.iter().any(|(name, _)| *name == step), "{step} in {renewal:#}");
    }
    assert!(renewal["from_guest"] == true && renewal["began"] == renewal["steps"][0]["began"], "{renewal:#}");

    let told = site.host.pinion(&["explain", "web", "--timing"]).and_then(Finished::succeeded).expect("it is told");
    let line = told.stdout.lines().find(|line| line.contains("guest: files checked")).unwrap_or_default();
    assert!(line.contains(&format!("{length} ms  {}", "#".repeat(32))), "{told}");
    assert!(told.stdout.starts_with("web@1001\n  generation 2 took "), "{told}");
    assert!(told.stdout.lines().all(|line| line.chars().count() <= 80), "{told}");

    // The same as a trace: as long as the whole, and a span for each step.
    let trace = site.host.pinion(&["explain", "web", "--timing", "--otlp"]).and_then(Finished::succeeded);
    let request: Value = serde_json::from_str(&trace.expect("the trace is printed").stdout).expect("JSON");
    let spans = request["resourceSpans"].as_array().expect("a list").iter();
    let spans: Vec<_> = spans.flat_map(|of| of["scopeSpans"][0]["spans"].as_array().expect("a list")).collect();
    let number = |span: &Value, which: &str| -> u64 {
        span[which].as_str().and_then(|text| text.parse().ok()).expect("a decimal string")
    };
    let length = |span: &Value| (number(span, "endTimeUnixNano") - number(span, "startTimeUnixNano")) / 1_000_000;
    let (whole, parts): (Vec<_>, Vec<_>) = spans.iter().partition(|span| span["parentSpanId"].is_null());
    assert_eq!((whole.len(), parts.len()), (1, steps.len()), "{request:#}");
    assert_eq!(length(whole[0]), renewal["milliseconds"], "{request:#}");
    assert_eq!(parts.iter().map(|part| length(part)).sum::<u64>(), length(whole[0]), "{request:#}");

    // It is in memory alone.
    site.host.restart().expect("it starts again");
    let told = site.host.pinion(&["explain", "web", "--timing"]).and_then(Finished::succeeded).expect("it is told");
    assert!(told.stdout.contains("there was no renewal since the controller started"), "{told}");
}
