//! How good what a placement holds is, and whether something is due.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    inventory::{GuestInfo, Inventory},
    reconcile::testing::{WEB, at, holds, leaf, link, nothing, parts, trouble, world},
};

const DAY: i64 = 86_400;

/// How `web@101` is whose guest reports this, with the guest stopped or not.
fn health(report: Option<PlacementReport>, is_stopped: bool) -> (Option<Validity>, bool) {
    let mut world = world(WEB);
    if let Some(report) = report {
        let manifest = world.manifest().clone();
        let revision = world.plan(&manifest, at(0)).placements[0].revision();
        link(&mut world, "101", vec![PlacementReport { revision, ..report }]);
    }
    if is_stopped {
        let info = GuestInfo { running: Some(false), ..GuestInfo::default() };
        let guests = BTreeMap::from([(101.try_into().expect("a VMID"), info)]);
        world.set_inventory(Arc::new(Inventory::complete(guests, &BTreeMap::new())));
    }
    let manifest = world.manifest().clone();
    let plan = world.plan(&manifest, at(0));
    let planned = &plan.placements[0];
    let report = planned.id().and_then(|id| world.report(&id));
    let health = Health::of(&View { world: &world, parts: &parts(), now: at(0) }, planned, report);
    (health.validity, health.is_due)
}

/// A certificate of so many days of age, of 30.
fn aged(days: i64) -> PlacementReport {
    holds(1, leaf(1, at(-days * DAY)))
}

fn with(halt: Halt, cause: &str, report: PlacementReport) -> Option<PlacementReport> {
    Some(PlacementReport { trouble: Some(trouble(halt, cause)), ..report })
}

#[test]
fn validity_is_about_the_certificate_and_due_about_what_is_to_be_done() {
    use Validity::{Expired, Expiring, Ok};
    let at_stage = |stage, report: PlacementReport| PlacementReport { stage, ..report };
    let closed = "the new files are in place, and the service is disturbed only in its window";
    for (what, report, expected) in [
        ("nothing is known", None, (None, true)),
        ("nothing is held", Some(nothing("web")), (None, true)),
        ("a fresh one", Some(aged(1)), (Some(Ok), false)),
        ("past its renewal, which goes on", Some(aged(25)), (Some(Ok), true)),
        ("its renewal waits", with(Halt::Waiting, "the CA is away", aged(25)), (Some(Expiring), true)),
        ("its renewal is blocked", with(Halt::Blocked, "exit 1", aged(25)), (Some(Expiring), true)),
        ("over, whatever goes on", Some(aged(31)), (Some(Expired), true)),
        ("over, and blocked", with(Halt::Blocked, "exit 1", aged(31)), (Some(Expired), true)),
        ("not served yet", Some(at_stage(Stage::Reloaded, aged(1))), (Some(Ok), true)),
        ("the service is away", with(Halt::Waiting, "refused", at_stage(Stage::Reloaded, aged(1))), (Some(Ok), true)),
        ("outside its window", with(Halt::Waiting, closed, at_stage(Stage::Installed, aged(1))), (Some(Ok), false)),
        ("outside its window, and late", with(Halt::Waiting, closed, aged(25)), (Some(Expiring), true)),
    ] {
        assert_eq!(health(report, false), expected, "{what}");
    }
}

#[test]
fn of_a_stopped_guest_only_its_certificate_counts() {
    use Validity::{Expired, Expiring, Ok};
    let away = |days| {
        let report = PlacementReport { stage: Stage::Reloaded, ..aged(days) };
        with(Halt::Waiting, "its service went down with it", report)
    };
    assert_eq!(health(away(1), true), (Some(Ok), false), "a good one");
    assert_eq!(health(away(1), false), (Some(Ok), true), "and the same of one that runs");
    assert_eq!(health(away(25), true), (Some(Expiring), true));
    assert_eq!(health(away(31), true), (Some(Expired), true));
    assert_eq!(health(None, true), (None, true), "it holds none");
}
