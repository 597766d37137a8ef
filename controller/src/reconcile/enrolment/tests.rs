//! Who is brought in, what is said where nobody can be, and what the operator reads of guests that must rejoin.

use pinion_proto::{report::GuestFacts, stage::Stage};

use super::*;
use crate::{
    planner::Decision,
    reconcile::{
        effects::{Effect, When},
        testing::{WEB, at, guest, holds, leaf, link, nothing, root_user, trouble, world},
    },
};

#[test]
fn where_there_is_no_hypervisor_who_asks_is_told_how_to_join_by_hand() {
    let world = world(WEB);
    for number in ["101", "host"] {
        let (answers, mut queue) = mpsc::channel(1);
        let mut effects = Effects::at(at(0));
        assert!(!Enrolment::default().ask(guest(number), &root_user(), answers, &world, &mut effects));
        let Ok(Answer::Refused(text)) = queue.try_recv() else { panic!("{number} is answered") };
        assert!(text.contains(&format!("pinion token create --guest {number}")), "{text}");
        let woken = Enrolment::default().wake(guest(number), &root_user(), &mut effects);
        assert!(matches!(woken, Answer::Refused(_)) && effects.is_empty(), "{number}");
    }
}

#[test]
fn what_a_refused_link_says_of_its_guest() {
    let cases = [
        ("locked", Turned::Locked, (1, 0, 1)),
        ("newer than what is on record", Turned::Newer, (0, 1, 1)),
        ("without a good identity", Turned::MustRejoin, (0, 0, 0)),
        ("a copy", Turned::Copy(102.try_into().expect("a VMID")), (0, 0, 0)),
        ("nothing", Turned::Nothing, (0, 0, 0)),
    ];
    for (what, turned, expected) in cases {
        let mut effects = Effects::at(at(0));
        Enrolment::default().turned_away(guest("101"), turned, &world(WEB), &mut effects);
        let found = (
            effects.count(|effect| matches!(effect, Effect::EndSession(_))),
            effects.changes().iter().filter(|change| matches!(change, Change::MustRejoin(_))).count(),
            effects.count(|effect| matches!(effect, Effect::Save(_, When::Soon))),
        );
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn that_a_guest_must_rejoin_is_noted_once_and_over_with_its_link() {
    let mut world = world(WEB);
    let turn_away = |world: &World| {
        let mut effects = Effects::at(at(0));
        Enrolment::default().turned_away(guest("101"), Turned::Newer, world, &mut effects);
        effects
    };
    assert_eq!(must_rejoin_note(&world), None);
    turn_away(&world).apply(&mut world);
    assert!(must_rejoin_note(&world).is_some_and(|note| note.starts_with("1 guest (101) has an identity newer")));
    assert!(turn_away(&world).is_empty(), "it is known");
    world.apply(Change::MustRejoin(guest("102")), at(0));
    let note = must_rejoin_note(&world).expect("two");
    assert!(note.starts_with("2 guests (101 and others) have identities newer"), "{note}");
    link(&mut world, "101", Vec::new());
    assert!(must_rejoin_note(&world).is_some_and(|note| note.contains("(102)")));
    world.apply(Change::Forgotten(guest("102")), at(0));
    assert_eq!(must_rejoin_note(&world), None);
}

#[test]
fn a_placement_whose_guest_must_rejoin_says_how() {
    let blocked = trouble(Halt::Blocked, "no agent for its architecture");
    let cases = [
        ("it need not", false, false, None, None),
        ("by a person", true, false, None, Some((Halt::Blocked, "guest 101 has an identity newer"))),
        ("it is linked", true, true, None, None),
        ("something else keeps it out", true, false, Some(blocked), Some((Halt::Blocked, "no agent for its"))),
        (
            "something waits",
            true,
            false,
            Some(trouble(Halt::Waiting, "it is busy")),
            Some((Halt::Blocked, "guest 101 has an identity newer")),
        ),
    ];
    for (what, must, linked, enrolment, expected) in cases {
        let mut world = world(WEB);
        if must {
            world.apply(Change::MustRejoin(guest("101")), at(0));
        }
        world.apply(Change::Enrolment(guest("101"), enrolment), at(0));
        if linked {
            let mut reports = world.clone();
            link(&mut reports, "101", Vec::new());
            reports.apply(Change::MustRejoin(guest("101")), at(0));
            world = reports;
        }
        let manifest = world.manifest().clone();
        let plan = world.plan(&manifest, at(0));
        let found = Enrolment::default().must_rejoin(&world, &plan.placements[0]);
        let found = found.map(|trouble| (trouble.halt, trouble.attempt, trouble.cause));
        match (found, expected) {
            (None, None) => {}
            (Some((halt, attempt, cause)), Some((expected_halt, start))) => {
                assert_eq!((halt, attempt.as_str()), (expected_halt, "link guest 101 for web@101"), "{what}");
                assert!(cause.starts_with(start), "{what}: {cause}");
            }
            (found, expected) => panic!("{what}: {found:?}, not {expected:?}"),
        }
        assert!(!matches!(plan.placements[0].decision, Decision::Keep), "{what}");
    }
}

#[test]
fn agents_of_a_wrong_version_are_named() {
    let with = |versions: &[(&str, &str)]| {
        let mut world = world(WEB);
        for (number, version) in versions {
            let facts = GuestFacts { agent_version: (*version).into(), ..GuestFacts::default() };
            let hello = pinion_proto::message::Hello {
                facts,
                identity_generation: 1,
                link_count: 0,
                reports: Vec::new(),
                roots: Vec::new(),
            };
            world.linked(guest(number), hello, at(0));
        }
        world
    };
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(version_note(&with(&[("101", own), ("102", own)])), None);
    let note = version_note(&with(&[("102", "99.0.0"), ("101", "98.0.0"), ("103", own)])).expect("two are wrong");
    let (first, second) = (note.find("guest 101 (98.0.0)"), note.find("guest 102 (99.0.0)"));
    assert!(first.is_some() && first < second && !note.contains("103"), "{note}");
    let many: Vec<_> = (200..220).map(|number| (number.to_string(), "99.0.0")).collect();
    let many: Vec<_> = many.iter().map(|(number, version)| (number.as_str(), *version)).collect();
    let note = version_note(&with(&many)).expect("all are wrong");
    assert!(note.contains("guest 215 ") && !note.contains("guest 216 ") && note.contains(", and 4 more"), "{note}");
    let note = version_note(&with(&many[..16])).expect("all are wrong");
    assert!(note.contains("guest 215 ") && !note.contains(" more;"), "{note}");
    let mut away = with(&[("101", "99.0.0")]);
    away.apply(Change::LinkDown(guest("101")), at(0));
    assert_eq!(version_note(&away), None, "it is not linked");
}

#[test]
fn a_guest_is_served_when_all_that_it_holds_is_at_its_goal() {
    let served = || holds(1, leaf(1, at(0)));
    let at_stage = |stage| PlacementReport { stage, ..served() };
    let cases = [
        ("it holds nothing", Vec::new(), true),
        ("all is served", vec![served()], true),
        ("something is only installed", vec![at_stage(Stage::Installed)], false),
        ("its goal is less", vec![PlacementReport { goal: Stage::Reloaded, ..at_stage(Stage::Reloaded) }], true),
        ("it is retired", vec![PlacementReport { retired: true, ..at_stage(Stage::Installed) }], true),
        ("another one is missing", vec![served(), nothing("other")], false),
    ];
    for (what, reports, expected) in cases {
        let mut world = world(WEB);
        link(&mut world, "101", reports);
        assert_eq!(seen(&world, 101.try_into().expect("a VMID")).served, expected, "{what}");
    }
}

#[test]
fn what_keeps_a_guest_out_is_told_when_it_is_another_cause() {
    let mut world = world(WEB);
    let vmid = 101.try_into().expect("a VMID");
    let mut told = Vec::new();
    for cause in [Some("it is busy"), Some("it is busy"), Some("no disk"), None, Some("no disk")] {
        let mut effects = Effects::at(at(0));
        let trouble = cause.map(|cause| trouble(Halt::Waiting, cause));
        note(vec![Note::Trouble { guest: vmid, trouble }], &world, &mut effects);
        told.push(effects.texts().len());
        effects.apply(&mut world);
    }
    assert_eq!(told, [1, 0, 1, 0, 1]);
}
