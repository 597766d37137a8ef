//! What a person may freeze and lift, when it ends, and what is said of it.

use super::*;
use crate::{
    admin::protocol::Selection,
    reconcile::testing::{WEB, at, holds, leaf, link, resources, root_user, trouble, world},
};

const DAY: i64 = 86_400;

fn freeze(names: &[&str], guest: Option<&str>, until: Option<i64>) -> AskFreeze {
    let names = names.iter().map(ToString::to_string).collect();
    AskFreeze {
        selection: Selection { names, guest: guest.map(Into::into), more_guests: Vec::new() },
        until: until.map(at),
        lift: false,
    }
}

/// A world in which this was asked for, one after the other; and what was said against the last.
fn after(asks: &[AskFreeze]) -> (World, Option<Answer>) {
    let (_directory, resources) = resources(crate::issuer::Issuers::of([]));
    let (mut world, mut refused) = (world(WEB), None);
    for asked in asks {
        let mut effects = Effects::at(at(0));
        refused = ask(asked, &root_user(), &world, &resources.store, &mut effects).err();
        assert!(refused.is_none() || effects.is_empty(), "what is refused does nothing");
        effects.apply(&mut world);
    }
    let kept: Option<Freezes> = resources.store.read(Area::Local, freeze::DOCUMENT).expect("it can be read");
    assert_eq!(&kept.unwrap_or_default(), world.reports().freezes(), "it is written before it is answered");
    (world, refused)
}

fn lift(names: &[&str]) -> AskFreeze {
    AskFreeze { lift: true, ..freeze(names, None, None) }
}

#[test]
fn what_is_placed_may_be_frozen_and_what_is_frozen_lifted() {
    let cases: [(&str, Vec<AskFreeze>, usize, Option<&str>); 10] = [
        ("everything", vec![freeze(&[], None, None)], 1, None),
        ("a certificate", vec![freeze(&["web"], None, None)], 1, None),
        ("a placement", vec![freeze(&["web@101"], None, None)], 1, None),
        ("a guest", vec![freeze(&[], Some("101"), None)], 1, None),
        ("nobody's name", vec![freeze(&["web", "other"], None, None)], 0, Some("no certificate or placement")),
        ("no guest", vec![freeze(&[], Some("nobody"), None)], 0, Some("")),
        ("until yesterday", vec![freeze(&[], None, Some(-1))], 0, Some("the freeze would be over already")),
        ("lifted", vec![freeze(&["web"], None, None), lift(&["web"])], 0, None),
        ("all lifted", vec![freeze(&["web"], None, None), freeze(&[], Some("101"), None), lift(&[])], 0, None),
        ("not frozen", vec![freeze(&["web"], None, None), lift(&["other"])], 1, Some("there is no freeze of `other`")),
    ];
    for (what, asks, count, refusal) in cases {
        let (world, refused) = after(&asks);
        assert_eq!(world.reports().freezes().count(), count, "{what}");
        match (refused, refusal) {
            (None, None) => {}
            (Some(Answer::Refused(text) | Answer::NoSuchName(text)), Some(start)) => {
                assert!(text.starts_with(start), "{what}: {text}");
            }
            (refused, _) => panic!("{what}: {refused:?}"),
        }
    }
}

#[test]
fn there_are_so_many_freezes_and_no_more() {
    let (_, refused) = after(&[freeze(&vec!["web"; MAX_FREEZES + 1], None, None)]);
    assert_eq!(refused, None, "the same once more is none more");
    let manifest: Vec<_> = (0..=MAX_FREEZES).map(|n| format!("c{n}")).collect();
    let certificates: Vec<_> = manifest
        .iter()
        .map(|name| {
            serde_json::json!({ "name": name, "common_name": format!("{name}.example"),
                "placements": [{ "guest": 101, "recipe": "nginx" }] })
        })
        .collect();
    let world = world(&serde_json::json!({ "version": 1, "certificates": certificates }).to_string());
    let (_directory, resources) = resources(crate::issuer::Issuers::of([]));
    for (count, refused) in [(MAX_FREEZES, false), (MAX_FREEZES + 1, true)] {
        let names: Vec<_> = manifest[..count].iter().map(String::as_str).collect();
        let mut effects = Effects::at(at(0));
        let asked = ask(&freeze(&names, None, None), &root_user(), &world, &resources.store, &mut effects);
        assert_eq!(asked.is_err(), refused, "{count}");
    }
}

