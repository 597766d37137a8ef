//! A certificate that is not renewed is told before it ends, and when it has: once each, whatever restarts.

use std::time::Duration;

use pinion_controller::events::Kind;
use pinion_proto::stage::{Stage, Validity};

use super::one_process::{DAY, Lab, certificate};

async fn validity(lab: &Lab) -> Option<Validity> {
    let placement = lab.status().await.placements.into_iter().next().expect("one");
    // What is installed stays at its stage, whatever the time.
    assert!(placement.stage >= Stage::Reloaded, "{placement:?}");
    placement.validity
}

/// The exit code and the line of `pinion status --check`.
fn check(lab: &Lab) -> (i32, String) {
    let finished = lab.host().pinion(&["status", "--check"]).expect("it runs");
    (finished.code(), finished.stdout)
}

async fn told(lab: &Lab) -> [usize; 2] {
    [lab.events(Kind::Expiring).await.len(), lab.events(Kind::Expired).await.len()]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_unrenewed_is_told_once_before_and_once_after() {
    let mut lab = Lab::start(&[certificate("web", "30d", "always")]).await;
    assert_eq!((validity(&lab).await, told(&lab).await), (Some(Validity::Ok), [0, 0]));
    assert_eq!(check(&lab).0, 0);
    lab.power_off().await;
    lab.clock.advance(DAY * 10);
    assert_eq!((validity(&lab).await, check(&lab).0), (Some(Validity::Ok), 0), "nothing is due in it");
    lab.clock.advance(DAY * 15);
    assert_eq!((validity(&lab).await, told(&lab).await), (Some(Validity::Expiring), [1, 0]));
    let (code, line) = check(&lab);
    assert!(code == 3 && line.contains("1 waiting (web@1001)"), "{line}");
    lab.restart(|_| {}).await;
    assert_eq!((validity(&lab).await, told(&lab).await), (Some(Validity::Expiring), [1, 0]));

    // Nobody asks: the loop wakes by itself when it ends.
    lab.clock.advance(DAY * 5 + Duration::from_secs(60));
    pinion_tests::journal::wait_event(lab.host(), Kind::Expired, &["web@1001", "expired at"]).expect("it is told");
    assert_eq!((validity(&lab).await, told(&lab).await), (Some(Validity::Expired), [1, 1]));
    let (code, line) = check(&lab);
    assert!(code == 4 && line.contains("1 expired (web@1001), 0 of 1 placement good"), "{line}");
    lab.clock.advance(DAY);
    lab.restart(|_| {}).await;
    assert_eq!((validity(&lab).await, told(&lab).await), (Some(Validity::Expired), [1, 1]));
    lab.stop().await;
}
