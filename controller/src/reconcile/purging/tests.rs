//! What is removed, at whose word, and what stays.

use super::*;
use crate::reconcile::{
    effects::{Effect, When},
    testing::{WEB, at, holds, id, leaf, link, nothing, root_user, world},
};
use pinion_proto::{message::PurgeManner, report::PlacementReport};

const PURGED: &str = r#"{"version": 1, "certificates": [{"name": "web", "common_name": "web.example",
    "placements": [{"guest": 101, "recipe": "nginx", "purge": true}]}]}"#;

/// A world in which guest 101 also holds `old`, which the manifest does not name.
fn with_old(manifest: &str) -> World {
    let mut world = world(manifest);
    link(&mut world, "101", vec![holds(1, leaf(1, at(0))), nothing("old")]);
    world
}

fn step(purging: &mut Purging, world: &World) -> Effects {
    let (manifest, mut effects) = (world.manifest().clone(), Effects::at(at(0)));
    purging.step(world, &world.plan(&manifest, at(0)), &mut effects);
    effects
}

fn ask(purging: &mut Purging, world: &World, names: &[&str]) -> (Answer, Effects) {
    let (manifest, mut effects) = (world.manifest().clone(), Effects::at(at(0)));
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let ask = AskPurge { names, manner: PurgeManner::default() };
    let answer = purging.ask(&ask, &root_user(), world, &world.plan(&manifest, at(0)), &mut effects);
    (answer, effects)
}

fn sent(effects: &Effects) -> usize {
    effects.count(|effect| matches!(effect, Effect::Send(_, Outgoing::Purge(_))))
}

#[test]
fn what_the_manifest_does_not_name_is_told_once_and_stays() {
    let (world, mut purging) = (with_old(WEB), Purging::default());
    let effects = step(&mut purging, &world);
    assert_eq!(effects.texts(), ["old@101 is not in the manifest; its files stay until `pinion purge old@101`"]);
    assert_eq!(sent(&effects), 0);
    assert!(step(&mut purging, &world).is_empty(), "not again");
}

#[test]
fn only_retired_placements_are_purged() {
    let cases: [(&str, &[&str], Result<usize, &str>); 7] = [
        ("by its name", &["old@101"], Ok(1)),
        ("by its certificate", &["old"], Ok(1)),
        ("one twice", &["old", "old@101"], Ok(1)),
        ("one of the manifest", &["web@101"], Err("web@101 is in the manifest")),
        ("a certificate of the manifest", &["web"], Err("web is in the manifest")),
        ("one that nobody knows", &["new"], Err("no retired placement is called new")),
        ("one good and one bad", &["old", "new"], Err("no retired placement is called new")),
    ];
    for (what, names, expected) in cases {
        let (world, mut purging) = (with_old(WEB), Purging::default());
        let (answer, effects) = ask(&mut purging, &world, names);
        match expected {
            Ok(count) => {
                let purging_now = PurgingNow { at_once: vec!["old@101".into()], later: Vec::new() };
                assert_eq!(
                    (answer, sent(&step(&mut purging, &world))),
                    (Answer::Purging(purging_now), count),
                    "{what}"
                );
                let asked = Change::PurgeAsked(id("old@101"), PurgeManner::default());
                assert!(effects.changes().contains(&&asked), "{what}");
                let at_once = effects.count(|effect| matches!(effect, Effect::Save(_, When::AtOnce)));
                assert_eq!(at_once, 1, "{what}: it is written before it is acted on");
            }
            Err(why) => {
                let (Answer::Refused(text) | Answer::NoSuchName(text)) = answer else { panic!("{what}: {answer:?}") };
                assert!(text.starts_with(why), "{what}: {text}");
                assert!(effects.is_empty(), "{what}: nothing is done");
            }
        }
    }
}

#[test]
fn who_is_asked_is_asked_until_it_is_done_or_over() {
    let (mut world, mut purging) = (with_old(WEB), Purging::default());
    ask(&mut purging, &world, &["old"]);
    assert_eq!([sent(&step(&mut purging, &world)), sent(&step(&mut purging, &world))], [1, 1]);
    let mut done = Purging { retired: purging.retired.clone(), asked: purging.asked.clone() };
    let mut effects = Effects::at(at(0));
    done.purged(&id("old@101"), &mut effects);
    assert_eq!(effects.changes(), [&Change::PurgeOver(id("old@101"))]);
    assert_eq!(sent(&step(&mut done, &world)), 0, "the guest has removed them");
    world.purged(crate::reconcile::testing::guest("101"), &id("old@101").certificate);
    let effects = step(&mut purging, &world);
    assert_eq!(sent(&effects), 0);
    assert_eq!(effects.changes(), [&Change::PurgeOver(id("old@101"))]);
}

#[test]
fn what_was_asked_for_is_known_over_a_restart() {
    let mut world = with_old(WEB);
    ask(&mut Purging::default(), &world, &["old"]).1.apply(&mut world);
    assert_eq!(sent(&step(&mut Purging::restore(&world), &world)), 1);
}

#[test]
fn what_the_manifest_purges_is_not_asked_for_twice() {
    let world = with_old(PURGED);
    let mut purging = Purging { asked: [(id("old@101"), PurgeManner::default())].into(), ..Purging::default() };
    assert_eq!(sent(&step(&mut purging, &world)), 1, "`web` is purged by its spec");
}

#[test]
fn of_what_the_manifest_names_only_what_was_left_behind_is_removed() {
    let left = |left: &[&str]| PlacementReport {
        left_behind: left.iter().map(|path| path.parse().expect("a path")).collect(),
        ..holds(1, leaf(1, at(0)))
    };
    let mut world = world(WEB);
    link(&mut world, "101", vec![left(&["/etc/old.crt"])]);
    let mut purging = Purging::default();
    assert!(matches!(ask(&mut purging, &world, &["web"]).0, Answer::Purging(_)));
    let effects = step(&mut purging, &world);
    let left_behind = |effect: &Effect| matches!(effect, Effect::Send(_, Outgoing::Purge(purge)) if purge.left_behind);
    assert_eq!((effects.count(left_behind), sent(&effects)), (1, 1));
    // It is removed, and nothing is asked for any more.
    link(&mut world, "101", vec![left(&[])]);
    let effects = step(&mut purging, &world);
    assert_eq!((sent(&effects), effects.changes()), (0, vec![&Change::PurgeOver(id("web@101"))]));
    assert!(matches!(ask(&mut purging, &world, &["web"]).0, Answer::Refused(_)));
}

#[test]
fn what_the_manifest_removes_and_a_configuration_names_is_removed_by_force() {
    let (world, mut purging) = (with_old(PURGED), Purging::default());
    for (force, expected) in [(false, 0), (true, 1)] {
        let manner = PurgeManner { force, restore: false };
        let (manifest, mut effects) = (world.manifest().clone(), Effects::at(at(0)));
        let asked = AskPurge { names: vec!["web@101".into()], manner };
        let answer = purging.ask(&asked, &root_user(), &world, &world.plan(&manifest, at(0)), &mut effects);
        assert!(matches!(answer, Answer::Purging(_)), "{answer:?}");
        let effects = step(&mut purging, &world);
        let forced = |effect: &Effect| matches!(effect, Effect::Send(_, Outgoing::Purge(purge)) if purge.force);
        assert_eq!(effects.count(forced), expected);
    }
}
