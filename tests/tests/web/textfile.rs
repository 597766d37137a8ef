//! The metrics in a file, read by the real node_exporter.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::Command,
    time::Duration,
};

use pinion_tests::{
    host::{Host, HostOptions},
    port::{self, Port},
    process::{self, Process},
    program,
    site::Site,
    wait::{self, PATIENCE},
};
use serde_json::json;

/// It is written every 15 seconds.
const NEXT: Duration = Duration::from_secs(60);

/// Below the host's root.
const DIRECTORY: &str = "var/lib/prometheus/node-exporter";

/// A host without a page that writes the file.
fn writing() -> Host {
    let host = Host::prepare(&HostOptions::embedded(&json!([]))).expect("a host");
    fs::create_dir_all(host.root().join(DIRECTORY)).expect("made");
    // The file ends with the table [web].
    host.configure(&format!("textfile = \"/{DIRECTORY}/pinion.prom\"\n")).expect("configured");
    host
}

#[tokio::test]
async fn node_exporter_reads_what_the_status_says_and_no_port_is_open_for_it() {
    let site = Site::served_on(writing()).expect("a site");
    let directory = site.host.root().join(DIRECTORY);
    let path = directory.join("pinion.prom");
    let text = wait::until("the certificate in the file", NEXT, || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.contains("pinion_placement_stage{certificate=\"web\",guest=\"1001\"} 4\n") {
            Ok(text)
        } else {
            Err(text)
        }
    })
    .expect("written");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
    assert!(text.contains("# TYPE pinion_build_info gauge\n") && !text.contains("# EOF"), "{text}");
    let mut promtool = Command::new(program::found("promtool").expect("installed"));
    let checked = process::run(promtool.args(["check", "metrics"]), text.as_bytes(), PATIENCE).expect("it runs");
    assert_eq!((checked.code(), checked.stderr.as_str()), (0, ""), "{checked}");

    let port = Port::reserve().expect("a port");
    let mut command = Command::new(program::found("prometheus-node-exporter").expect("installed"));
    command.args(["--collector.disable-defaults", "--collector.textfile"]);
    command.arg(format!("--collector.textfile.directory={}", directory.display()));
    command.arg(format!("--web.listen-address={}", port.address()));
    let log = site.host.root().join("var/log/node-exporter.log");
    let exporter = Process::spawn("node_exporter", &mut command, &log).expect("it starts");
    wait::until("node_exporter to listen", PATIENCE, || {
        if port::is_listening(exporter.id(), port.address()) { Ok(()) } else { Err(exporter.log()) }
    })
    .expect("it listens");
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let told = reqwest::get(format!("http://{}/metrics", port.address())).await.expect("it answers");
    let told = told.text().await.expect("text");
    assert!(told.contains("node_textfile_scrape_error 0\n"), "{told}");
    let file = format!("node_textfile_mtime_seconds{{file=\"{}\"}}", path.display());
    assert!(told.contains(&file), "the rule for an old file asks for {file}: {told}");
    let status = site.host.status().expect("a status");
    let ends = status.placement(Site::PLACEMENT).and_then(|it| it.not_after).expect("installed").unix();
    let series = "pinion_certificate_expiration_timestamp_seconds{certificate=\"web\",guest=\"1001\"} ";
    let value = told.lines().find_map(|line| line.strip_prefix(series)).expect("it is there");
    // node_exporter writes large numbers with an exponent.
    assert_eq!(value.parse::<f64>().map(|value| value.to_string()).ok(), Some(ends.to_string()));
    drop(exporter);
}

#[test]
fn a_file_that_cannot_be_written_is_logged_once_and_written_when_it_can_be() {
    let mut host = writing();
    let directory = host.root().join(DIRECTORY);
    let path = directory.join("pinion.prom");
    fs::create_dir(&path).expect("a directory in its place");
    host.start_again().expect("the controller starts all the same");
    let mut log = || host.controller().expect("it runs").log();
    let count = |log: &str, words: &str| log.matches(words).count();
    let failed = "Cannot write the file with the metrics";
    wait::until("the failure to be logged", PATIENCE, || {
        let log = log();
        if count(&log, failed) == 1 { Ok(()) } else { Err(log) }
    })
    .expect("logged");
    // Each attempt makes a file there.
    let changed = || fs::metadata(&directory).map(|it| (it.mtime(), it.mtime_nsec())).expect("there");
    let before = changed();
    wait::until("another attempt", NEXT, || if changed() == before { Err("none yet") } else { Ok(()) }).expect("one");
    fs::remove_dir(&path).expect("removed");
    wait::until("the file", NEXT, || fs::metadata(&path).map(drop)).expect("written");
    wait::until("the success to be logged", PATIENCE, || {
        let log = log();
        if log.contains("The file with the metrics is written again") { Ok(()) } else { Err(log) }
    })
    .expect("logged");
    assert_eq!(count(&log(), failed), 1, "{}", log());
    assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 1, "nothing else is left there");
}
