//! A clock that jumps: what is due is made up for once, and a clock set back brings nothing.

use pinion_controller::events::Kind;
use pinion_proto::clock::Clock;

use super::one_process::{DAY, HOUR, Lab, START, certificate};

#[tokio::test(flavor = "multi_thread")]
async fn a_day_back_and_ten_days_on_bring_no_storm() {
    let lab = Lab::start(&[certificate("day", "24h", "always"), certificate("month", "30d", "always")]).await;
    lab.clock.advance(HOUR);
    lab.settled("an hour later").await;
    assert_eq!(lab.events(Kind::Issued).await.len(), 2);
    // What is held begins in the future now, and is kept: this clock may be the wrong one.
    lab.clock.set(START - DAY);
    lab.settled("a day back").await;
    assert_eq!(lab.events(Kind::Issued).await.len(), 2, "a clock set back brings nothing");
    lab.clock.set(START + 10 * DAY);
    lab.settled_with(3, "ten days on: the one that was due, once").await;
    assert_eq!(lab.events(Kind::Failed).await, []);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_on_and_back_again_brings_one_renewal_each_and_loses_nobody() {
    let lab = Lab::start(&[certificate("day", "24h", "always"), certificate("month", "30d", "always")]).await;
    lab.clock.advance(366 * DAY);
    lab.settled("a year later").await;
    assert_eq!(lab.events(Kind::Issued).await.len(), 4, "each once more");
    assert_eq!(lab.identities(), 2, "the guest's identity had expired while it was linked");
    lab.join_another("1002").await;
    // The clock was wrong, and is set right.
    lab.clock.set(START + HOUR);
    lab.settled_with(6, "the right time again: what begins in a year is of no use for that long").await;
    lab.join_another("1003").await;
    assert_eq!(lab.clock.now(), START + HOUR);
    lab.stop().await;
}
