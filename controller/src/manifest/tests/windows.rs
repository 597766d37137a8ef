//! Windows by the clock on the wall.

use jiff::{civil::Weekday, civil::time};
use pinion_proto::clock::Timestamp;

use super::{TimeZone, window::Window};

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

fn berlin() -> TimeZone {
    // A rule in POSIX form, so that the test does not depend on the machine's time zone files.
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("Berlin's rule")
}

fn weekend_nights() -> Window {
    Window::new(&[Weekday::Saturday, Weekday::Sunday], time(2, 0, 0, 0), time(4, 0, 0, 0), TimeZone::UTC)
}

#[test]
fn it_is_open_from_its_first_second_to_before_its_last() {
    let window = weekend_nights();
    // 2026-08-01 is a Saturday.
    for (now, open) in [
        ("2026-08-01T01:59:59Z", false),
        ("2026-08-01T02:00:00Z", true),
        ("2026-08-01T03:59:59Z", true),
        ("2026-08-01T04:00:00Z", false),
        ("2026-08-03T03:00:00Z", false),
    ] {
        assert_eq!(window.contains(at(now)), open, "{now}");
    }
}

#[test]
fn the_next_opening_is_now_or_on_the_next_of_its_days() {
    let window = weekend_nights();
    for (now, opens) in [
        ("2026-08-01T03:00:00Z", "2026-08-01T03:00:00Z"),
        ("2026-08-01T04:00:00Z", "2026-08-02T02:00:00Z"),
        ("2026-08-02T04:00:00Z", "2026-08-08T02:00:00Z"),
        ("2026-12-31T23:59:59Z", "2027-01-02T02:00:00Z"),
    ] {
        assert_eq!(window.next_open(at(now)), Some(at(opens)), "{now}");
    }
}

#[test]
fn one_that_crosses_midnight_belongs_to_the_day_it_opens_on() {
    let window = Window::new(&[Weekday::Friday], time(23, 0, 0, 0), time(1, 0, 0, 0), TimeZone::UTC);
    assert!(window.contains(at("2026-07-31T23:00:00Z")), "Friday night");
    assert!(window.contains(at("2026-08-01T00:59:59Z")), "still Friday's");
    assert!(!window.contains(at("2026-07-31T00:30:00Z")), "Thursday's night");
    let whole_day = Window::new(&[Weekday::Friday], time(0, 0, 0, 0), time(0, 0, 0, 0), TimeZone::UTC);
    assert!(whole_day.contains(at("2026-07-31T00:00:00Z")) && whole_day.contains(at("2026-07-31T23:59:59Z")));
    assert!(!whole_day.contains(at("2026-08-01T00:00:00Z")));
}

#[test]
fn it_goes_by_the_local_clock() {
    let window = Window::new(&[Weekday::Saturday], time(2, 0, 0, 0), time(4, 0, 0, 0), berlin());
    assert!(window.contains(at("2026-08-01T00:00:00Z")), "02:00 in summer time");
    assert!(window.contains(at("2026-01-03T02:59:59Z")), "03:59 in winter time");
    assert!(!window.contains(at("2026-08-01T02:30:00Z")));
}

#[test]
fn when_the_clock_is_put_forward_the_window_opens_later_and_does_not_vanish() {
    // On 2026-03-29 Berlin goes from 02:00 to 03:00, which is 01:00 UTC.
    let sunday = |from, to| Window::new(&[Weekday::Sunday], from, to, berlin());
    let day_before = at("2026-03-28T12:00:00Z");
    let gone = sunday(time(2, 0, 0, 0), time(3, 0, 0, 0));
    assert_eq!(gone.next_open(day_before), Some(at("2026-03-29T01:00:00Z")));
    assert!(gone.contains(at("2026-03-29T01:59:59Z")) && !gone.contains(at("2026-03-29T02:00:00Z")));
    let half_gone = sunday(time(2, 30, 0, 0), time(3, 0, 0, 0));
    assert_eq!(half_gone.next_open(day_before), Some(at("2026-03-29T01:30:00Z")));
    let around = sunday(time(1, 0, 0, 0), time(4, 0, 0, 0));
    assert!(around.contains(at("2026-03-29T01:59:59Z")) && !around.contains(at("2026-03-29T02:00:00Z")));
}

#[test]
fn when_the_clock_is_put_back_the_first_of_two_moments_counts() {
    // On 2026-10-25 Berlin goes from 03:00 back to 02:00, which is 01:00 UTC.
    let window = Window::new(&[Weekday::Sunday], time(2, 0, 0, 0), time(4, 0, 0, 0), berlin());
    assert_eq!(window.next_open(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:00:00Z")));
    assert!(window.contains(at("2026-10-25T02:59:59Z")) && !window.contains(at("2026-10-25T03:00:00Z")));
}

#[test]
fn the_ends_of_time_have_an_answer() {
    for moment in [i64::MIN, i64::MAX] {
        let moment = Timestamp::from_unix(moment);
        assert!(weekend_nights().next_open(moment).is_none_or(|opens| opens >= moment));
    }
}

proptest::proptest! {
    /// Against a model that looks at each hour, in a zone without changes of the clock.
    #[test]
    fn the_next_opening_is_the_first_open_hour(
        start in 1_700_000_000_i64..1_800_000_000, days in 1_u8..128, from in 0_i8..24, to in 0_i8..24,
    ) {
        let week = [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday,
            Weekday::Saturday, Weekday::Sunday];
        let chosen: Vec<Weekday> = (0..7).filter(|n| days >> n & 1 == 1).filter_map(|n| week.get(n).copied()).collect();
        let window = Window::new(&chosen, time(from, 0, 0, 0), time(to, 0, 0, 0), TimeZone::UTC);
        let start = Timestamp::from_unix(start / 3_600 * 3_600);
        let model = |hour: i64| {
            // 1970-01-01 was a Thursday.
            let (day, hour) = (hour.div_euclid(24), hour.rem_euclid(24));
            let on = |day: i64| days >> (day + 3).rem_euclid(7) & 1 == 1;
            let (from, to) = (i64::from(from), i64::from(to));
            if from < to { on(day) && (from..to).contains(&hour) } else { (on(day) && hour >= from) || (on(day - 1) && hour < to) }
        };
        let first = (start.unix() / 3_600..).find(|hour| model(*hour)).map(|hour| Timestamp::from_unix(hour * 3_600));
        proptest::prop_assert_eq!(window.next_open(start), first);
    }
}
