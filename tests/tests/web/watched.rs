//! A certificate that somebody else renews: Pinion shows its end everywhere, and changes nothing.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command};

use pinion_proto::{exit::Exit, stage::Stage};
use pinion_tests::{
    openssl,
    port::{self, Port},
    process::{Finished, Process},
    program,
    prometheus::Prometheus,
    site::{self, Site},
    wait::{self, PATIENCE},
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustix::process::Signal;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{alerts, client::Visitor, prepared};

const NAME: &str = "old-gateway";
const PLACEMENT: &str = "old-gateway@1001";

/// A service whose owner renews its certificate in another way.
struct Owned {
    process: Process,
    _port: Port,
    address: SocketAddr,
    certificate: PathBuf,
    key: PathBuf,
}

impl Owned {
    fn start(site: &Site) -> Self {
        let port = Port::reserve().expect("a port");
        let address = port.address();
        let directory = site.guest.path("/etc/ssl/owned");
        fs::create_dir_all(&directory).expect("made");
        let (certificate, key) = (directory.join("old.crt"), directory.join("old.key"));
        place(&certificate, &key, date_time_ymd(2040, 1, 1));
        let mut server = Command::new(program::own("tls-server").expect("it is built"));
        server.args(["--listen", &address.to_string()]).arg("--fullchain").arg(&certificate).arg("--key").arg(&key);
        let process = Process::spawn("owned", &mut server, &site.guest.path("/var/log/owned.log")).expect("it starts");
        wait::until("the service to listen", PATIENCE, || {
            if port::is_listening(process.id(), address) { Ok(()) } else { Err(process.log_tail()) }
        })
        .expect("it listens");
        Self { process, _port: port, address, certificate, key }
    }

    /// Its owner's renewal, with this end.
    fn renew(&mut self, until: OffsetDateTime) {
        place(&self.certificate, &self.key, until);
        self.process.signal(Signal::HUP).expect("it runs");
    }

    fn serial(&self) -> String {
        openssl::serial(&fs::read_to_string(&self.certificate).expect("read")).expect("a certificate")
    }
}

fn place(certificate: &PathBuf, key: &PathBuf, until: OffsetDateTime) {
    let pair = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::new(vec!["gw.example".into(), "10.9.8.7".into()]).expect("names");
    (parameters.not_before, parameters.not_after) = (date_time_ymd(2020, 1, 1), until);
    fs::write(certificate, parameters.self_signed(&pair).expect("a certificate").pem()).expect("written");
    fs::write(key, pair.serialize_pem()).expect("written");
}

/// What `pinion events --json` has about the entry, as kinds.
fn events(site: &Site) -> Vec<String> {
    let told = site.host.pinion(&["events", "--json", NAME]).and_then(Finished::succeeded).expect("it is told");
    let lines = told.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
    lines.map(|event| event["kind"].as_str().expect("a word").to_owned()).collect()
}

#[tokio::test]
async fn what_somebody_else_renews_is_watched_and_never_touched() {
    let site = Site::served_on(prepared("metrics_from = [\"127.0.0.1\"]")).expect("a site");
    let mut owned = Owned::start(&site);
    let placements = json!([{ "guest": 1001, "probe": { "connect": owned.address, "server_name": "gw.example" } }]);
    let entry = json!({ "name": NAME, "watch": true, "placements": placements });
    site.host.write_manifest(&site::manifest(json!([site.certificate(), entry]))).expect("written");

    // `ensure` looks now, so that a script can rely on what comes after it.
    site.host.ensure(&[NAME], "served").and_then(Finished::succeeded).expect("it is seen");
    let status = site.host.status().expect("a status");
    let seen = status.placement(PLACEMENT).expect("it is listed");
    assert_eq!((seen.stage, seen.serial.clone(), seen.generation), (Stage::Served, Some(owned.serial()), None));
    assert_eq!(seen.not_after.expect("it has an end").to_string(), "2040-01-01T00:00:00Z");
    assert!(seen.renew_at.is_none(), "Pinion renews nothing here");
    let table = site.host.pinion(&["status"]).and_then(Finished::succeeded).expect("all is well");
    let row = table.stdout.lines().find(|line| line.contains(PLACEMENT)).expect("a row");
    assert!(row.contains("served (watched)") && row.contains("gw.example"), "{row}");
    let story = site.host.pinion(&["explain", PLACEMENT]).and_then(Finished::succeeded).expect("a story");
    let words = story.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("Pinion only watches it"), "{story}");

    let labels = format!("{{certificate=\"{NAME}\",guest=\"1001\"}}");
    let series = format!("pinion_certificate_expiration_timestamp_seconds{labels} 2208988800");
    let metrics = Visitor::stranger(&site.host).get("/metrics").await;
    assert!(metrics.body.lines().any(|line| line == series), "{}", metrics.body);
    let visitor = Visitor::signed_in(&site.host, &[]).await;
    for path in ["/placements".to_owned(), format!("/placements/{PLACEMENT}")] {
        let page = visitor.get(&path).await;
        assert!(page.body.contains(PLACEMENT) && page.body.contains("2040-01-01"), "{path}: {}", page.body);
    }

    // Its owner renews it: that is an event, and nobody touched its files or restarted anything.
    let first = owned.serial();
    owned.renew(date_time_ymd(2041, 1, 1));
    site.host.ensure(&[NAME], "served").and_then(Finished::succeeded).expect("it is seen");
    let seen = site.host.wait_placement(PLACEMENT, |one| one.serial.as_ref() != Some(&first)).expect("another one");
    assert_eq!(seen.serial, Some(owned.serial()));
    assert_eq!(events(&site), ["watched", "watched"]);
    let refused = site.host.pinion(&["ensure", PLACEMENT, "--renew"]).expect("it runs");
    assert!(refused.code() != 0 && refused.stderr.contains("renew it where its certificate is made"), "{refused}");

    // Its owner is late: Prometheus tells, until it is renewed.
    let prometheus = Prometheus::start(&site.host, &alerts::rules()).expect("Prometheus starts");
    owned.renew(OffsetDateTime::now_utc() + Duration::days(20));
    site.host.ensure(&[NAME], "served").and_then(Finished::succeeded).expect("it is shown, and valid");
    let (alert, label) = ("PinionWatchedCertificateExpiring", ("certificate", NAME));
    let fired = prometheus.wait_fired(alert, label, alerts::MAX).await.expect("it fires");
    let summary = fired["annotations"]["summary"].as_str().expect("a text");
    assert!(summary.contains("its owner has not renewed it") && summary.contains("19d"), "{summary}");
    owned.renew(date_time_ymd(2042, 1, 1));
    site.host.ensure(&[NAME], "served").and_then(Finished::succeeded).expect("it is seen");
    prometheus.wait_resolved(&[alert], alerts::MAX).await.expect("it resolves");
    assert_eq!(events(&site), ["watched", "watched", "watched", "expiring", "watched"]);

    // It expires: everybody is told, and what waits for it fails at once, with what to do.
    owned.renew(date_time_ymd(2021, 1, 1));
    let told = site.host.pinion(&["ensure", NAME, "--timeout", "60s"]).expect("it runs");
    assert_eq!(told.code(), i32::from(Exit::Blocked.code()), "{told}");
    assert!(told.stderr.contains("renew it where it is made"), "{told}");
    let check = site.host.pinion(&["status", "--check"]).expect("it runs");
    assert!(check.code() != 0 && check.stdout.contains("expired"), "{check}");
    assert_eq!(events(&site)[5..], ["watched", "expired"]);

    // It is gone: what was seen last stays known, and the trouble says where nobody answers.
    owned.process.stop().expect("it stops");
    site.host.pinion(&["ensure", NAME, "--timeout", "20s"]).expect("it runs");
    let gone = site.host.wait_placement(PLACEMENT, |one| one.trouble.is_some()).expect("a trouble");
    assert_eq!(gone.not_after.expect("known").to_string(), "2021-01-01T00:00:00Z");
    let cause = gone.trouble.expect("there is one").cause;
    assert!(cause.contains(&owned.address.to_string()), "{cause}");
    assert!(fs::read_dir(site.guest.path("/etc/ssl/owned")).expect("read").count() == 2, "nothing was written there");
}

#[test]
fn what_pinion_managed_is_not_silently_left_to_expire() {
    let site = Site::served().expect("the certificate is served");
    let placements = json!([{ "guest": 1001, "probe": { "connect": site.server.address() } }]);
    let entry = json!({ "name": "web", "watch": true, "placements": placements });
    site.host.write_manifest(&site::manifest(json!([entry]))).expect("written");
    let told = site.host.pinion(&["ensure", "web", "--timeout", "60s"]).expect("it runs");
    assert_eq!(told.code(), i32::from(Exit::Blocked.code()), "{told}");
    assert!(told.stderr.contains("another name") && told.stderr.contains("pinion purge web@1001"), "{told}");
}
