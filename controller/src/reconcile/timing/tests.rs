//! The steps of a renewal add up, whatever is known of it.

use std::time::Duration;

use pinion_proto::timing::GuestTiming;
use tokio::time::Instant;

use super::{Renewal, SigningTime};
use crate::admin::timing::{RenewalTiming, StepName};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A renewal of these marks: ordered after 5 ms, requested after 20 ms, signed after 100, sent after 110, served after 500.
fn renewal(now: Instant) -> Renewal {
    Renewal {
        ordered: Some(now + ms(5)),
        requested: Some(now + ms(20)),
        signed: Some((now + ms(100), SigningTime { queued: ms(30), called: ms(40), whole: ms(75) })),
        sent: Some(now + ms(110)),
        installed: Some(now + ms(440)),
        reloaded: Some(now + ms(470)),
        done: Some(now + ms(500)),
        ..Renewal::new(7, now)
    }
}

fn lengths(timing: &RenewalTiming) -> Vec<(StepName, u64)> {
    assert_eq!(timing.steps.iter().map(|step| step.milliseconds).sum::<u64>(), timing.milliseconds, "{timing:?}");
    timing.steps.iter().map(|step| (step.step, step.milliseconds)).collect()
}

const SIGNING: [(StepName, u64); 5] =
    [(StepName::Hold, 5), (StepName::Queue, 30), (StepName::Sign, 40), (StepName::Store, 5), (StepName::Delivery, 10)];

#[test]
fn what_the_guest_says_fills_the_time_and_the_rest_is_the_link() {
    let now = Instant::now();
    let in_guest =
        GuestTiming { generation: 7, key: 4, write: 20, check: 300, reload: 25, probe: 30, ..GuestTiming::default() };
    let timing = Renewal { in_guest: Some(in_guest), ..renewal(now) }.timing(now);
    let before = [(StepName::Order, 5), (StepName::Key, 4), (StepName::Link, 11)];
    let after = [
        (StepName::Write, 20),
        (StepName::Check, 300),
        (StepName::Reload, 25),
        (StepName::Probe, 30),
        (StepName::Link, 15),
    ];
    assert_eq!(lengths(&timing), [&before[..], &SIGNING, &after].concat());
    assert_eq!((timing.milliseconds, timing.is_done, timing.from_guest), (500, true, true));
    assert_eq!(timing.began, timing.steps[0].began);
    let is_rfc_3339 = |text: &str| text.len() == "2026-12-01T01:00:00.000Z".len() && text.ends_with('Z');
    assert!(timing.steps.iter().all(|step| is_rfc_3339(&step.began)), "{timing:?}");

    // A guest whose clock runs fast, or that lies, makes nothing longer than it was.
    let fast = GuestTiming { key: u32::MAX, check: u32::MAX, ..in_guest };
    let timing = Renewal { in_guest: Some(fast), ..renewal(now) }.timing(now);
    assert_eq!(lengths(&timing)[..2], [(StepName::Order, 5), (StepName::Key, 15)]);
    assert_eq!(lengths(&timing).last(), Some(&(StepName::Check, 370)));
    assert_eq!(timing.milliseconds, 500);
}

#[test]
fn of_an_earlier_agent_the_stages_are_known() {
    let now = Instant::now();
    let timing = renewal(now).timing(now);
    let after = [(StepName::Install, 330), (StepName::Notify, 30), (StepName::Serve, 30)];
    assert_eq!(lengths(&timing), [&[(StepName::Order, 5), (StepName::Request, 15)][..], &SIGNING, &after].concat());
    assert!(!timing.from_guest);
}

#[test]
fn a_renewal_under_way_has_taken_until_now() {
    let now = Instant::now();
    let later = now + ms(250);
    let at = |renewal: Renewal| lengths(&renewal.timing(later)).last().copied();
    assert_eq!(at(Renewal::new(7, now)), Some((StepName::Order, 250)));
    assert_eq!(at(Renewal { ordered: Some(now), ..Renewal::new(7, now) }), Some((StepName::Request, 250)));
    assert_eq!(at(Renewal { requested: Some(now + ms(20)), ..Renewal::new(7, now) }), Some((StepName::Hold, 230)));
    let unsent = Renewal { sent: None, installed: None, reloaded: None, done: None, ..renewal(now) };
    assert_eq!(at(unsent), Some((StepName::Delivery, 150)));
    let sent = Renewal { installed: None, reloaded: None, done: None, ..renewal(now) };
    assert_eq!(at(sent), Some((StepName::Install, 140)));
}
