//! Which certificates an issuer is asked for, and what becomes of its answers.

use pinion_proto::{report::PlacementReport, stage::Halt};

use super::*;
use crate::reconcile::{
    effects::Effect,
    testing::{GuestKey, WEB, at, holds, id, incoming, leaf, link, nothing, resources, world},
};

const SHARED: &str = r#"{"version": 1, "certificates": [{"name": "web", "common_name": "web.example", "shared": true,
    "placements": [{"guest": 101, "recipe": "nginx"}]}]}"#;

/// A world in which guest 101 requests generation 1.
fn requested(key: &GuestKey) -> World {
    let mut world = world(WEB);
    link(&mut world, "101", vec![incoming(nothing("web"), 1, key.request())]);
    world
}

struct Fixture {
    signing: Signing,
    deliveries: Deliveries,
    store: std::sync::Arc<Store>,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let (directory, resources) = resources(crate::issuer::Issuers::of([]));
        let (signing, deliveries) = (Signing::default(), Deliveries::default());
        Self { signing, deliveries, store: resources.store, _directory: directory }
    }

    /// One pass; whether there is to be another plan.
    fn step(&mut self, world: &World, now: Timestamp) -> (Effects, bool) {
        let (manifest, mut effects) = (world.manifest().clone(), Effects::at(now));
        let plan = world.plan(&manifest, now);
        let outdated = self.signing.step(world, &plan, &mut self.deliveries, &self.store, &mut effects);
        (effects, outdated)
    }

    fn answer(&mut self, world: &World, asked: Timestamp, result: Result<Fresh, IssuerError>) -> (Effects, bool) {
        let issuer = "embedded".parse().expect("a name");
        let mut effects = Effects::at(at(0));
        let outcome =
            SigningOutcome { id: id("web@101"), generation: 1, issuer, asked, result, took: Default::default() };
        let signed = self.signing.take(outcome, world, &mut effects).is_some();
        (effects, signed)
    }
}

fn asked(effects: &Effects) -> usize {
    effects.count(|effect| matches!(effect, Effect::Sign(_)))
}

#[test]
fn an_issuer_is_asked_once_for_what_a_guest_requests() {
    let key = GuestKey::new();
    let mut fixture = Fixture::new();
    let cases = [
        ("nothing is reported", world(WEB), 0),
        ("it is requested", requested(&key), 1),
        ("it is being signed", requested(&key), 0),
    ];
    for (what, world, expected) in cases {
        let (effects, outdated) = fixture.step(&world, at(0));
        assert_eq!((asked(&effects), outdated), (expected, false), "{what}");
    }
    assert!(fixture.signing.is_busy() && fixture.signing.is_under_way(&id("web@101")));
    fixture.signing.under_way.clear();
    fixture.deliveries = Deliveries::restore([(id("web@101"), key.undelivered(1, at(-60)))].into());
    assert_eq!(asked(&fixture.step(&requested(&key), at(0)).0), 0, "it is there");
    fixture.deliveries = Deliveries::restore([(id("web@101"), GuestKey::new().undelivered(1, at(-60)))].into());
    let (effects, _) = fixture.step(&requested(&key), at(0));
    assert_eq!(asked(&effects), 1, "what is there is for another key");
    assert_eq!(effects.count(|effect| matches!(effect, Effect::Discard(..))), 1, "and is forgotten");
}

#[test]
fn names_and_duration_are_the_manifests() {
    let (effects, _) = Fixture::new().step(&requested(&GuestKey::new()), at(0));
    let call = effects.into_iter().find_map(|effect| match effect {
        Effect::Sign(call) => Some(call),
        _ => None,
    });
    let call = call.expect("it is asked");
    let world = world(WEB);
    let certificate = &world.manifest().certificates[0];
    let policy = certificate.content.leaf().expect("a certificate");
    assert_eq!((&call.request.names, call.request.duration), (&policy.names, policy.duration));
    assert_eq!((call.generation, &call.issuer, call.is_kept), (1, &policy.issuer, true));
    assert!(call.shared_key.is_none() && call.expires.is_none());
}

