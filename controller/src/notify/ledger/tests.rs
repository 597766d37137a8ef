//! An alarm's life by one target: told, repeated, worse, over; flapping; restarts; clocks that jump; storms.

use super::*;
use crate::notify::{
    alarm::{Kind, Topic},
    message::State,
};

const RHYTHM: Rhythm =
    Rhythm { group: Duration::from_secs(30), repeat: Duration::from_secs(3600), clear_after: Duration::from_secs(120) };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

fn alarm(kind: Kind, subject: &str) -> Alarm {
    Alarm { kind, subject: subject.into(), text: "why".into() }
}

fn alarms<'a>(all: impl IntoIterator<Item = (Kind, &'a str)>) -> Alarms {
    let mut alarms = Alarms::default();
    all.into_iter().for_each(|(kind, subject)| alarms.add(alarm(kind, subject)));
    alarms
}

/// What is told at a moment and taken: `firing web@101 expired | clear db@102 blocked`; empty for nothing.
fn tell(ledger: &mut Ledger, alarms: &Alarms, now: i64) -> String {
    ledger.look(alarms, at(now));
    let Some(message) = ledger.message(alarms, RHYTHM, at(now)) else { return String::new() };
    ledger.delivered(&message, at(now));
    let words = |what: &str, list: &[Entry]| {
        let name = |entry: &Entry| format!("{what} {} {}", entry.alarm.subject, entry.alarm.kind.words());
        list.iter().map(name).collect::<Vec<_>>()
    };
    let (fired, repeated) = (words("firing", message.fired()), words("still", message.repeated()));
    [fired, repeated, words("clear", message.cleared())].concat().join(" | ")
}

