//! How much a CA is asked: no more at once than was allowed, the soonest to expire first, and no storm when it fails.

use std::time::{Duration, Instant};

use pinion_controller::events::Kind;
use pinion_proto::stage::Stage;
use pinion_tests::{
    ca::{HostileCa, Manner},
    guest::Guest,
    host::{Host, HostOptions},
    journal,
    wait::{PATIENCE, until},
};
use serde_json::{Value, json};

use super::site::{issuer_of_hostile, start_host};

/// The certificates' lives, in hours, in the manifest's order.
const HOURS: [u32; 6] = [40, 10, 60, 20, 50, 30];

/// Six certificates in a guest, all installed; the file is the password's.
fn six(ca: &HostileCa, concurrency: u32) -> (Host, Guest, tempfile::NamedTempFile) {
    let (issuer, password) = issuer_of_hostile(ca);
    let certificates: Vec<Value> = HOURS
        .map(|hours| {
            json!({ "name": format!("c{hours}"), "common_name": format!("c{hours}.example"), "duration": format!("{hours}h"),
                    "placements": [{ "guest": 1001, "files": { "cert": { "path": format!("/etc/ssl/{hours}.crt") },
                                                                "key": { "path": format!("/etc/ssl/{hours}.key") } } }] })
        })
        .into();
    let options = HostOptions::step_ca(issuer, &json!(certificates));
    let host = start_host(&options, &format!("concurrency = {concurrency}\ntimeout = \"5s\"")).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&[], "installed").expect("all are installed");
    (host, guest, password)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_ca_is_asked_for_the_soonest_to_expire_first() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (host, _guest, _password) = six(&ca, 1);
    let first = ca.ordered().len();
    // Long enough that every request has come before the second is answered.
    ca.behave("/1.0/sign", Manner::Sign.after(Duration::from_millis(500)));
    host.renew(&[], "installed").expect("all are renewed");
    let ordered = ca.ordered().split_off(first);
    assert_eq!(ordered.len(), HOURS.len(), "once each: {ordered:?}");
    // The first found nobody before it.
    let waited = &ordered[1..];
    assert!(waited.is_sorted(), "the names say how soon each expires: {ordered:?}");
    assert_eq!(ca.max_at_once(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_calls_at_once_than_were_allowed() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (host, _guest, _password) = six(&ca, 2);
    ca.behave("/1.0/sign", Manner::Sign.after(Duration::from_millis(300)));
    host.renew(&[], "installed").expect("all are renewed");
    assert_eq!(ca.max_at_once(), 2, "as many as were allowed, and no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_ca_gets_no_storm() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (host, _guest, _password) = six(&ca, 4);
    for manner in [
        Manner::Answer(500, r#"{"message":"database is full"}"#.into()),
        Manner::Answer(403, r#"{"message":"not allowed"}"#.into()),
        Manner::Garbage,
    ] {
        let (calls, failures) = (ca.calls(), failures(&host));
        ca.behave("/1.0/sign", manner.clone());
        let start = Instant::now();
        let asked = host.pinion(&["ensure", "--renew", "--timeout", "100ms"]).expect("pinion runs");
        // What needs a person ends it at once, where that is known in time.
        let codes: &[i32] = if matches!(manner, Manner::Answer(403, _)) { &[3, 4] } else { &[3] };
        assert!(codes.contains(&asked.code()), "{asked}");
        until("five failures of each placement", PATIENCE, || match self::failures(&host) - failures {
            enough if enough >= 5 * HOURS.len() => Ok(()),
            few => Err(few),
        })
        .expect("it is tried again");
        // 200 ms, doubled each time, less up to a fifth.
        assert!(start.elapsed() >= Duration::from_millis(2400), "{manner:?} after {:?}", start.elapsed());
        let (calls, failures) = (ca.calls() - calls, self::failures(&host) - failures);
        // A connection that breaks is tried once more, because it may have been an old one.
        assert!(calls <= 2 * failures + HOURS.len(), "{manner:?}: {calls} calls for {failures} failures");
        ca.behave("/1.0/sign", Manner::Sign);
        for hours in HOURS {
            let name = format!("c{hours}@1001");
            host.wait_placement(&name, |placement| placement.trouble.is_none() && placement.stage >= Stage::Installed)
                .expect("it heals by itself");
        }
    }
}

fn failures(host: &Host) -> usize {
    let events = journal::events(host).expect("the events");
    events.iter().filter(|event| event.kind == Kind::Failed).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_asks_for_a_pause_is_left_alone_and_asked_by_one_after_the_other() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (host, _guest, _password) = six(&ca, 1);
    let before = ca.ordered().len();
    ca.behave_in_turn("/1.0/sign", [Manner::Busy("4".into()), Manner::Sign]);
    let start = Instant::now();
    let asked = host.pinion(&["ensure", "--renew", "--timeout", "1s"]).expect("pinion runs");
    assert_eq!(asked.code(), 3, "it goes on by itself: {asked}");
    let status = host.status().expect("a status");
    let waiting: Vec<_> = status.placements.iter().filter_map(|placement| placement.trouble.as_ref()).collect();
    let seen = ca.ordered().len() - before;
    if start.elapsed() < Duration::from_secs(4) {
        assert_eq!(seen, 1, "one was told, and nobody else asks");
        assert!(waiting.iter().all(|trouble| trouble.cause.contains("429")), "{waiting:?}");
        let moments: std::collections::BTreeSet<_> = waiting.iter().filter_map(|trouble| trouble.retry_at).collect();
        assert!(moments.len() > 1, "they come again apart: {waiting:?}");
    }
    until("the next call", PATIENCE, || match ca.ordered().len() - before {
        few if few < 2 => Err(few),
        _ => Ok(()),
    })
    .expect("it is tried again");
    assert!(start.elapsed() >= Duration::from_secs(4), "not before the pause is over: {:?}", start.elapsed());
    for hours in HOURS {
        let name = format!("c{hours}@1001");
        host.wait_placement(&name, |placement| placement.trouble.is_none() && placement.stage >= Stage::Installed)
            .expect("all are renewed");
    }
    assert_eq!(ca.ordered().len() - before, HOURS.len() + 1, "one call in vain for all");
}
