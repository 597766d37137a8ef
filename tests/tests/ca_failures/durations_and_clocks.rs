//! What works and is not as it should be is told: durations that were shortened, clocks that differ.

use std::time::Duration;

use pinion_proto::clock::{Clock, SystemClock};
use pinion_tests::{
    ca::{HostileCa, StepCa},
    status::PlacementJson,
};
use serde_json::{Value, json};

use super::site::{PLACEMENT, Site, issuer_of, issuer_of_hostile};

const HOUR: Duration = Duration::from_secs(3600);

fn life(placement: &PlacementJson) -> Duration {
    placement.not_after.expect("something is installed").since(SystemClock.now())
}

#[test]
fn a_duration_above_the_maximum_is_shortened_and_reported_until_the_limit_is_lifted() {
    let mut ca = StepCa::start_with(|_| {}).expect("a CA that allows 24 hours");
    let site = Site::try_start(issuer_of(&ca), "", json!({ "duration": "30d" })).expect("the site starts");
    site.bring_up().expect("a shorter one is better than none");
    let before = site.installed().expect("installed and served");
    let status = site.host.status().expect("a status");
    let placement = status.placement(PLACEMENT).expect("the placement");
    assert!(life(placement) <= 24 * HOUR && placement.trouble.is_none(), "{placement:?}");
    assert!(
        status.notes.iter().any(|note| note.contains("step-ca") && note.contains("than 1d,")),
        "{:?}",
        status.notes
    );
    let check = site.host.pinion(&["issuer", "check"]).expect("pinion runs").succeeded().expect("it could sign");
    assert!(check.stdout.contains("--x509-max-dur=720h"), "{check}");

    ca.change(|config| {
        config["authority"]["provisioners"][0]["claims"] = json!({ "maxTLSCertDuration": "720h" });
    })
    .expect("the limit is lifted");
    ca.restart().expect("the CA reads it");
    let check = site.host.pinion(&["issuer", "check"]).expect("pinion runs").succeeded().expect("it could sign");
    assert!(!check.stdout.contains("x509-max-dur"), "{check}");
    site.host.renew(&["web"], "served").expect("renewed");
    site.wait_renewed(&before);
    let status = site.host.status().expect("a status");
    let placement = status.placement(PLACEMENT).expect("the placement");
    assert!(life(placement) > 719 * HOUR, "{placement:?}");
    assert_eq!(status.notes, [""; 0], "what was lifted is not told any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_difference_of_the_ca_is_reported_and_its_certificates_work() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (issuer, _password) = issuer_of_hostile(&ca);
    let site = Site::served(issuer, "");
    for (ahead, words) in [(400, "ahead of"), (-400, "behind")] {
        ca.set_ahead(ahead);
        let check = site.host.pinion(&["issuer", "check", "--json"]).expect("pinion runs");
        let reports: Vec<Value> = serde_json::from_str(&check.stdout).expect("JSON");
        let report = reports.iter().find(|report| report["name"] == "step-ca").expect("the issuer");
        let difference = report["check"]["clock_difference"].as_i64().expect("a difference");
        assert!((difference - ahead).abs() <= 2, "{report}");
        let warnings = report["check"]["warnings"].to_string();
        assert!(warnings.contains(words) && warnings.contains("NTP"), "{warnings}");
        assert_eq!(check.code(), 0, "a clock does not keep it from signing: {check}");
    }
    // The CA's clock is behind by less than its certificates live.
    let before = site.installed().expect("installed and served");
    site.host.renew(&["web"], "served").expect("renewed");
    site.wait_renewed(&before);
}
