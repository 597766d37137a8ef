//! Who is kept out, until when, and what becomes of what a compromised guest held.

use pinion_proto::bundle::Leaf;

use super::*;
use crate::{
    events::PlacementEvent,
    issuer::Issuers,
    reconcile::{
        effects::Effect,
        revocation::SignedLeaf,
        testing::{TWO, WEB, at, guest, holds, id, leaf, link, resources, revoking, root_user, world},
    },
    store::Area,
    world::SharedKey,
};

/// The issuer `embedded`, which can revoke or not.
fn issuers(can_revoke: bool) -> Issuers {
    if can_revoke { revoking("embedded", false) } else { Issuers::of([]) }
}

fn eviction(number: &str, compromised: bool) -> Eviction {
    Eviction { guest: guest(number), since: at(0), by: root_user(), compromised }
}

fn evictions(guests: &[&str]) -> Evictions {
    let guests = guests.iter().map(|number| eviction(number, false)).collect();
    Evictions { guests, ..Evictions::default() }
}

#[test]
fn nobody_is_brought_in_while_it_is_not_known_who_was_evicted() {
    let known = evictions(&["1001", "1002"]);
    assert!(!known.admits(guest("1001")) && known.admits(guest("1003")) && known.trouble().is_none());

    let mut unread = Evictions { unread: Some("it is damaged".into()), ..evictions(&["1004"]) };
    assert!(!unread.admits(guest("1001")) && !unread.admits(guest("1003")), "whoever it is");
    assert!(unread.trouble().is_some_and(|trouble| trouble.cause.contains("it is damaged")));
    unread.let_in.insert(guest("1002"));
    unread.merge(known);
    assert!(unread.trouble().is_none() && unread.has(guest("1001")) && unread.has(guest("1004")));
    assert!(unread.admits(guest("1002")), "a person let it in meanwhile");
}

#[test]
fn who_is_evicted_is_known_when_the_local_list_is_lost_and_when_the_shared_state_is_restored() {
    let (_directory, resources) = resources(issuers(false));
    let store = &resources.store;
    let is_evicted = |number: &str| {
        let mut kept = Evictions::restore(store, &resources.events, at(0));
        kept.copy(store);
        kept.has(guest(number))
    };
    assert!(!is_evicted("101"), "nobody was ever evicted");
    let mut list = evictions(&["101"]);
    assert_eq!(list.write(store), None);
    store.remove(Area::Local, copies::DOCUMENT).expect("lost");
    assert!(is_evicted("101"), "the copy says so");

    // The shared state of before is restored: what the local list says is later.
    let before: Evictions = store.read(Area::Shared, copies::DOCUMENT).expect("read").expect("a copy");
    let mut list = evictions(&["102"]);
    assert_eq!(list.write(store), None);
    store.write(Area::Shared, copies::DOCUMENT, &before).expect("restored");
    assert!(is_evicted("102") && !is_evicted("101"));
    store.remove(Area::Local, copies::DOCUMENT).expect("lost");
    assert!(is_evicted("102") && !is_evicted("101"), "the copy was made anew");

    // Nobody is brought in while neither can be read.
    store.remove(Area::Local, copies::DOCUMENT).expect("lost");
    store.replace(Area::Shared, copies::DOCUMENT, &"damaged").expect("damaged");
    assert!(!Evictions::restore(store, &resources.events, at(0)).admits(guest("103")));
}

/// Evicts guest 101 of a world, with an issuer that can revoke or not: what is said, and what is to be done.
fn evict(world: &World, compromised: bool, can_revoke: bool) -> (Evictions, Vec<String>, Effects) {
    let (_directory, resources) = resources(issuers(can_revoke));
    let (mut evictions, mut revocations) = (Evictions::default(), Revocations::default());
    let mut effects = Effects::at(at(0));
    let order = eviction("101", compromised);
    let lines = evictions.evict(order, world, &mut revocations, &resources, &mut effects);
    let kept: Option<Evictions> = resources.store.read(Area::Local, copies::DOCUMENT).expect("it can be read");
    assert_eq!(kept.map(|kept| kept.guests), Some(evictions.guests.clone()), "it is written before it is answered");
    (evictions, lines, effects)
}

#[test]
fn what_an_evicted_guest_brings_with_it_ends() {
    let (evictions, _, effects) = evict(&world(WEB), false, false);
    assert!(evictions.has(guest("101")) && !evictions.has(guest("102")));
    let cases = [
        (
            "what brings it in",
            effects
                .count(|effect| matches!(effect, Effect::StopEnrolment(vmid, _) if Guest::Vmid(*vmid) == guest("101"))),
        ),
        ("what is known of it", effects.count(|effect| matches!(effect, Effect::Forget(one) if *one == guest("101")))),
        ("what keeps it from being brought in", effects.changes().len()),
    ];
    for (what, count) in cases {
        assert_eq!(count, 1, "{what}");
    }
}

