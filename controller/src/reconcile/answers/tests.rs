//! What a person reads of a placement, and which placements a name means.

use pinion_proto::{
    report::{PlacementReport, Progress},
    stage::{Halt, Stage, Trouble},
};

use super::*;
use crate::{
    admin::protocol::Selection,
    reconcile::{
        chosen::Chosen,
        departures::listed::ListedGuests,
        parts::Parts,
        testing::{GuestKey, TWO, WEB, at, guest, holds, id, incoming, leaf, link, nothing, parts, trouble, world},
    },
};

/// What is shown of `web@101`, which reports this, to somebody who waits for a stage.
fn now(report: Option<PlacementReport>, parts: &Parts) -> (String, Option<Trouble>) {
    let mut world = world(WEB);
    if let Some(report) = report {
        let manifest = world.manifest().clone();
        let revision = world.plan(&manifest, at(0)).placements[0].revision();
        link(&mut world, "101", vec![PlacementReport { revision, ..report }]);
    }
    let manifest = world.manifest().clone();
    let plan = world.plan(&manifest, at(0));
    let line = View { world: &world, parts, now: at(0) }.progress(&plan.placements[0], Stage::Served, None, None);
    (line.now, line.trouble)
}

#[test]
fn each_step_on_the_way_has_its_word() {
    let key = GuestKey::new();
    let requested = || Some(incoming(nothing("web"), 1, key.request()));
    let mut under_way = parts();
    let (manifest, mut effects) = (world(WEB), crate::reconcile::effects::Effects::at(at(0)));
    let mut linked = manifest.clone();
    link(&mut linked, "101", vec![incoming(nothing("web"), 1, key.request())]);
    let (_directory, resources) = crate::reconcile::testing::resources(crate::issuer::Issuers::of([]));
    let plan = linked.plan(manifest.manifest(), at(0));
    let outdated = under_way.signing.step(&linked, &plan, &mut under_way.deliveries, &resources.store, &mut effects);
    assert!(!outdated);
    let mut ready = parts();
    ready.deliveries =
        crate::reconcile::delivery::Deliveries::restore([(id("web@101"), key.undelivered(1, at(-60)))].into());
    let cases = [
        ("not linked", None, parts(), "held up"),
        ("nothing reported", Some(nothing("web")), parts(), "waiting for the guest's request"),
        ("requested", requested(), parts(), "to be signed"),
        ("asked for", requested(), under_way, "being signed"),
        ("signed", requested(), ready, "being delivered"),
        ("delivered", Some(incoming(nothing("web"), 1, Progress::Delivered)), parts(), "being installed"),
        ("served", Some(holds(1, leaf(1, at(-60)))), parts(), "reached"),
        (
            "installed",
            Some(PlacementReport { stage: Stage::Installed, ..holds(1, leaf(1, at(-60))) }),
            parts(),
            "being looked at",
        ),
    ];
    for (what, report, parts, expected) in cases {
        assert_eq!(now(report, &parts).0, expected, "{what}");
    }
}

#[test]
fn of_two_troubles_the_one_that_needs_a_person_is_shown() {
    let with = |trouble| Some(PlacementReport { stage: Stage::Installed, trouble, ..holds(1, leaf(1, at(-60))) });
    let cases = [
        ("none", with(None), None),
        ("the guest's", with(Some(trouble(Halt::Blocked, "nginx does not start"))), Some("nginx does not start")),
        ("a guest that waits", with(Some(trouble(Halt::Waiting, "it is busy"))), Some("it is busy")),
    ];
    for (what, report, expected) in cases {
        let found = now(report, &parts()).1.map(|trouble| trouble.cause);
        assert_eq!(found.as_deref(), expected, "{what}");
    }
    let planned = trouble(Halt::Waiting, "the CA is away");
    for (what, here, there, expected) in [
        ("the controller's first", Halt::Waiting, Halt::Waiting, "the CA is away"),
        ("unless only the guest's needs a person", Halt::Waiting, Halt::Blocked, "nginx does not start"),
        ("both need a person", Halt::Blocked, Halt::Blocked, "the CA is away"),
    ] {
        let world = world(WEB);
        let manifest = world.manifest().clone();
        let mut plan = world.plan(&manifest, at(0));
        plan.placements[0].decision = crate::planner::Decision::Wait(Trouble { halt: here, ..planned.clone() });
        let report = PlacementReport { trouble: Some(trouble(there, "nginx does not start")), ..nothing("web") };
        let found = health::trouble(&plan.placements[0], Some(&report)).map(|trouble| trouble.cause.as_str());
        assert_eq!(found, Some(expected), "{what}");
    }
}

