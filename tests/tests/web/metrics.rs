//! Metrics, the page and `pinion status` say the same.

use pinion_tests::site::Site;

use crate::{client::Visitor, prepared};

#[tokio::test]
async fn the_metrics_agree_with_the_status() {
    let site = Site::served_on(prepared("metrics_from = [\"127.0.0.1\"]")).expect("a site");
    let answer = Visitor::stranger(&site.host).get("/metrics").await;
    let kind = answer.headers["content-type"].to_str().expect("text");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let value = |series: &str| {
        let line = answer.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{}", answer.body)).to_owned()
    };
    let labels = "{certificate=\"web\",guest=\"1001\"}";
    assert_eq!(value(&format!("pinion_placement_stage{labels}")), "4");
    assert_eq!(value(&format!("pinion_placement_due{labels}")), "0");
    assert_eq!(value("pinion_guest_linked{guest=\"1001\"}"), "1");
    assert_eq!(value("pinion_issuer_up{issuer=\"embedded\"}"), "1");
    let status = site.host.status().expect("a status");
    let placement = status.placement(Site::PLACEMENT).expect("there");
    let expires: i64 =
        value(&format!("pinion_certificate_expiration_timestamp_seconds{labels}")).parse().expect("a number");
    let said = placement.not_after.as_ref().expect("installed").to_string();
    assert_eq!(pinion_proto::clock::Timestamp::from_unix(expires).to_string(), said);
    let reached: i64 =
        value(&format!("pinion_placement_last_success_timestamp_seconds{labels}")).parse().expect("a number");
    assert!(reached > 0);
}
