//! What `pinion plan` says of each placement.

use super::*;
use crate::{
    issuer::IssuerRoots,
    reconcile::testing::{WEB, at, holds, incoming, leaf, link, nothing, root, world},
    world::Change,
};

const ROOTS: &str = r#"{"version": 1, "certificates": [{"name": "web", "trust": true,
    "placements": [{"guest": 101, "recipe": "ca-certificates"}]}]}"#;

#[test]
fn what_is_kept_says_why() {
    let root = root();
    let roots = || IssuerRoots { current: vec![root.clone()], former: vec![], signing: root.fingerprint() };
    let trusting = pinion_proto::report::PlacementReport { roots: [root.fingerprint()].into(), ..nothing("web") };
    let delivered = incoming(nothing("web"), 1, pinion_proto::report::Progress::Delivered);
    let cases = [
        ("good", WEB, holds(1, leaf(1, at(-60))), "keep", "it matches the manifest; the next renewal is due at"),
        ("on its way", WEB, delivered, "keep", "a new generation is being installed"),
        ("roots", ROOTS, trusting, "keep", "it has embedded's roots: "),
        ("other roots", ROOTS, nothing("web"), "trust", "trust "),
        ("nothing", WEB, nothing("web"), "order", "order generation 1: nothing is held"),
    ];
    for (what, manifest, report, action, why) in cases {
        let mut world = world(manifest);
        link(&mut world, "101", vec![report]);
        world.apply(Change::Roots("embedded".parse().expect("a name"), roots()), at(0));
        let manifest = world.manifest().clone();
        let Answer::Plan(document) = plan(&world, &manifest, &world.plan(&manifest, at(0))) else { panic!("a plan") };
        let [step] = document.steps.as_slice() else { panic!("{what}: one step: {document:?}") };
        assert_eq!((step.placement.as_str(), step.action.as_str()), ("web@101", action), "{what}");
        assert!(step.why.starts_with(why), "{what}: {}", step.why);
    }
}

#[test]
fn what_the_manifest_does_not_name_stays_until_a_person_has_it_removed() {
    let mut world = world(r#"{"version": 1, "certificates": []}"#);
    link(&mut world, "101", vec![holds(1, leaf(1, at(-60)))]);
    let manifest = world.manifest().clone();
    let Answer::Plan(document) = plan(&world, &manifest, &world.plan(&manifest, at(0))) else { panic!("a plan") };
    let [step] = document.steps.as_slice() else { panic!("one step: {document:?}") };
    assert_eq!((step.placement.as_str(), step.action.as_str()), ("web@101", "retired"));
    assert!(step.why.ends_with("`pinion purge web@101`"), "{}", step.why);
}
