//! A clock that is set wrong in the middle of a renewal, and put right again: the controller's, the guest's or both; by an
//! hour, a day, ten years, forward and back. Nothing storms, nothing expires by it, and soon all is as it should be.

use std::{fs, time::Duration};

use pinion_controller::events::Kind;
use pinion_proto::{
    bundle::Chain,
    clock::{Clock, Timestamp},
};
use serde_json::Value;

use super::one_process::{DAY, HOUR, Lab, START, certificate};

/// Whose clock is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Controllers,
    Guests,
    Both,
}

/// When it is set, in a renewal that somebody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Before anything is ordered.
    Ordered,
    /// Between the order and the files: the request, the signature, the delivery, whichever it meets.
    UnderWay,
    /// The files are in place and are being checked.
    Installed,
    /// The service is being told.
    Told,
    /// All is done.
    Done,
}

const MOMENTS: [Moment; 5] = [Moment::Ordered, Moment::UnderWay, Moment::Installed, Moment::Told, Moment::Done];
const YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

#[tokio::test(flavor = "multi_thread")]
async fn a_controllers_clock_that_is_wrong_for_a_while() {
    set_wrong_by_every_step(Whose::Controllers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_clock_that_is_wrong_for_a_while() {
    set_wrong_by_every_step(Whose::Guests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_clocks_wrong_for_a_while() {
    set_wrong_by_every_step(Whose::Both).await;
}

async fn set_wrong_by_every_step(whose: Whose) {
    let mut lab = Lab::start_apart(&[hooked("day", "24h"), hooked("month", "30d")]).await;
    let mut truth = START;
    for by in [HOUR, DAY, YEARS] {
        for back in [false, true] {
            for moment in MOMENTS {
                let at = format!("{whose:?} clock set {} by {by:?}, {moment:?}", if back { "back" } else { "forward" });
                let wrong = |now: Timestamp| if back { now - by } else { now + by };
                truth = one_step(&lab, whose, moment, wrong, truth, &at).await;
            }
        }
    }
    // Who links anew is still who it was.
    lab.power_off().await;
    lab.power_on().await;
    lab.settled("linked anew").await;
    lab.stop().await;
}

/// A renewal in which a clock is wrong for two hours; the right time afterwards.
async fn one_step(
    lab: &Lab,
    whose: Whose,
    moment: Moment,
    wrong: impl Fn(Timestamp) -> Timestamp,
    truth: Timestamp,
    at: &str,
) -> Timestamp {
    let before = lab.events(Kind::Issued).await.len();
    let set = |now: Timestamp| {
        lab.clock.set(if whose == Whose::Guests { now } else { wrong(now) });
        lab.guest_clock.set(if whose == Whose::Controllers { now } else { wrong(now) });
    };
    let hold = |hook: &str| fs::write(lab.guest().root().join(hook), "").expect("written");
    let release = |hook: &str| drop(fs::remove_file(lab.guest().root().join(hook)));
    match moment {
        Moment::Ordered => {
            set(truth);
            lab.renew().await;
        }
        Moment::UnderWay => {
            lab.renew().await;
            set(truth);
        }
        Moment::Installed | Moment::Told => {
            let hook = if moment == Moment::Installed { "check" } else { "tell" };
            hold(hook);
            lab.renew().await;
            lab.reached(&format!("{hook}ing")).await;
            set(truth);
            release(hook);
        }
        Moment::Done => {
            lab.renew().await;
            lab.settled(at).await;
            set(truth);
        }
    }
    let mut now = truth;
    for _ in 0..4 {
        lab.busy_for(Duration::from_millis(60)).await;
        now = now + HOUR / 2;
        set(now);
    }
    let while_wrong = lab.events(Kind::Issued).await.len() - before;
    lab.guest_clock.set(now);
    lab.clock.set(now);
    // What a guest refused is offered again within the hour, because each try costs a signature; a controller whose own
    // clock is set back knows at once.
    let knows = whose != Whose::Guests && wrong(now) > now;
    let max = if knows { HOUR / 6 } else { HOUR + HOUR / 6 };
    let right = now;
    while let Err(last) = lab.rests_within(Duration::from_secs(if now < right + max { 1 } else { 30 })).await {
        assert!(now < right + max, "{at}: {last}");
        now = now + HOUR / 6;
        lab.clock.set(now);
        lab.guest_clock.set(now);
    }
    let all = lab.events(Kind::Issued).await.len() - before;
    // Of two certificates: what was asked for, what seems due, one an hour that a guest refuses; and what is put right.
    assert!(while_wrong <= 8 && all <= 12, "{at}: {while_wrong} signed while it was wrong, {all} with the rest");
    for name in ["day", "month"] {
        let pem = fs::read_to_string(lab.guest().root().join(format!("etc/ssl/{name}.crt"))).expect("a certificate");
        let chain = Chain::from_pem(&pem).expect("a chain");
        let leaf = chain.leaf();
        assert!(leaf.not_after() > now, "{at}: {name} has expired: {}", leaf.not_after());
        assert!(leaf.not_before() <= now + Duration::from_secs(300), "{at}: {name} begins at {}", leaf.not_before());
    }
    assert_eq!(lab.clock.now(), now);
    now
}

fn hooked(name: &str, duration: &str) -> Value {
    let mut certificate = certificate(name, duration, "always");
    certificate["placements"][0]["validate"] = serde_json::json!({ "hook": "check" });
    certificate["placements"][0]["reload"] = serde_json::json!({ "hook": "tell" });
    certificate
}