#[test]
fn a_freeze_ends_in_its_time() {
    let (_directory, resources) = resources(crate::issuer::Issuers::of([]));
    let (mut world, _) = after(&[freeze(&["web"], None, Some(10)), freeze(&[], Some("101"), Some(20))]);
    let cases = [("before", 9, 0, 2, Some(10)), ("the first", 10, 1, 1, Some(20)), ("both", 30, 1, 0, None)];
    for (what, seconds, events, left, next) in cases {
        let mut effects = Effects::at(at(seconds));
        let wake = step(&world, &resources.store, &mut effects);
        assert_eq!((effects.texts().len(), wake), (events, next.map(at)), "{what}");
        effects.apply(&mut world);
        assert_eq!(world.reports().freezes().count(), left, "{what}");
    }
}

#[test]
fn a_trouble_is_the_freezes_where_that_is_what_holds_it_up() {
    let in_window = || trouble(Halt::Waiting, "the new files are in place, and the service waits for its window");
    let cases = [
        ("held back", Some(freeze(&[], None, None)), in_window(), true, Halt::Blocked),
        ("held back until a moment", Some(freeze(&[], None, Some(60))), in_window(), true, Halt::Waiting),
        ("something else", Some(freeze(&[], None, None)), trouble(Halt::Waiting, "it is down"), false, Halt::Waiting),
        ("not frozen", None, in_window(), false, Halt::Waiting),
    ];
    for (what, frozen, found, is_the_freezes, for_waiting) in cases {
        let (world, _) = after(frozen.as_slice());
        let manifest = world.manifest().clone();
        let plan = world.plan(&manifest, at(0));
        let shown = trouble_for_status(&world, &plan.placements[0], found.clone());
        assert_eq!(shown.cause.starts_with("it is frozen"), is_the_freezes, "{what}: {shown}");
        assert_eq!(trouble_for_waiting(&world, &plan.placements[0], found).halt, for_waiting, "{what}");
    }
}

#[test]
fn what_ends_during_a_freeze_is_said() {
    for (what, until, days, said) in [
        ("it lasts longer", Some(DAY), 20, false),
        ("it ends as the last day begins", Some(19 * DAY), 20, false),
        ("it ends in the last day", Some(19 * DAY + 1), 20, true),
        ("it ends during the freeze", Some(29 * DAY), 20, true),
        ("a freeze without an end", None, 20, true),
        ("nothing is held", None, 0, false),
    ] {
        let (mut world, _) = after(&[freeze(&["web"], None, until)]);
        let held = if days > 0 { vec![holds(1, leaf(1, at(-10 * DAY)))] } else { Vec::new() };
        link(&mut world, "101", held);
        let notes = notes(&world, at(0));
        assert!(
            notes.len() == 1 && notes[0].contains("to lift the freeze, run `pinion freeze --lift web`"),
            "{what}: {notes:?}"
        );
        assert_eq!(notes[0].contains("The certificate that web@101 serves expires at"), said, "{what}: {notes:?}");
    }
}

#[test]
fn what_a_service_serves_that_is_left_alone_ends_a_day_after_that() {
    let (mut world, _) = after(&[freeze(&["web"], None, None)]);
    // What is held is newer than what is served, and only the agent knows when that ends.
    let waits = trouble(Halt::Waiting, "the new files are in place, and the service waits for its window");
    let trouble = Some(Trouble { retry_at: Some(at(5 * DAY)), ..waits });
    let held = holds(1, leaf(1, at(-10 * DAY)));
    link(&mut world, "101", vec![pinion_proto::report::PlacementReport { trouble, ..held }]);
    let notes = notes(&world, at(0));
    assert!(notes[0].contains(&format!("web@101 serves expires at {}", at(6 * DAY))), "{notes:?}");
}

#[test]
fn a_note_is_one_line_and_tells_the_last_day() {
    let at = |hours: i64| Timestamp::from_unix(1_800_000_000 + hours * 3600);
    let note = last_day("web@1001", at(72), at(0));
    assert!(note.contains(&format!("from {} on", at(48))), "{note}");
    assert!(!note.contains('\n') && !note.contains("  "), "{note}");
    assert!(last_day("web@1001", at(24), at(12)).contains(&format!("from {} on", at(12))), "it has begun");
}
