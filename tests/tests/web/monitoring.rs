//! What packaging/monitoring has is what the real Prometheus takes, and speaks of metrics that exist.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use clap::error::ErrorKind;
use pinion_controller::metrics::names::{METRICS, MetricKind};
use pinion_tests::{
    process, program,
    prometheus::{Prometheus, files},
    site::Site,
    wait::{self, PATIENCE},
};
use serde_json::Value;

use crate::prepared;

/// It evaluates hours, which takes seconds of a processor.
const PROMTOOL: Duration = Duration::from_secs(180);

/// A file of packaging/monitoring.
pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(files().join(name)).expect("it is there")
}

#[test]
fn promtool_takes_the_rules_and_each_fires_and_resolves() {
    let rules = read("pinion.rules.yml");
    for words in [["check", "rules", "pinion.rules.yml"], ["test", "rules", "pinion.rules.test.yml"]] {
        let mut promtool = Command::new(program::found("promtool").expect("installed"));
        let looked = process::run(promtool.args(words).current_dir(files()), b"", PROMTOOL).expect("it runs");
        looked.succeeded().expect("promtool is content");
    }
    let tests = read("pinion.rules.test.yml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alerts.len(), 14, "{alerts:?}");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} fires in no test");
        assert!(tests.contains(&format!("alertname: {alert}, exp_alerts: [] }}")), "{alert} is never quiet in a test");
    }
}

#[tokio::test]
async fn prometheus_takes_the_metrics_the_rules_and_the_dashboard() {
    let site = Site::served_on(prepared("")).expect("a site");
    let prometheus = Prometheus::start(&site.host, &read("pinion.rules.yml")).expect("Prometheus starts");
    prometheus.wait_up().await.expect("the controller is scraped");

    let rules = wait::until_async("the rules to be evaluated", PATIENCE, || async {
        let rules = prometheus.ask("rules", &[]).await.map_err(|error| format!("{error:#}"))?;
        let rules = rules["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        let is_good = rules.iter().all(|rule| rule["health"] == "ok") && !rules.is_empty();
        if is_good { Ok(rules) } else { Err(format!("{rules:?}")) }
    });
    for rule in rules.await.expect("each is good") {
        let name = rule["name"].as_str().expect("a name");
        assert_known(name, rule["query"].as_str().expect("a query"));
        assert!(["warning", "critical"].contains(&rule["labels"]["severity"].as_str().unwrap_or_default()), "{rule}");
        for annotation in ["summary", "remedy"] {
            let text = rule["annotations"][annotation].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{name} has no {annotation}");
            assert_commands(name, text);
        }
    }

    // Names that a scrape adds nothing to: all are there but those whose subject is not.
    for metric in METRICS {
        let found = prometheus.query(&metric.series()).await.expect("a query");
        let without = ["pinion_issuer_clock_difference_seconds", "pinion_watched_certificate_late_timestamp_seconds"];
        assert_eq!(found.is_empty(), without.contains(&metric.name), "{}: {found:?}", metric.name);
    }

    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).expect("JSON");
    let queries = queries(&dashboard);
    assert!(queries.len() > 30, "{queries:?}");
    for (query, legend) in queries {
        assert_known("the dashboard", &query);
        // Grafana puts these in.
        let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        let found = prometheus.query(&query).await.unwrap_or_else(|error| panic!("{query}: {error:#}"));
        for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            assert!(found.iter().all(|series| series["metric"][label].is_string()), "no {label} in {found:?}");
        }
    }
    assert!(dashboard.to_string().contains("label_values(pinion_build_info, instance)"));
    assert!(prometheus.firing().await.expect("alerts").is_empty(), "all is well");
}

#[test]
fn the_dashboard_shows_every_metric() {
    let text = read("grafana-dashboard.json");
    // Except for when a certificate begins, which says little beside its end.
    let left_out = METRICS.iter().filter(|metric| !text.contains(metric.name)).map(|metric| metric.name);
    assert_eq!(left_out.collect::<Vec<_>>(), ["pinion_certificate_not_before_timestamp_seconds"]);
}

/// Every query of a dashboard's panels, and how its series are called.
fn queries(of: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match of {
        Value::Object(members) => {
            let own = members.get("expr").map(|query| (text(query), text(&of["legendFormat"])));
            own.into_iter().chain(members.values().flat_map(queries)).collect()
        }
        Value::Array(all) => all.iter().flat_map(queries).collect(),
        _ => Vec::new(),
    }
}

/// Each name of ours in a query is that of a series which exists.
fn assert_known(whose: &str, query: &str) {
    let series: BTreeSet<String> = METRICS
        .iter()
        .flat_map(|metric| match metric.kind {
            MetricKind::Histogram => ["_bucket", "_sum", "_count"].map(|end| format!("{}{end}", metric.name)).to_vec(),
            _ => vec![metric.series()],
        })
        .collect();
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for word in words.filter(|word| word.starts_with("pinion_")) {
        assert!(
            series.contains(word),
            "{whose} asks for {word}, which is no metric of docs/reference/metrics.md: {query}"
        );
    }
}

/// Each command in a text is one that the program takes.
fn assert_commands(whose: &str, text: &str) {
    let text = text.replace("{{ $labels.certificate }}", "web").replace("{{ $labels.guest }}", "101");
    for line in text.split('`').skip(1).step_by(2).filter(|line| line.starts_with("pinion ")) {
        let refused = pinion_controller::cli::command().try_get_matches_from(line.split_whitespace()).err();
        let refused = refused.filter(|error| error.kind() != ErrorKind::DisplayHelp);
        assert!(refused.is_none(), "{whose} says `{line}`: {refused:?}");
    }
}

#[test]
fn a_name_that_does_not_exist_is_noticed() {
    let caught = std::panic::catch_unwind(|| assert_known("a test", "sum(pinion_placement_failures)"));
    assert!(caught.is_err(), "a counter ends in _total");
    assert_known("a test", "rate(pinion_placement_failures_total[5m]) + up");
}
