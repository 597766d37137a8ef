//! Which facts the loop's alarms are made of.

use std::time::Duration;

use pinion_proto::{report::PlacementReport, stage::Halt};

use super::*;
use crate::{
    notify::alarm::Alarms,
    reconcile::{
        effects::Effect,
        testing::{TWO, WEB, at, guest, holds, leaf, link, parts, trouble, world},
    },
    world::World,
};

const DAY: i64 = 86_400;

const PATIENCE: Patience =
    Patience { silent_after: Duration::from_secs(900), issuer_down_after: Duration::from_secs(3600) };

fn look(watch: &mut AlarmWatch, world: &World, now: Timestamp) -> (Alarms, Option<Timestamp>) {
    let (manifest, parts, mut effects) = (world.manifest().clone(), parts(), Effects::at(now));
    let directory = tempfile::tempdir().expect("a directory");
    let view = View { world, parts: &parts, now };
    let events = Events::open(directory.path());
    let next = watch.step(&view, &world.plan(&manifest, now), PATIENCE, &events, &mut effects);
    let found = effects.into_iter().find_map(|effect| match effect {
        Effect::Alarms(alarms) => Some(*alarms),
        _ => None,
    });
    (found.expect("said at each look"), next)
}

fn told(alarms: &Alarms) -> Vec<String> {
    alarms.firing().map(|(id, alarm)| format!("{} {}", id.subject, alarm.kind.words())).collect()
}

fn held(from: i64, halt: Option<Halt>) -> PlacementReport {
    PlacementReport { trouble: halt.map(|halt| trouble(halt, "exit 1")), ..holds(1, leaf(1, at(from))) }
}

#[test]
fn a_placement_goes_from_good_to_expired_and_back() {
    let (mut world, mut watch) = (world(WEB), AlarmWatch::start(at(0)));
    link(&mut world, "101", vec![held(0, None)]);
    let mut look = |world: &World, day: i64| {
        let (alarms, next) = look(&mut watch, world, at(day * DAY));
        (told(&alarms), next)
    };
    assert_eq!(look(&world, 1).0, Vec::<String>::new());
    link(&mut world, "101", vec![held(0, Some(Halt::Blocked))]);
    assert_eq!(look(&world, 2).0, ["web@101 blocked"]);
    let (alarms, next) = look(&world, 22);
    assert_eq!(alarms, ["web@101 expiring", "web@101 blocked"]);
    let late = next.expect("it becomes worse by itself");
    assert!(late > at(26 * DAY) && late < at(28 * DAY), "{late}");
    assert_eq!(look(&world, 29).0, ["web@101 renewal late", "web@101 blocked"]);
    assert_eq!(look(&world, 31).0, ["web@101 expired", "web@101 blocked"]);
    link(&mut world, "101", vec![held(31 * DAY, None)]);
    assert_eq!(look(&world, 31).0, Vec::<String>::new());
}

#[test]
fn a_guest_is_silent_only_while_something_is_due_in_it() {
    let (mut world, mut watch) = (world(TWO), AlarmWatch::start(at(0)));
    link(&mut world, "101", vec![held(0, None)]);
    let (early, next) = look(&mut watch, &world, at(60));
    assert_eq!((told(&early), next), (vec![], Some(at(900))), "guest 102 never linked");
    let (alarms, _) = look(&mut watch, &world, at(900));
    assert_eq!(told(&alarms), ["guest 102 silent"]);
    // The other one goes, and nothing is due in it yet.
    world.apply(crate::world::Change::LinkDown(guest("101")), at(DAY));
    assert_eq!(told(&look(&mut watch, &world, at(2 * DAY)).0), ["guest 102 silent"]);
    let (alarms, _) = look(&mut watch, &world, at(25 * DAY));
    let subjects = told(&alarms);
    assert!(subjects.contains(&"guest 101 silent".to_owned()), "{subjects:?}");
    // After a restart nobody is silent at once, and nobody counts as back.
    let (alarms, _) = look(&mut AlarmWatch::start(at(25 * DAY)), &world, at(25 * DAY + 60));
    assert!(told(&alarms).iter().all(|told| !told.contains("silent")), "{alarms:?}");
    let silent = |subject: &str| crate::notify::alarm::AlarmId {
        topic: crate::notify::alarm::Topic::Silent,
        subject: subject.into(),
    };
    assert!(!alarms.is_over(&silent("guest 101")) && alarms.is_over(&silent("guest 103")));
}

#[test]
fn an_issuer_that_refuses_is_not_down() {
    let (mut world, mut watch) = (world(WEB), AlarmWatch::start(at(0)));
    link(&mut world, "101", vec![held(0, None)]);
    let issuer: PlainName = world.manifest().certificates[0].issuer.clone().expect("it has one");
    let down = || IssuerError::Unavailable { message: "connection refused".into() };
    let mut now = 0;
    let mut answer = |watch: &mut AlarmWatch, result: Result<(), IssuerError>| {
        watch.note_answer(&issuer, &result, at(now));
        now += 3600;
        told(&look(watch, &world, at(now)).0)
    };
    assert_eq!(answer(&mut watch, Ok(())), Vec::<String>::new());
    let name = issuer.to_string();
    assert_eq!(answer(&mut watch, Err(down())), [format!("{name} issuer down")]);
    assert_eq!(answer(&mut watch, Err(IssuerError::Refused { message: "no".into() })), Vec::<String>::new());
    assert_eq!(
        answer(&mut watch, Err(IssuerError::misconfigured("another root", "look"))),
        [format!("{name} issuer down")]
    );
}
