//! What is reported of certificates that expire, and how often.

use pinion_proto::{report::WatchedCertificate, stage::Halt};

use super::*;
use crate::{
    reconcile::testing::{TWO, WEB, at, holds, leaf, link, parts, trouble, world},
    world::World,
};

const DAY: i64 = 86_400;

/// What a look at this moment reports, and when the next certificate ends. What changes is applied.
fn look(world: &mut World, now: Timestamp) -> (Vec<String>, Option<Timestamp>) {
    let manifest = world.manifest().clone();
    let mut effects = Effects::at(now);
    let parts = parts();
    let next = step(&View { world, parts: &parts, now }, &world.plan(&manifest, now), &mut effects);
    let texts = effects.texts().into_iter().map(ToOwned::to_owned).collect();
    effects.apply(world);
    (texts, next)
}

fn held(serial: u8, from: i64, halt: Option<Halt>) -> PlacementReport {
    PlacementReport { trouble: halt.map(|halt| trouble(halt, "exit 1")), ..holds(1, leaf(serial, at(from))) }
}

#[test]
fn a_certificate_is_reported_once_as_expiring_and_once_as_expired() {
    let mut world = world(WEB);
    link(&mut world, "101", vec![held(1, 0, None)]);
    let end = at(30 * DAY);
    assert_eq!(look(&mut world, at(60)), (vec![], Some(end + LAST_SECOND)));
    assert_eq!(look(&mut world, at(25 * DAY)).0, Vec::<String>::new(), "it is being renewed, and nothing is wrong");
    link(&mut world, "101", vec![held(1, 0, Some(Halt::Waiting))]);
    let (texts, next) = look(&mut world, at(25 * DAY));
    assert_eq!(next, Some(end + LAST_SECOND), "the loop wakes when it ends");
    assert!(texts.len() == 1 && texts[0].contains("expires at") && texts[0].contains("exit 1"), "{texts:?}");
    assert_eq!(look(&mut world, at(26 * DAY)).0, Vec::<String>::new(), "once");
    assert_eq!(look(&mut world, end).0, Vec::<String>::new(), "its last second");
    // Blocked now, which is no other expiry.
    link(&mut world, "101", vec![held(1, 0, Some(Halt::Blocked))]);
    assert_eq!(look(&mut world, at(27 * DAY)).0, Vec::<String>::new());
    let (texts, next) = look(&mut world, end + LAST_SECOND);
    assert!(texts.len() == 1 && texts[0].starts_with("The certificate of web@101 expired at"), "{texts:?}");
    assert_eq!(next, None);
    assert_eq!(look(&mut world, end + LAST_SECOND * 100).0, Vec::<String>::new(), "once");
    // What follows it has an expiry of its own.
    link(&mut world, "101", vec![held(2, 0, None)]);
    assert_eq!(look(&mut world, at(31 * DAY)).0.len(), 1);
}

/// One certificate that is only watched, in guest 101.
const WATCHED: &str = r#"{"version": 1, "certificates": [{"name": "web", "watch": true,
    "placements": [{"guest": 101, "probe": {"connect": "127.0.0.1:443"}}]}]}"#;

fn watched(serial: &str, days: [i64; 2]) -> PlacementReport {
    let [not_before, expires] = days.map(|day| at(day * DAY));
    let (names, issuer) = (vec!["gw.example".to_owned()], "CN=Somebody".to_owned());
    let watched = WatchedCertificate { names, issuer, serial: serial.to_owned(), not_before, expires };
    let name = "web".parse().expect("a name");
    PlacementReport {
        stage: pinion_proto::stage::Stage::Served,
        watched: Some(Box::new(watched)),
        ..PlacementReport::nothing(name)
    }
}

#[test]
fn what_is_only_watched_is_reported_when_its_owner_is_late() {
    let mut world = world(WATCHED);
    link(&mut world, "101", vec![watched("0A", [0, 90])]);
    // A fifth of 90 days.
    assert_eq!(look(&mut world, at(60)), (vec![], Some(at(72 * DAY))), "the loop wakes when it is late");
    assert_eq!(look(&mut world, at(71 * DAY)).0, Vec::<String>::new());
    let (texts, next) = look(&mut world, at(72 * DAY));
    assert!(texts.len() == 1 && texts[0].contains("expires at"), "{texts:?}");
    assert_eq!(next, Some(at(90 * DAY) + LAST_SECOND));
    assert_eq!(look(&mut world, at(89 * DAY)).0, Vec::<String>::new(), "once");
    let (texts, _) = look(&mut world, at(91 * DAY));
    assert!(texts.len() == 1 && texts[0].starts_with("The certificate of web@101 expired at"), "{texts:?}");
    // Its owner has renewed it, for a year: it is late 30 days before its end.
    link(&mut world, "101", vec![watched("0B", [90, 455])]);
    assert_eq!(look(&mut world, at(91 * DAY)), (vec![], Some(at(425 * DAY))));
}

#[test]
fn what_was_reported_is_remembered_over_a_restart() {
    let mut before = world(WEB);
    link(&mut before, "101", vec![held(1, 0, Some(Halt::Blocked))]);
    assert_eq!(look(&mut before, at(25 * DAY)).0.len(), 1);
    let record = before.record("101".parse().expect("a guest"), at(25 * DAY)).expect("a record");
    let text = serde_json::to_string(&record).expect("JSON");
    let mut reports = crate::world::Reports::default();
    reports.restore(serde_json::from_str(&text).expect("the record"));
    let entry = reports.placement(&"web@101".parse().expect("a placement")).expect("it is known");
    assert!(entry.is_reported("01", Validity::Expiring) && !entry.is_reported("01", Validity::Expired), "{text}");
    assert!(!entry.is_reported("02", Validity::Expiring));
}

#[test]
fn systemd_is_told_how_all_placements_are() {
    let mut world = world(TWO);
    link(&mut world, "101", vec![held(1, 0, None)]);
    link(&mut world, "102", vec![held(2, 0, Some(Halt::Blocked))]);
    let manifest = world.manifest().clone();
    let mut effects = Effects::at(at(60));
    let parts = parts();
    step(&View { world: &world, parts: &parts, now: at(60) }, &world.plan(&manifest, at(60)), &mut effects);
    let told = effects.into_iter().find_map(|effect| match effect {
        crate::reconcile::effects::Effect::Summary(line) => Some(line),
        _ => None,
    });
    assert_eq!(told.as_deref(), Some("1 blocked (web@102), 1 of 2 placements good; 2 guests linked"));
}