/// Steps of a life: the moment, what is wrong then, and what is told.
type Step<'a> = (i64, &'a [(Kind, &'a str)], &'a str);

fn live(steps: &[Step<'_>]) -> Ledger {
    let mut ledger = Ledger::default();
    for (now, wrong, told) in steps {
        assert_eq!(tell(&mut ledger, &alarms(wrong.iter().copied()), *now), *told, "at {now}");
    }
    ledger
}

const WEB: &[(Kind, &str)] = &[(Kind::Blocked, "web@101")];
const BOTH: &[(Kind, &str)] = &[(Kind::Blocked, "web@101"), (Kind::Blocked, "db@102")];

#[test]
fn an_alarm_waits_for_others_is_told_once_repeated_and_then_over() {
    let ledger = live(&[
        (0, WEB, ""),
        (10, BOTH, ""),
        (29, BOTH, ""),
        (30, BOTH, "firing db@102 blocked | firing web@101 blocked"),
        (31, BOTH, ""),
        (3629, BOTH, ""),
        (3630, BOTH, "still db@102 blocked | still web@101 blocked"),
        (3700, WEB, ""),
        (3819, WEB, ""),
        (3820, WEB, "clear db@102 blocked"),
        (7229, WEB, ""),
        (7230, WEB, "still web@101 blocked"),
        (7300, &[], ""),
        (7420, &[], "clear web@101 blocked"),
        (99_999, &[], ""),
    ]);
    assert_eq!(ledger.told(), 0);
}

#[test]
fn what_expires_is_told_at_once_also_when_it_becomes_worse() {
    use Kind::{Expired, Expiring, RenewalLate};
    live(&[
        (0, &[(Expiring, "web@101")], "firing web@101 expiring"),
        // Another one a second later waits for nothing but the pause between messages.
        (1, &[(Expiring, "web@101"), (Expired, "db@102")], ""),
        (5, &[(Expiring, "web@101"), (Expired, "db@102")], "firing db@102 expired"),
        (50, &[(RenewalLate, "web@101"), (Expired, "db@102")], "firing web@101 renewal late"),
        (90, &[(Expired, "web@101"), (Expired, "db@102")], "firing web@101 expired"),
        (91, &[(Expiring, "web@101"), (Expired, "db@102")], ""),
        (100, &[], ""),
        (220, &[], "clear db@102 expired | clear web@101 expiring"),
    ]);
}

#[test]
fn an_urgent_one_takes_the_others_along() {
    live(&[
        (0, WEB, ""),
        (
            10,
            &[(Kind::Blocked, "web@101"), (Kind::Expired, "db@102")],
            "firing db@102 expired | firing web@101 blocked",
        ),
        (30, &[(Kind::Blocked, "web@101"), (Kind::Expired, "db@102")], ""),
    ]);
}

#[test]
fn flapping_is_one_alarm() {
    let mut steps: Vec<Step<'_>> = vec![(0, WEB, ""), (30, WEB, "firing web@101 blocked")];
    for minute in 1..49 {
        steps.push((60 * minute, if minute % 2 == 0 { WEB } else { &[] }, ""));
    }
    steps.extend([(3000, &[][..], ""), (3119, &[], ""), (3120, &[], "clear web@101 blocked")]);
    live(&steps);
    // What is gone before anybody was told is never told.
    live(&[(0, WEB, ""), (20, &[], ""), (40, WEB, ""), (69, WEB, ""), (70, WEB, "firing web@101 blocked")]);
}

#[test]
fn a_restart_tells_nothing_again_and_loses_no_all_clear() {
    let mut before = Ledger::default();
    tell(&mut before, &alarms(BOTH.iter().copied()), 0);
    assert!(!tell(&mut before, &alarms(BOTH.iter().copied()), 30).is_empty());
    let text = serde_json::to_string(&before.record()).expect("JSON");
    let mut after = Ledger::restore(serde_json::from_str(&text).expect("a record"));
    assert_eq!(after.told(), 2);
    // At first nothing is known, and that is neither news nor an end.
    for now in [100, 400, 1000] {
        assert_eq!(tell(&mut after, &Alarms::unknown(), now), "");
    }
    assert_eq!(tell(&mut after, &alarms(WEB.iter().copied()), 1100), "");
    assert_eq!(tell(&mut after, &alarms(WEB.iter().copied()), 1220), "clear db@102 blocked");
    assert_eq!(
        tell(&mut after, &alarms(WEB.iter().copied()), 3630),
        "still web@101 blocked",
        "as if it had not stopped"
    );
}

#[test]
fn what_is_not_taken_is_told_later_as_it_is_then() {
    let mut ledger = Ledger::default();
    let (web, both) = (alarms(WEB.iter().copied()), alarms(BOTH.iter().copied()));
    ledger.look(&web, at(0));
    assert!(ledger.message(&web, RHYTHM, at(30)).is_some(), "and the target does not take it");
    assert_eq!(tell(&mut ledger, &both, 600), "firing db@102 blocked | firing web@101 blocked");
    ledger.look(&web, at(700));
    assert!(ledger.message(&web, RHYTHM, at(900)).is_some_and(|told| told.state() == State::Clear), "not taken");
    assert_eq!(tell(&mut ledger, &both, 1000), "", "back before anybody was told that it was over");
}

#[test]
fn what_is_not_known_ends_no_alarm() {
    let mut ledger = live(&[
        (0, &[(Kind::Silent, "guest 101")], ""),
        (30, &[(Kind::Silent, "guest 101")], "firing guest 101 silent"),
    ]);
    let mut unsettled = Alarms::default();
    unsettled.unsettle(AlarmId { topic: Topic::Silent, subject: "guest 101".into() });
    for now in [100, 300, 900] {
        assert_eq!(tell(&mut ledger, &unsettled, now), "");
    }
    assert_eq!(tell(&mut ledger, &Alarms::default(), 1000), "");
    assert_eq!(tell(&mut ledger, &Alarms::default(), 1120), "clear guest 101 silent");
}

#[test]
fn an_earlier_clock_makes_nobody_wait() {
    let mut ledger = live(&[(100_000, WEB, ""), (100_030, WEB, "firing web@101 blocked")]);
    let both = alarms(BOTH.iter().copied());
    assert_eq!(tell(&mut ledger, &both, 0), "");
    assert_eq!(tell(&mut ledger, &both, 30), "firing db@102 blocked");
    assert_eq!(tell(&mut ledger, &both, 3600), "still web@101 blocked");
}

#[test]
fn a_storm_is_a_bounded_number_of_messages() {
    for (kind, max) in [(Kind::Blocked, 20), (Kind::Expiring, 120)] {
        let names: Vec<_> = (0..200).map(|number| format!("c{number}@101")).collect();
        let (mut ledger, mut messages) = (Ledger::default(), 0);
        // One more each three seconds, for ten minutes; then one less.
        for now in 0..600 {
            let count = usize::try_from(now).expect("small") / 3 + 1;
            let now_wrong = alarms(names.iter().take(count).map(|name| (kind, name.as_str())));
            messages += usize::from(!tell(&mut ledger, &now_wrong, now).is_empty());
        }
        assert!(messages <= max, "{messages} messages of {kind:?}");
        assert_eq!(ledger.told() + ledger.news.len(), 200);
        let mut ends = 0;
        for now in 600..1400 {
            let count = 200 - usize::try_from(now - 600).expect("small").min(600) / 3;
            let now_wrong = alarms(names.iter().take(count).map(|name| (kind, name.as_str())));
            ends += usize::from(!tell(&mut ledger, &now_wrong, now).is_empty());
        }
        assert!((1..=27).contains(&ends), "{ends} messages of ends");
        assert_eq!(ledger.told(), 0);
    }
}

#[test]
fn the_next_moment_is_the_one_at_which_something_is_told() {
    let mut ledger = Ledger::default();
    let web = alarms(WEB.iter().copied());
    assert_eq!(ledger.next(&web, RHYTHM), None);
    ledger.look(&web, at(0));
    assert_eq!(ledger.next(&web, RHYTHM), Some(at(30)));
    tell(&mut ledger, &web, 30);
    assert_eq!(ledger.next(&web, RHYTHM), Some(at(3630)));
    ledger.look(&Alarms::default(), at(100));
    assert_eq!(ledger.next(&Alarms::default(), RHYTHM), Some(at(220)));
}