#[test]
fn where_files_from_before_pinion_are_kept_is_said() {
    let original = |kept: Option<&str>| pinion_proto::report::Original {
        path: "/etc/nginx/ssl/web.key".parse().expect("a path"),
        subject: String::new(),
        issuer: String::new(),
        not_after: None,
        kept: kept.map(|kept| kept.parse().expect("a path")),
        key: None,
    };
    let copy = "/var/lib/pinion-agent/replaced/web/etc/nginx/ssl/web.key";
    for (kept, is_said) in [(Some(copy), true), (None, false)] {
        let mut world = world(WEB);
        let report = holds(1, leaf(0x11, at(-60)));
        link(
            &mut world,
            "101",
            vec![pinion_proto::report::PlacementReport { originals: vec![original(kept)], ..report }],
        );
        let (_, lines, _) = evict(&world, false, true);
        let said = lines.iter().any(|line| line.contains(copy) && line.contains("remove them there"));
        assert_eq!(said, is_said, "{lines:?}");
    }
}

#[test]
fn what_is_said_is_what_is_done_and_what_cannot_be() {
    let held = || {
        let mut world = world(WEB);
        link(&mut world, "101", vec![holds(1, leaf(0x11, at(-60)))]);
        world
    };
    let expired = || {
        let mut world = world(WEB);
        link(&mut world, "101", vec![holds(1, leaf(0x11, at(-40 * 86_400)))]);
        world
    };
    let cases = [
        ("not compromised", held(), false, true, "if someone else may have its keys"),
        (
            "an issuer without revocation",
            held(),
            true,
            false,
            "cannot be revoked, because issuer embedded has no revocation",
        ),
        (
            "nobody knows that it was signed",
            held(),
            true,
            true,
            "has no record that it was signed for this guest, and does not revoke it",
        ),
        ("it has expired", expired(), true, true, "pinion guest enroll"),
    ];
    for (what, world, compromised, can_revoke, expected) in cases {
        let (_, lines, effects) = evict(&world, compromised, can_revoke);
        assert!(lines.iter().any(|line| line.contains(expected)), "{what}: {lines:?}");
        assert_eq!(effects.texts().len(), lines.len(), "{what}: each line is an event");
        assert!(effects.texts().iter().all(|text| text.contains("requested by root")), "{what}");
    }
}

