//! What a clock that was set back renews, and what it leaves alone.

use std::time::Duration;

use pinion_proto::report::PlacementReport;

use super::*;
use crate::reconcile::testing::{GuestKey, WEB, at, holds, id, incoming, leaf, link, nothing, world};

const DAY: i64 = 86_400;

/// A watch that began this long ago, when the clock showed that.
fn watch(began: i64, passed: u64) -> ClockWatch {
    let instant = Instant::now().checked_sub(Duration::from_secs(passed)).expect("the machine is older");
    ClockWatch { last: at(0), began: (at(began), instant) }
}

/// Which placements are renewed when the clock is set back to a moment.
fn renewed(watch: &mut ClockWatch, report: PlacementReport, to: i64) -> Option<usize> {
    let mut world = world(WEB);
    link(&mut world, "101", vec![report]);
    let mut effects = Effects::at(at(to));
    watch.step(&world, &mut effects).then(|| {
        assert!(effects.changes().contains(&&Change::ClockMovedBack));
        effects.changes().iter().filter(|change| ***change == Change::Another(id("web@101"))).count()
    })
}

#[test]
fn what_begins_too_late_by_the_new_clock_is_renewed() {
    let installing = || incoming(holds(1, leaf(1, at(-DAY))), 2, Progress::Delivered);
    let requested = || incoming(holds(1, leaf(1, at(-10 * DAY))), 2, GuestKey::new().request());
    let other = || PlacementReport { certificate: "other".parse().expect("a name"), ..holds(1, leaf(1, at(-60))) };
    let retired = || PlacementReport { retired: true, ..holds(1, leaf(1, at(-60))) };
    let cases: [(&str, PlacementReport, i64, Option<usize>); 11] = [
        ("the clock goes on", holds(1, leaf(1, at(-60))), 60, None),
        ("it goes back by what a kept clock may", holds(1, leaf(1, at(-60))), -300, None),
        ("it goes back by more", holds(1, leaf(1, at(-60))), -301, Some(0)),
        ("what was signed a minute ago", holds(1, leaf(1, at(-60))), -DAY, Some(1)),
        ("what was signed before", holds(1, leaf(1, at(-2 * DAY))), -DAY, Some(0)),
        ("what begins within the skew", holds(1, leaf(1, at(-DAY + 300))), -DAY, Some(0)),
        ("what is being installed", installing(), -3600, Some(1)),
        ("what is requested", requested(), -3600, Some(1)),
        ("nothing held", nothing("web"), -DAY, Some(0)),
        ("what the manifest does not name", other(), -DAY, Some(0)),
        ("what its guest has retired", retired(), -DAY, Some(0)),
    ];
    for (what, report, to, expected) in cases {
        // It began two days ago, by a clock that was two days behind: it is right now.
        assert_eq!(renewed(&mut watch(-4 * DAY, 0), report, to), expected, "{what}");
    }
}

#[test]
fn nothing_is_renewed_while_the_clock_is_behind_what_it_showed_at_the_start() {
    let fresh = || holds(1, leaf(1, at(-60)));
    let requested = || incoming(fresh(), 2, GuestKey::new().request());
    let cases: [(&str, PlacementReport, i64, u64, Option<usize>); 5] = [
        ("behind the start", fresh(), 0, 0, Some(0)),
        ("behind what has passed since", fresh(), -2 * DAY, 120, Some(1)),
        ("behind by what has passed since alone", fresh(), -DAY, 600, Some(0)),
        ("behind by less than the skew", fresh(), -DAY - 200, 400, Some(1)),
        ("what is requested goes on all the same", requested(), 0, 0, Some(1)),
    ];
    for (what, report, began, passed, expected) in cases {
        assert_eq!(renewed(&mut watch(began, passed), report, -DAY), expected, "{what}");
    }
}

#[test]
fn each_time_counts_once() {
    let mut watch = watch(-10 * DAY, 0);
    for (to, expected) in [(-DAY, Some(1)), (-DAY + 60, None), (-DAY, None), (-3 * DAY, Some(1))] {
        assert_eq!(renewed(&mut watch, holds(1, leaf(1, at(-60))), to), expected, "{to}");
    }
}

#[test]
fn the_event_names_what_is_renewed() {
    let mut world = world(WEB);
    link(&mut world, "101", vec![holds(1, leaf(1, at(-60)))]);
    let mut effects = Effects::at(at(-DAY));
    assert!(watch(-10 * DAY, 0).step(&world, &mut effects));
    assert!(effects.texts()[0].ends_with("are renewed: web@101"), "{:?}", effects.texts());
}
