//! When a placement has come as far as somebody waits for, and what is said until then.

use pinion_proto::clock::Timestamp;

use super::*;
use crate::{
    issuer::IssuerRoots,
    reconcile::testing::{GuestKey, WEB, at, guest, holds, id, incoming, leaf, link, nothing, parts, root, world},
    world::{Change, World},
};

const PURGE: &str = r#"{"version": 1, "certificates": [{"name": "web", "common_name": "web.example",
    "placements": [{"guest": 101, "recipe": "nginx", "purge": true}]}]}"#;

/// A world in which `web@101` reports this about what it is asked for now.
fn reporting(manifest: &str, report: PlacementReport) -> World {
    let mut world = world(manifest);
    let manifest = world.manifest().clone();
    let revision = world.plan(&manifest, at(0)).placements[0].revision();
    link(&mut world, "101", vec![PlacementReport { revision, ..report }]);
    world
}

/// What somebody is told who waits for a stage of `web@101`.
fn line(world: &World, until: Stage, above: Option<u64>, now: Timestamp) -> ProgressLine {
    let manifest = world.manifest().clone();
    let plan = world.plan(&manifest, now);
    View { world, parts: &parts(), now: at(0) }.progress(&plan.placements[0], until, above, None)
}

fn served(generation: u64) -> PlacementReport {
    holds(generation, leaf(1, at(-60)))
}

#[test]
fn a_renewal_is_there_when_its_generation_exceeds_what_was_there_before() {
    for (above, reached) in [(None, true), (Some(1), true), (Some(2), false), (Some(3), false)] {
        assert_eq!(line(&reporting(WEB, served(2)), Stage::Served, above, at(0)).reached, reached, "{above:?}");
    }
}

#[test]
fn an_agent_that_does_not_know_a_field_holds_its_placement_up() {
    const TWO: &str = r#"{"version": 1, "certificates": [{"name": "web", "common_name": "web.example",
        "placements": [{"guest": 101, "recipe": "nginx",
            "probe": [{"connect": "127.0.0.1:443"}, {"connect": "127.0.0.1:8443"}]}]}]}"#;
    let mut world = world(TWO);
    // It leaves out what it does not know, and so reports another spec.
    link(&mut world, "101", vec![PlacementReport { revision: 1, ..served(2) }]);
    let line = line(&world, Stage::Served, None, at(0));
    let trouble = line.trouble.expect("it is held up");
    assert!(!line.reached && trouble.halt == pinion_proto::stage::Halt::Blocked, "{trouble}");
    assert!(trouble.cause.contains("too old for several services"), "{trouble}");
    assert!(trouble.remedy.contains("pinion-agent"), "{trouble}");
}

#[test]
fn files_that_are_to_be_removed_are_removed_when_none_is_left() {
    let there = line(&reporting(PURGE, served(1)), Stage::Served, None, at(0));
    assert_eq!((there.reached, there.now.as_str()), (false, "being removed"));
    let gone = line(&reporting(PURGE, nothing("web")), Stage::Served, None, at(0));
    assert_eq!((gone.reached, gone.now.as_str()), (true, "reached"));
}

#[test]
fn a_certificate_is_issued_when_its_guest_has_it_and_not_before() {
    let key = GuestKey::new();
    let delivered = |generation| incoming(nothing("web"), generation, Progress::Delivered);
    let requested = || reporting(WEB, incoming(nothing("web"), 1, key.request()));
    let mut sent = requested();
    sent.sent(&id("web@101"), 1, at(0));
    // What is on its way is older than what is held, which is not in place yet.
    let held = PlacementReport { stage: Stage::Pending, ..served(2) };
    let older = incoming(held, 1, Progress::Delivered);
    let older = PlacementReport { last_generation: 2, ..older };
    let cases = [
        ("it has it", reporting(WEB, delivered(1)), Stage::Issued, None, 0, true),
        ("it exceeds what was there", reporting(WEB, delivered(2)), Stage::Issued, Some(1), 0, true),
        ("it is what was there", reporting(WEB, delivered(1)), Stage::Issued, Some(1), 0, false),
        ("it is older than what was there", reporting(WEB, delivered(1)), Stage::Issued, Some(2), 0, false),
        ("more is waited for", reporting(WEB, delivered(1)), Stage::Installed, None, 0, false),
        ("it requests it", requested(), Stage::Issued, None, 0, false),
        ("it is on its way", sent, Stage::Issued, None, 0, false),
        ("another is ordered by now", reporting(WEB, delivered(1)), Stage::Issued, None, 17 * 3600, false),
        ("it is older than what is held", reporting(WEB, older), Stage::Issued, None, 0, false),
    ];
    for (what, world, until, above, now, reached) in cases {
        let line = line(&world, until, above, at(now));
        assert_eq!(line.reached, reached, "{what}: {}", line.now);
    }
}

#[test]
fn a_certificate_on_its_way_is_being_delivered() {
    let mut world = reporting(WEB, incoming(nothing("web"), 1, GuestKey::new().request()));
    world.sent(&id("web@101"), 1, at(0));
    assert_eq!(line(&world, Stage::Served, None, at(1)).now, "being delivered");
}

#[test]
fn only_a_report_about_what_is_asked_for_now_counts() {
    let (mine, other) = (root(), root());
    let known = || IssuerRoots { current: vec![mine.clone()], former: vec![], signing: mine.fingerprint() };
    let cases = [
        ("about this, and no file of roots", true, vec![], true),
        ("about this, with its issuer's root", true, vec![mine.fingerprint()], true),
        ("about this, with another root", true, vec![other.fingerprint()], false),
        ("about what was asked for before", false, vec![mine.fingerprint()], false),
    ];
    for (what, about_this, roots, reached) in cases {
        let report = PlacementReport { roots: roots.into_iter().collect(), ..served(1) };
        let mut world = reporting(WEB, report.clone());
        if !about_this {
            link(&mut world, "101", vec![PlacementReport { revision: 1, ..report }]);
        }
        world.apply(Change::Roots("embedded".parse().expect("a name"), known()), at(0));
        assert_eq!(line(&world, Stage::Served, None, at(0)).reached, reached, "{what}");
    }
}

#[test]
fn what_a_guest_served_when_it_was_linked_last_is_not_taken_for_now() {
    let mut world = reporting(WEB, served(1));
    world.apply(Change::LinkDown(guest("101")), at(0));
    let line = line(&world, Stage::Served, None, at(1));
    let trouble = line.trouble.expect("a trouble");
    assert!(!line.reached && trouble.attempt == "see web@101 served", "{trouble}");
    assert!(trouble.cause.starts_with("the agent of guest 101 is not linked since"), "{trouble}");
}