#[test]
fn only_what_is_due_must_end_later_than_what_is_held() {
    let held = leaf(3, at(-25 * 86_400));
    let incoming = || incoming(holds(3, held.clone()), 4, GuestKey::new().request());
    for (what, requested, must_exceed) in [("due", false, Some(held.not_after())), ("a person asked", true, None)] {
        let mut world = world(WEB);
        link(&mut world, "101", vec![holds(3, held.clone())]);
        if requested {
            world.apply(Change::Renewal(id("web@101")), at(0));
        }
        link(&mut world, "101", vec![incoming()]);
        let (effects, _) = Fixture::new().step(&world, at(0));
        let call = effects.into_iter().find_map(|effect| match effect {
            Effect::Sign(call) => Some(call),
            _ => None,
        });
        let call = call.expect("it is asked");
        assert_eq!((call.expires, call.must_exceed), (Some(held.not_after()), must_exceed), "{what}");
    }
}

#[test]
fn what_a_certificate_is_for_is_said_by_the_manifest_or_else_by_the_guest() {
    let client = WEB.replace(r#""guest": 101,"#, r#""guest": 101, "usage": "client","#);
    for (manifest, of_guest, expected) in [
        (WEB, None, None),
        (WEB, Some(Usage::Server), Some(Usage::Server)),
        (client.as_str(), Some(Usage::Server), Some(Usage::Client)),
    ] {
        let mut world = world(manifest);
        let report = PlacementReport { usage: of_guest, ..nothing("web") };
        link(&mut world, "101", vec![incoming(report, 1, GuestKey::new().request())]);
        let (effects, _) = Fixture::new().step(&world, at(0));
        let call = effects.into_iter().find_map(|effect| match effect {
            Effect::Sign(call) => Some(call),
            _ => None,
        });
        assert_eq!(call.expect("it is asked").request.usage, expected, "{manifest}");
    }
}

#[test]
fn a_guest_that_keeps_none_waits_after_ten() {
    let key = GuestKey::new();
    let (world, mut fixture) = (requested(&key), Fixture::new());
    for number in 0..10 {
        let (effects, outdated) = fixture.step(&world, at(0));
        assert_eq!((asked(&effects), outdated), (1, false), "{number}");
        fixture.signing.under_way.clear();
    }
    let (effects, outdated) = fixture.step(&world, at(0));
    assert_eq!((asked(&effects), outdated), (0, true));
    let [Change::AttemptFailed(_, trouble)] = effects.changes()[..] else { panic!("{effects:?}") };
    assert_eq!((trouble.halt, trouble.retry_at), (Halt::Waiting, Some(at(60))));
    assert_eq!(asked(&fixture.step(&world, at(59)).0), 0, "not yet");
    assert_eq!(asked(&fixture.step(&world, at(60)).0), 1, "one a minute");
}

#[test]
fn an_answer_is_a_certificate_or_a_failed_attempt() {
    let key = GuestKey::new();
    let world = requested(&key);
    let fresh = |shortened_to| Ok(Fresh { undelivered: key.undelivered(1, at(-60)), shortened_to });
    let down = || Err(IssuerError::Unavailable { message: "it is down".into() });
    let cases: [(&str, i64, Result<Fresh, IssuerError>, bool, usize, usize); 5] = [
        ("signed", 0, fresh(None), true, 1, 0),
        ("shortened", 0, fresh(Some(Duration::from_secs(60))), true, 2, 0),
        ("refused", 0, down(), false, 1, 1),
        ("refused by a clock that may differ", 300, down(), false, 1, 1),
        ("refused by a clock that was set back", 3600, down(), false, 0, 0),
    ];
    for (what, asked, result, is_signed, changes, events) in cases {
        let mut fixture = Fixture::new();
        fixture.signing.under_way.insert(id("web@101"), 0);
        let (effects, signed) = fixture.answer(&world, at(asked), result);
        assert_eq!(signed, is_signed, "{what}");
        assert_eq!((effects.changes().len(), effects.texts().len()), (changes, events), "{what}: {effects:?}");
        assert!(!fixture.signing.is_busy(), "{what}");
    }
}

#[test]
fn a_failure_of_what_began_before_somebody_asked_anew_is_no_answer() {
    let key = GuestKey::new();
    let down = || Err(IssuerError::Unavailable { message: "it is down".into() });
    let mut world = requested(&key);
    let mut fixture = Fixture::new();
    assert_eq!(asked(&fixture.step(&world, at(0)).0), 1);
    world.apply(Change::AttemptForgotten(id("web@101")), at(1));
    let (effects, _) = fixture.answer(&world, at(0), down());
    assert!(effects.changes().is_empty() && effects.texts().is_empty(), "{effects:?}");
    assert_eq!(asked(&fixture.step(&world, at(1)).0), 1, "it is asked anew at once");
    let (effects, _) = fixture.answer(&world, at(1), down());
    assert!(matches!(effects.changes()[..], [Change::AttemptFailed(..)]), "{effects:?}");

    let mut fixture = Fixture::new();
    assert_eq!(asked(&fixture.step(&world, at(0)).0), 1);
    world.apply(Change::AttemptForgotten(id("web@101")), at(1));
    let signed = Ok(Fresh { undelivered: key.undelivered(1, at(-60)), shortened_to: None });
    assert!(fixture.answer(&world, at(0), signed).1, "what was signed is taken all the same");
}

#[test]
fn what_costs_a_certificate_each_time_is_tried_at_the_longest_pause() {
    let world = requested(&GuestKey::new());
    let unfit = IssuerError::Unfit { message: "other names".into(), remedy: "mend it".into(), held_until: None };
    let refused = IssuerError::Refused { message: "no".into() };
    for (error, first) in [(unfit, 48 * 60), (refused, 0)] {
        let (effects, _) = Fixture::new().answer(&world, at(0), Err(error));
        let [Change::AttemptFailed(_, trouble)] = effects.changes()[..] else { panic!("{effects:?}") };
        let pause = trouble.retry_at.map_or(0, |at| at.since(self::at(0)).as_secs());
        assert!(pause >= first && pause <= 3600 && (first > 0 || pause == 0), "{trouble:?}");
    }
}

#[test]
fn that_an_issuer_shortens_is_known_until_it_signs_for_longer() {
    let key = GuestKey::new();
    let mut world = requested(&key);
    let day = Duration::from_secs(86_400);
    let mut known = Vec::new();
    for shortened_to in [Some(day), Some(2 * day), None] {
        let fresh = Fresh { undelivered: key.undelivered(1, at(-60)), shortened_to };
        Fixture::new().answer(&world.clone(), at(0), Ok(fresh)).0.apply(&mut world);
        known.push(world.shortened().values().next().copied());
    }
    assert_eq!(known, [Some(day), Some(2 * day), None]);
    // What is just as long as the limit does not lift it: 30 days from a minute ago on.
    let limit = 30 * day - Duration::from_secs(60);
    world.apply(Change::Shortened("embedded".parse().expect("a name"), Some(limit)), at(0));
    let fresh = Fresh { undelivered: key.undelivered(1, at(-60)), shortened_to: None };
    Fixture::new().answer(&world.clone(), at(0), Ok(fresh)).0.apply(&mut world);
    assert_eq!(world.shortened().values().next(), Some(&limit));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_key_is_made_once_and_goes_with_the_request() {
    let mut world = world(SHARED);
    link(&mut world, "101", vec![incoming(nothing("web"), 1, Progress::Requested(Vec::new()))]);
    let mut fixture = Fixture::new();
    let mut fingerprints = Vec::new();
    for _ in 0..2 {
        let (effects, _) = fixture.step(&world, at(0));
        assert_eq!(asked(&effects), 1);
        effects.apply(&mut world);
        fingerprints.push(world.reports().shared_key(&id("web@101").certificate).map(|key| key.fingerprint));
        fixture.signing.under_way.clear();
    }
    assert!(fingerprints[0].is_some() && fingerprints[0] == fingerprints[1], "{fingerprints:?}");
}

#[test]
fn placements_to_which_everything_is_left_take_no_memory() {
    let mut signing = Signing::default();
    for name in ["web@101", "web@102"] {
        assert_eq!(signing.allow(&id(name), at(0)), Ok(()), "{name}");
    }
    signing.forget_full(at(59));
    assert_eq!(signing.allowed.len(), 2, "one is missing to each");
    signing.forget_full(at(60));
    assert!(signing.allowed.is_empty());
}
