//! Who is kept out, until when, and what becomes of what a compromised guest held.

use std::num::NonZeroU16;

use super::*;
use crate::{
    issuer::{
        self, BoxFuture, Issuer, IssuerCheck, IssuerError, Issuers, Revocation, Roots, Serial, Signed, SigningRequest,
    },
    reconcile::{
        effects::Effect,
        testing::{TWO, WEB, at, guest, holds, id, leaf, link, resources, root_user, world},
    },
    world::SharedKey,
};

/// An issuer that can revoke; it is never called.
#[derive(Debug)]
struct Revoking;

fn not_called<T>() -> BoxFuture<'static, Result<T, IssuerError>>
where
    T: Send + 'static,
{
    Box::pin(async { Err(IssuerError::Unavailable { message: "it is not called".into() }) })
}

impl Issuer for Revoking {
    fn sign<'a>(&'a self, _: &'a SigningRequest) -> BoxFuture<'a, Result<Signed, IssuerError>> {
        not_called()
    }

    fn roots(&self) -> Option<&dyn Roots> {
        None
    }

    fn check(&self) -> BoxFuture<'_, Result<IssuerCheck, IssuerError>> {
        not_called()
    }

    fn revocation(&self) -> Option<&dyn issuer::Revocations> {
        Some(self)
    }
}

impl issuer::Revocations for Revoking {
    fn of_replaced(&self) -> bool {
        false
    }

    fn revoke<'a>(&'a self, _: &'a Serial, _: Revocation) -> BoxFuture<'a, Result<(), IssuerError>> {
        not_called()
    }
}

/// The issuer `embedded`, which can revoke or not.
fn issuers(can_revoke: bool) -> Issuers {
    let issuer: Box<dyn Issuer> = Box::new(Revoking);
    let named = |issuer| ("embedded".parse().expect("a name"), issuer, NonZeroU16::MIN);
    Issuers::of(can_revoke.then(|| named(issuer)))
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

/// Evicts guest 101 of a world, with an issuer that can revoke or not: what is said, and what is to be done.
fn evict(world: &World, compromised: bool, can_revoke: bool) -> (Evictions, Vec<String>, Effects) {
    let (_directory, resources) = resources(issuers(can_revoke));
    let (mut evictions, mut revocations) = (Evictions::default(), Revocations::default());
    let mut effects = Effects::at(at(0));
    let order = eviction("101", compromised);
    let lines = evictions.evict(order, world, &mut revocations, &resources, &mut effects);
    let kept: Option<Evictions> = resources.store.read(Area::Local, DOCUMENT).expect("it can be read");
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
        ("it has expired", expired(), true, true, "stay there"),
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
    let path = resources.store.file(Area::Local, DOCUMENT).expect("a path");
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
