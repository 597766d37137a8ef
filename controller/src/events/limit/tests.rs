//! What a flood of events leaves of the journal.

use super::*;
use crate::events::Kind;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

fn guest(text: &str) -> Option<Guest> {
    Some(text.parse().expect("a guest"))
}

/// An event of a guest at a moment.
fn linked(seconds: i64) -> Event {
    What::Guest("1001".parse().expect("a guest"), GuestEvent::Linked).at(at(seconds))
}

/// Of so many events of somebody at a moment: how many pass, and how many say that some are missing.
fn flood(limit: &mut EventLimit, who: Option<Guest>, count: usize, seconds: i64) -> (usize, usize) {
    let passed: Vec<_> = (0..count).filter_map(|_| limit.pass(who, linked(seconds))).collect();
    let missing = passed.iter().filter(|event| event.kind == Kind::Refused).count();
    (passed.len() - missing, missing)
}

#[test]
fn each_source_fills_so_much_and_no_more() {
    let cases = [
        ("a busy minute", 1000, 0, (1000, 0)),
        ("a flood", 5000, 0, (0, 1)),
        ("the flood goes on", 5000, 60, (6, 0)),
        ("an hour later it is said again", 5000, 3600, (354, 1)),
        ("and once more", 5000, 7200, (360, 1)),
    ];
    let mut limit = EventLimit::default();
    for (what, count, seconds, expected) in cases {
        assert_eq!(flood(&mut limit, guest("1001"), count, seconds), expected, "{what}");
    }
}

#[test]
fn one_that_floods_takes_nothing_from_the_others() {
    let mut limit = EventLimit::default();
    assert_eq!(flood(&mut limit, guest("1001"), 2000, 0), (1000, 1));
    assert_eq!(flood(&mut limit, None, 2000, 0), (1000, 1), "all strangers together");
    assert_eq!(flood(&mut limit, guest("1002"), 10, 0), (10, 0));
}

#[test]
fn what_is_missing_is_said_of_whom_it_is() {
    for (who, start) in [(guest("1001"), "Guest 1001 causes"), (None, "Callers without an identity cause")] {
        let mut limit = EventLimit::default();
        flood(&mut limit, who, 1000, 0);
        let missing = limit.pass(who, linked(0)).expect("it is said");
        assert!(missing.text.starts_with(start), "{}", missing.text);
        assert_eq!(missing.guest, who);
    }
}

#[test]
fn a_clock_that_moved_back_says_at_once_that_events_are_missing() {
    let mut limit = EventLimit::default();
    assert_eq!(flood(&mut limit, guest("1001"), 1001, 0), (1000, 1));
    assert_eq!(flood(&mut limit, guest("1001"), 1, -86_400), (0, 1), "not only when the old hour is over");
}

#[test]
fn a_long_text_is_cut() {
    for (length, expected) in [(10, 10), (MAX_TEXT, MAX_TEXT), (MAX_TEXT + 1, MAX_TEXT + 1), (9000, MAX_TEXT + 1)] {
        let mut event = linked(0);
        event.text = "ä".repeat(length);
        let event = EventLimit::default().pass(None, event).expect("it passes");
        assert_eq!(event.text.chars().count(), expected);
        assert_eq!(event.text.ends_with('…'), length > MAX_TEXT);
    }
}
