//! A CA that is away, slow, or speaks nonsense: the placement waits, and goes on when it is back.

use std::time::Duration;

use pinion_proto::stage::{Halt, Stage};
use pinion_tests::ca::{HostileCa, Manner, StepCa};

use super::site::{PLACEMENT, Site, issuer_of, issuer_of_hostile};

#[test]
fn a_ca_that_is_down_at_the_start_is_waited_for_without_a_restart() {
    let mut ca = StepCa::start().expect("a CA");
    let issuer = issuer_of(&ca);
    ca.stop();
    let site = Site::start(issuer);
    let seen = site.wait_trouble(Halt::Waiting, "refused");
    assert_eq!(seen.stage, Stage::Pending);
    let ensured = site.host.pinion(&["ensure", "--timeout", "100ms"]).expect("pinion runs");
    assert_eq!(ensured.code(), 3, "{ensured}");
    let check = site.host.pinion(&["issuer", "check"]).expect("pinion runs");
    assert!(check.code() == 3 && check.stdout.contains(&ca.url()), "{check}");

    ca.restart().expect("the CA is back");
    site.bring_up().expect("it continues by itself");
}

#[test]
fn a_ca_that_goes_down_half_way_delays_the_renewal_and_disturbs_no_service() {
    let mut ca = StepCa::start().expect("a CA");
    let site = Site::served(issuer_of(&ca), "");
    let before = site.installed().expect("installed and served");
    ca.stop();
    site.ask_in_vain();
    let seen = site.wait_trouble(Halt::Waiting, "refused");
    assert_eq!(seen.stage, Stage::Served, "the old one is still served");
    assert_eq!(site.installed().expect("still there"), before);

    ca.restart().expect("the CA is back");
    site.wait_renewed(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_failing_and_lying_answers_are_waited_out() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (issuer, _password) = issuer_of_hostile(&ca);
    let site = Site::served(issuer, "timeout = \"1s\"");
    let page = "<html>502 Bad Gateway</html>";
    let manners = [
        (Manner::Silence, "did not answer in time"),
        (Manner::Sign.after(Duration::from_secs(4)), "did not answer in time"),
        (Manner::Answer(500, r#"{"status":500,"message":"database is full"}"#.into()), "database is full"),
        (Manner::Answer(200, page.into()), "cannot read its answer"),
        (Manner::Answer(503, String::new()), "503"),
        (Manner::Garbage, "sign"),
        (Manner::CutOff, "sign"),
        (Manner::Endless, "longer than"),
    ];
    for (manner, words) in manners {
        let before = site.installed().expect("installed and served");
        ca.behave("/1.0/sign", manner);
        site.ask_in_vain();
        let seen = site.wait_trouble(Halt::Waiting, words);
        assert_eq!(seen.stage, Stage::Served, "the old one is still served");
        assert_eq!(site.installed().expect("still there"), before);
        ca.behave("/1.0/sign", Manner::Sign);
        site.wait_renewed(&before);
    }
    let status = site.host.status().expect("a status");
    assert_eq!(status.placement(PLACEMENT).expect("the placement").trouble, None);
}
