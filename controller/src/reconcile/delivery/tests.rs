//! What is sent to whom, how often, and when it is forgotten.

use pinion_proto::report::PlacementReport;

use super::*;
use crate::{
    inventory::{GuestInfo, Inventory},
    reconcile::{
        effects::Effect,
        testing::{GuestKey, TWO, WEB, at, guest, holds, id, incoming, leaf, link, nothing, world},
    },
    world::Change,
};

const DAY: i64 = 86_400;

fn step(deliveries: &mut Deliveries, world: &World, now: Timestamp) -> Effects {
    let (manifest, mut effects) = (world.manifest().clone(), Effects::at(now));
    deliveries.step(world, &world.plan(&manifest, now), &mut effects);
    effects
}

fn sent(effects: &Effects) -> usize {
    effects.count(|effect| matches!(effect, Effect::Send(_, Outgoing::Delivery(_))))
}

fn discarded(effects: &Effects) -> usize {
    effects.count(|effect| matches!(effect, Effect::Discard(..)))
}

/// A certificate of generation 1 on its way to `web@101`, which reports this, or nothing at all.
fn on_its_way(key: &GuestKey, report: Option<PlacementReport>) -> (World, Deliveries) {
    let mut world = world(WEB);
    if let Some(report) = report {
        link(&mut world, "101", vec![report]);
    }
    let ready = [(id("web@101"), key.undelivered(1, at(-60)))].into();
    (world, Deliveries::restore(ready))
}

#[test]
fn a_certificate_goes_to_the_guest_that_shows_the_request_for_it() {
    let (key, other) = (GuestKey::new(), GuestKey::new());
    let requested = |key: &GuestKey, generation| Some(incoming(nothing("web"), generation, key.request()));
    let cases = [
        ("it requests it", requested(&key, 1), 1),
        ("with another key", requested(&other, 1), 0),
        ("in another generation", requested(&key, 2), 0),
        ("it has it", Some(incoming(nothing("web"), 1, pinion_proto::report::Progress::Delivered)), 0),
        ("it requests nothing", Some(nothing("web")), 0),
        ("it is not linked", None, 0),
    ];
    for (what, report, expected) in cases {
        let (world, mut deliveries) = on_its_way(&key, report);
        assert_eq!(sent(&step(&mut deliveries, &world, at(0))), expected, "{what}");
        assert!(deliveries.is_ready(&id("web@101")), "{what}: it is kept");
    }
}

#[test]
fn a_guest_that_is_to_be_left_alone_is_sent_nothing() {
    let key = GuestKey::new();
    let backed_up = GuestInfo { lock: Some("backup".into()), running: Some(true), ..GuestInfo::default() };
    for (what, info, expected) in [("it runs", GuestInfo::default(), 1), ("a backup is made of it", backed_up, 0)] {
        let (mut world, mut deliveries) = on_its_way(&key, Some(incoming(nothing("web"), 1, key.request())));
        let guests = [(101.try_into().expect("a VMID"), info)].into();
        world.set_inventory(Inventory::complete(guests, &Default::default()).into());
        assert_eq!(sent(&step(&mut deliveries, &world, at(0))), expected, "{what}");
    }
}

#[test]
fn it_is_sent_once_a_link() {
    let key = GuestKey::new();
    let report = || incoming(nothing("web"), 1, key.request());
    let (mut world, mut deliveries) = on_its_way(&key, Some(report()));
    assert_eq!(sent(&step(&mut deliveries, &world, at(0))), 1);
    assert_eq!(sent(&step(&mut deliveries, &world, at(0))), 1, "the queue was full");
    world.sent(&id("web@101"), 1, at(0));
    assert_eq!(sent(&step(&mut deliveries, &world, at(0))), 0, "it is on its way");
    world.apply(Change::LinkDown(guest("101")), at(0));
    link(&mut world, "101", vec![report()]);
    assert_eq!(sent(&step(&mut deliveries, &world, at(0))), 1, "the link broke");
}

#[test]
fn it_is_forgotten_when_its_guest_has_it_or_wants_another() {
    let key = GuestKey::new();
    let cases = [
        ("it still requests it", incoming(nothing("web"), 1, key.request()), true),
        ("it holds it", holds(1, leaf(7, at(0))), false),
        ("it requests another", incoming(nothing("web"), 2, key.request()), false),
        ("it knows nothing of it", nothing("web"), false),
    ];
    for (what, report, stays) in cases {
        let (world, mut deliveries) = on_its_way(&key, Some(report));
        let mut effects = Effects::at(at(0));
        deliveries.settle(guest("102"), &world, &mut effects);
        assert!(effects.is_empty(), "{what}: another guest's report says nothing of it");
        deliveries.settle(guest("101"), &world, &mut effects);
        assert_eq!((deliveries.is_ready(&id("web@101")), discarded(&effects)), (stays, usize::from(!stays)), "{what}");
    }
}

