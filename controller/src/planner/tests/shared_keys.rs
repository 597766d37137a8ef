//! Keys that several placements share, and those that are not shared any more.

use pinion_proto::key::{KeyAlgorithm, KeyPolicy, Rotation};

use super::*;
use crate::world::SharedKey;

#[test]
fn a_shared_key_is_followed_by_all_placements() {
    let shared = manifest(
        r#"{"version": 1, "certificates": [{"name": "web", "common_name": "a.example", "shared": true, "placements": [
            {"guest": 101, "recipe": "x"}, {"guest": 102, "recipe": "x"}]}]}"#,
    );
    let mut world = World::healthy();
    let second = id("web@102").guest;
    let with = |world: &World, key: &KeyPair| {
        holding("web", 3, leaf(key, &["a.example"], world.now, world.now + seconds(30 * DAY)))
    };
    world.reports.hello(second, vec![with(&world, &world.key)], world.now);
    assert!(world.plan(&shared).orders().is_empty(), "both hold the same key, whoever made it");

    // They were not shared before: each has its own.
    let other = key();
    world.reports.report(second, with(&world, &other), world.now);
    let whys: Vec<_> = world.plan(&shared).orders().into_iter().map(|(_, order)| order.why.clone()).collect();
    assert_eq!(whys, vec![Why::KeySharingChanged { shared: true }; 2]);

    // The controller has made a key, and the second has it already.
    let current = with(&world, &other).held.expect("held").leaf.key();
    let current = SharedKey { fingerprint: current, algorithm: KeyAlgorithm::EcdsaP256 };
    world.reports.set_shared_key("web".parse().expect("a name"), current);
    let plan = world.plan(&shared);
    let orders = plan.orders();
    assert_eq!(orders.iter().map(|(planned, _)| planned.label()).collect::<Vec<_>>(), ["web@101"]);
    world.report(with_incoming(world.held(), 4, Progress::Requested(Vec::new())));
    let plan = world.plan(&shared);
    assert_eq!(plan.orders().first().map(|(_, order)| (order.generation, order.step)), Some((4, Step::Sign)));

    // Who has the current key and is due gets a new one; who has an older one follows.
    let report = world.reports.placement(&id("web@102")).and_then(|entry| entry.report()).cloned().expect("a report");
    let policy = shared.certificates.first().and_then(|one| one.content.leaf()).expect("a certificate").key;
    assert!(needs_new_shared_key(Some(&current), policy, report.held.as_ref()));
    assert!(!needs_new_shared_key(Some(&current), policy, world.held().held.as_ref()));
    assert!(!needs_new_shared_key(Some(&current), policy, None));
    assert!(needs_new_shared_key(None, policy, None));
}

#[test]
fn a_key_that_is_no_longer_shared_is_replaced() {
    let mut world = World::healthy();
    let fingerprint = world.held().held.expect("held").leaf.key();
    let shared = SharedKey { fingerprint, algorithm: KeyAlgorithm::EcdsaP256 };
    world.reports.set_shared_key("web".parse().expect("a name"), shared);
    assert_eq!(world.order(&web("", "")).why, Why::KeySharingChanged { shared: false });
    world.keeps(&web(r#", "key": {"rotation": "never"}"#, ""));
}

#[test]
fn a_shared_key_of_another_kind_or_none_at_all_is_made_anew() {
    let world = World::healthy();
    let held = world.held().held;
    let fingerprint = held.as_ref().expect("held").leaf.key();
    let current = SharedKey { fingerprint, algorithm: KeyAlgorithm::EcdsaP256 };
    let policy = |algorithm, rotation| KeyPolicy { algorithm, rotation };
    for (policy, held, made) in [
        (policy(KeyAlgorithm::Rsa2048, Rotation::Always), None, true),
        (policy(KeyAlgorithm::Rsa2048, Rotation::Never), held.as_ref(), true),
        (policy(KeyAlgorithm::EcdsaP256, Rotation::Always), held.as_ref(), true),
        (policy(KeyAlgorithm::EcdsaP256, Rotation::Never), held.as_ref(), false),
        (policy(KeyAlgorithm::EcdsaP256, Rotation::Always), None, false),
    ] {
        assert_eq!(needs_new_shared_key(Some(&current), policy, held), made, "{policy:?}");
    }
}