#[test]
fn a_shared_key_that_a_compromised_guest_had_is_given_up_everywhere_else() {
    let shared = TWO.replace(r#""name": "web","#, r#""name": "web", "shared": true,"#);
    for (what, manifest, compromised, expected) in [
        ("its own keys", TWO, true, 0),
        ("a shared key", &shared, true, 1),
        ("a shared key, not compromised", &shared, false, 0),
    ] {
        let mut world = world(manifest);
        let key = SharedKey {
            fingerprint: pinion_proto::bundle::Fingerprint::of(b"a key"),
            algorithm: pinion_proto::key::KeyAlgorithm::EcdsaP256,
        };
        world.apply(Change::SharedKey(id("web@101").certificate, Some(key)), at(0));
        link(&mut world, "102", vec![holds(1, leaf(0x21, at(-60)))]);
        let (evictions, _, effects) = evict(&world, compromised, true);
        let given_up = Change::SharedKey(id("web@101").certificate, None);
        assert_eq!(effects.changes().iter().filter(|change| ***change == given_up).count(), expected, "{what}");
        let renewed = |name| effects.changes().iter().filter(|change| ***change == Change::Renewal(id(name))).count();
        assert_eq!([renewed("web@101"), renewed("web@102")], [0, expected], "{what}");
        assert!(evictions.rekey.is_empty(), "{what}: it is done");
    }
}

#[test]
fn an_evicted_guest_is_kept_out_until_a_person_lets_it_in() {
    let (_directory, resources) = resources(issuers(false));
    let mut evictions = evictions(&["101"]);
    let keeps_out = |evictions: &Evictions, number: &str| {
        let mut effects = Effects::at(at(0));
        evictions.keeps_out(guest(number), &resources.identities, &mut effects) && !effects.is_empty()
    };
    assert_eq!([keeps_out(&evictions, "101"), keeps_out(&evictions, "102")], [true, false]);
    for (number, events) in [("102", 0), ("101", 1), ("101", 0)] {
        let mut effects = Effects::at(at(0));
        evictions.let_in(guest(number), &resources.store, &mut effects);
        assert_eq!(effects.texts().len(), events, "{number}");
    }
    assert!(!keeps_out(&evictions, "101"));
}

#[test]
fn what_could_not_be_read_is_read_as_soon_as_it_can_be() {
    let (_directory, resources) = resources(issuers(false));
    let path = resources.store.file(Area::Local, copies::DOCUMENT).expect("a path");
    std::fs::write(&path, "not JSON").expect("written");
    let mut evictions = Evictions::restore(&resources.store, &resources.events, at(0));
    assert!(!evictions.admits(guest("102")), "it is not known who was evicted");
    let world = world(WEB);
    let step = |evictions: &mut Evictions| {
        let mut effects = Effects::at(at(0));
        evictions.step(&world, &mut Revocations::default(), &resources, &mut effects);
        effects.texts().into_iter().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    assert!(step(&mut evictions).is_empty(), "it still cannot be read");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(step(&mut evictions), ["The list of evicted guests can be read again"]);
    assert!(evictions.admits(guest("102")));
    assert!(step(&mut evictions).is_empty());
}

/// What is said of a guest that is evicted as compromised, which holds this; its issuer revokes.
fn compromised(held: Leaf, before: impl FnOnce(&Resources, &mut Revocations)) -> Vec<String> {
    let mut world = world(WEB);
    link(&mut world, "101", vec![holds(1, held)]);
    let (_directory, resources) = resources(issuers(true));
    let (mut evictions, mut revocations) = (Evictions::default(), Revocations::default());
    before(&resources, &mut revocations);
    evictions.evict(eviction("101", true), &world, &mut revocations, &resources, &mut Effects::at(at(0)))
}

/// Records that this was signed for `web@101`.
fn record(resources: &Resources, leaf: &Leaf) {
    let issued = PlacementEvent::Issued {
        issuer: "embedded".parse().expect("a name"),
        generation: 1,
        serial: leaf.serial().to_owned(),
        not_after: leaf.not_after(),
        shortened_to: None,
    };
    resources.events.record(What::Placement(id("web@101"), issued).at(at(-60)));
}

#[test]
fn what_was_signed_for_a_compromised_guest_is_revoked_and_nothing_else() {
    let (held, other) = (leaf(0x11, at(-60)), leaf(0x12, at(-60)));
    let (revoked, unknown) = ("is being revoked at embedded", "has no record that it was signed");
    let note = |revocations: &mut Revocations, resources: &Resources| {
        let (id, issuer) = (id("web@101"), "embedded".parse().expect("a name"));
        let signed = SignedLeaf { id: &id, generation: 1, issuer: &issuer, leaf: &held };
        revocations.note_signed(&signed, &resources.issuers, &mut Effects::at(at(0)));
    };
    let cases = [
        ("the events say so", compromised(held.clone(), |resources, _| record(resources, &held)), Some(revoked)),
        ("they say it of another", compromised(held.clone(), |resources, _| record(resources, &other)), Some(unknown)),
        ("it is known", compromised(held.clone(), |resources, known| note(known, resources)), Some(revoked)),
        ("in its last second", compromised(leaf(0x11, at(-30 * 86_400)), |_, _| {}), Some(unknown)),
        ("it has expired", compromised(leaf(0x11, at(-30 * 86_400 - 1)), |_, _| {}), None),
    ];
    for (what, lines, expected) in cases {
        let found: Vec<_> =
            [revoked, unknown].into_iter().filter(|part| lines.iter().any(|line| line.contains(part))).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{what}: {lines:?}");
        assert!(!lines.iter().any(|line| line.contains("a new key waits")), "{what}: nothing is shared");
    }
}

#[test]
fn a_shared_key_that_a_guest_holds_alone_is_given_up_too() {
    let shared = WEB.replace(r#""name": "web","#, r#""name": "web", "shared": true,"#);
    for (what, guest, expected) in [("it is placed there", "101", 1), ("it held it", "103", 1), ("neither", "104", 0)] {
        let mut world = world(&shared);
        link(&mut world, "103", vec![holds(1, leaf(0x21, at(-60)))]);
        let (_directory, resources) = resources(issuers(true));
        let mut effects = Effects::at(at(0));
        Evictions::default().evict(
            eviction(guest, true),
            &world,
            &mut Revocations::default(),
            &resources,
            &mut effects,
        );
        let given_up = Change::SharedKey(id("web@101").certificate, None);
        assert_eq!(effects.changes().iter().filter(|change| ***change == given_up).count(), expected, "{what}");
    }
}

#[test]
fn a_key_that_could_not_be_given_up_is_as_soon_as_it_can_be() {
    let (_directory, resources) = resources(issuers(true));
    let mut evictions = evictions(&["101"]);
    evictions.rekey.insert(id("web@101").certificate);
    let mut effects = Effects::at(at(0));
    evictions.step(&world(WEB), &mut Revocations::default(), &resources, &mut effects);
    assert!(effects.changes().contains(&&Change::SharedKey(id("web@101").certificate, None)));
    assert!(evictions.rekey.is_empty());
}

#[test]
fn each_evicted_guest_is_known_once() {
    let (_directory, resources) = resources(issuers(false));
    let mut evictions = Evictions::default();
    for number in ["101", "102", "101"] {
        let mut effects = Effects::at(at(0));
        let (world, mut revocations) = (world(WEB), Revocations::default());
        evictions.evict(eviction(number, false), &world, &mut revocations, &resources, &mut effects);
    }
    let guests: Vec<_> = evictions.guests.iter().map(|eviction| eviction.guest.to_string()).collect();
    assert_eq!(guests, ["102", "101"]);
}