#[test]
fn what_has_expired_is_kept_for_linked_guests_alone() {
    let key = GuestKey::new();
    for (what, linked, days, stays) in [
        ("good, linked", true, 29, true),
        ("good, away", false, 29, true),
        ("expired, linked", true, 31, true),
        ("in its last second, away", false, 30, true),
        ("expired, away", false, 31, false),
    ] {
        let report = incoming(nothing("web"), 1, key.request());
        let (world, mut deliveries) = on_its_way(&key, linked.then_some(report));
        // It is valid for 30 days from a minute before.
        step(&mut deliveries, &world, at(days * DAY - 60));
        assert_eq!(deliveries.is_ready(&id("web@101")), stays, "{what}");
    }
}

#[test]
fn what_was_signed_by_a_clock_that_moved_back_is_of_no_use() {
    let key = GuestKey::new();
    let world = world(WEB);
    let cases = [
        ("in time", -60, 0, true),
        ("early, asked by this clock", 3600, 0, true),
        ("early, asked by the clock before", 3600, 3600, false),
        ("in time, asked by the clock before", -60, 3600, true),
        ("as early as clocks may differ", 300, 3600, true),
        ("early, asked by a clock that may differ", 3600, 300, true),
    ];
    for (what, begins, asked, stays) in cases {
        let (mut deliveries, mut effects) = (Deliveries::default(), Effects::at(at(0)));
        deliveries.insert(id("web@101"), key.undelivered(9, at(0)));
        let mut linked = world.clone();
        link(&mut linked, "101", vec![incoming(nothing("web"), 1, key.request())]);
        deliveries.add(id("web@101"), key.undelivered(1, at(begins)), at(asked), &linked, &mut effects);
        assert_eq!(deliveries.is_ready(&id("web@101")), stays, "{what}");
    }
    for (begins, stays) in [(-60, true), (299, true), (301, false)] {
        let ready = [(id("web@101"), key.undelivered(1, at(begins)))].into();
        let mut deliveries = Deliveries::restore(ready);
        deliveries.forget_early(&mut Effects::at(at(0)));
        assert_eq!(deliveries.is_ready(&id("web@101")), stays, "{begins}");
    }
}

#[test]
fn a_forgotten_guest_takes_its_own_certificates_with_it() {
    let key = GuestKey::new();
    let ready = ["web@101", "web@102"].map(|name| (id(name), key.undelivered(1, at(0))));
    let (mut deliveries, mut effects) = (Deliveries::restore(ready.into()), Effects::at(at(0)));
    deliveries.forget_guest(guest("101"), &mut effects);
    assert_eq!((deliveries.iter().count(), discarded(&effects)), (1, 1));
    assert!(deliveries.is_ready(&id("web@102")));
    assert_eq!(deliveries.count, 1, "there is room for as many as before");
}

#[test]
fn there_is_room_for_so_many() {
    let deliveries = Deliveries::default();
    for (under_way, room) in [(0, true), (MAX_KEPT - 1, true), (MAX_KEPT, false)] {
        assert_eq!(deliveries.has_room(under_way), room);
    }
}

#[test]
fn nothing_is_signed_twice_for_one_request() {
    let key = GuestKey::new();
    let mut world = world(TWO);
    link(&mut world, "101", vec![incoming(nothing("web"), 1, key.request())]);
    let manifest = world.manifest().clone();
    let plan = world.plan(&manifest, at(0));
    let ready = [(id("web@101"), key.undelivered(1, at(-60)))].into();
    let deliveries = Deliveries::restore(ready);
    let has = |name: &str, index: usize| deliveries.has(&id(name), &plan.placements[index], &world);
    assert_eq!([has("web@101", 0), has("web@102", 1)], [true, false]);
}

#[test]
fn what_the_manifest_asks_for_otherwise_by_now_is_not_there() {
    let key = GuestKey::new();
    let with = |more: &str| WEB.replace(r#""common_name": "web.example","#, more);
    let cases = [
        ("the same", WEB.to_owned(), true),
        ("another name", with(r#""common_name": "other.example","#), false),
        ("one name more", with(r#""common_name": "web.example", "sans": ["b.example"],"#), false),
        ("another kind of key", with(r#""common_name": "web.example", "key": {"algorithm": "ed25519"},"#), false),
        ("another issuer", with(r#""common_name": "web.example", "issuer": "step-ca","#), false),
        ("a shared key", with(r#""common_name": "web.example", "shared": true,"#), false),
        ("roots", with(r#""trust": true,"#).replace("nginx", "ca-certificates"), false),
    ];
    for (what, manifest, fits) in cases {
        let world = world(&manifest);
        let manifest = world.manifest().clone();
        let plan = world.plan(&manifest, at(0));
        assert_eq!(key.undelivered(1, at(-60)).fits(&plan.placements[0]), fits, "{what}");
    }
    // What was ordered is compared, not what is in the certificate.
    let ordered = Undelivered { common_name: "b.example".parse().expect("a name"), ..key.undelivered(1, at(-60)) };
    let world = world(WEB);
    let manifest = world.manifest().clone();
    assert!(!ordered.fits(&world.plan(&manifest, at(0)).placements[0]), "another common name");
}