#[test]
fn a_selection_means_what_it_names() {
    let world = world(TWO);
    let labels = || ["web@101", "web@102"].into_iter().map(|label| (label.to_owned(), "web"));
    let cases: [(&str, &[&str], Option<&str>, [bool; 2], Option<&str>); 6] = [
        ("nothing in particular", &[], None, [true, true], None),
        ("a certificate", &["web"], None, [true, true], None),
        ("a placement", &["web@102"], None, [false, true], None),
        ("a guest", &[], Some("101"), [true, false], None),
        ("a certificate in a guest", &["web"], Some("102"), [false, true], None),
        ("nobody's name", &["web", "other"], None, [true, true], Some("other")),
    ];
    for (what, names, number, expected, unknown) in cases {
        let names_none = names.is_empty();
        let names = names.iter().map(ToString::to_string).collect();
        let chosen = Chosen::new(&world, &Selection { names, guest: number.map(Into::into), more_guests: Vec::new() })
            .expect(what);
        let means = |number: &str| chosen.means(&format!("web@{number}"), "web", Some(guest(number)));
        assert_eq!(([means("101"), means("102")], chosen.unknown(labels())), (expected, unknown), "{what}");
        assert_eq!(chosen.guest(), number.map(guest), "{what}");
        assert_eq!([chosen.has_names(), chosen.is_guest(guest("101"))], [!names_none, number == Some("101")], "{what}");
    }
    for (what, text) in [("no name", "a b"), ("a name that nobody has", "nobody")] {
        let selection = Selection { names: Vec::new(), guest: Some(text.into()), more_guests: Vec::new() };
        assert!(Chosen::new(&world, &selection).is_err(), "{what}");
    }
}

#[test]
fn what_a_destroyed_or_evicted_guest_held_says_so() {
    let mut world = world(WEB);
    link(&mut world, "101", vec![holds(1, leaf(1, at(-60)))]);
    let manifest = world.manifest().clone();
    let plan = world.plan(&manifest, at(0));
    let shown = |parts: &Parts| placement::planned(View { world: &world, parts, now: at(0) }, &plan.placements[0]);
    assert!(!shown(&parts()).retired);
    let mut destroyed = parts();
    let listed: ListedGuests = serde_json::from_str(r#"{"listed": [], "destroyed": [101]}"#).expect("listed guests");
    destroyed.departures = listed.into();
    let status = shown(&destroyed);
    assert!(status.retired && status.renew_at.is_none());
    assert_eq!(status.trouble.map(|trouble| trouble.cause).as_deref(), Some("guest 101 was destroyed"));
    let (line, _) = now(Some(holds(1, leaf(1, at(-60)))), &destroyed);
    assert_ne!(line, "reached", "what it served is not served any more");
    let mut evicted = parts();
    evicted.evictions = serde_json::from_str(
        r#"{"guests": [{"guest": "101", "since": "2027-01-15T08:00:00Z", "by": {"uid": 0, "name": "root"}, "compromised": true}]}"#,
    )
    .expect("evictions");
    let trouble = shown(&evicted).trouble.expect("a trouble");
    assert!(trouble.cause.starts_with("guest 101 was evicted as compromised at"), "{trouble}");
}

#[test]
fn what_is_wrong_with_the_host_is_in_the_status_and_nothing_else_is() {
    let (_directory, resources) = crate::reconcile::testing::resources(crate::issuer::Issuers::of([]));
    let mut world = world(WEB);
    let status = |world: &crate::world::World| {
        let manifest = world.manifest().clone();
        let view = View { world, parts: &parts(), now: at(0) };
        match status(view, &resources, &Selection::default(), &world.plan(&manifest, at(0))) {
            crate::admin::protocol::Answer::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    };
    let fine = status(&world);
    assert_eq!((fine.notes, fine.troubles), (vec![], vec![]));
    assert_eq!(
        fine.guests.iter().map(|guest| (guest.guest, guest.linked)).collect::<Vec<_>>(),
        [(guest("101"), false)]
    );
    world.apply(crate::world::Change::SharedState(Some("the disk is full".into())), at(0));
    let troubles = status(&world).troubles;
    assert!(troubles.len() == 1 && troubles[0].cause.contains("the disk is full"), "{troubles:?}");
}
