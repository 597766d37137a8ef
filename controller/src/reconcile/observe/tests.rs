//! What is told of a manifest and of Proxmox, and what is not told twice.

use pinion_proto::stage::Halt;

use super::*;
use crate::{
    inventory::Alike,
    reconcile::testing::{TWO, WEB, at, in_force, resources, trouble},
};

fn rejected(manifest: &str, problem: &str) -> InForce {
    InForce { problem: Some(problem.into()), ..in_force(manifest) }
}

/// Each of these is a change from one to the other, and says one thing that begins so, or nothing.
fn each_says<T>(cases: &[(&str, &T, &T, &str)], observe: impl Fn(&T, &T, &mut Effects)) {
    for (what, before, next, expected) in cases {
        let mut effects = Effects::at(at(0));
        observe(before, next, &mut effects);
        assert!(effects.texts().len() <= 1 && effects.texts().is_empty() == expected.is_empty(), "{what}");
        assert!(effects.texts().iter().all(|text| text.starts_with(expected)), "{what}: {:?}", effects.texts());
    }
}

#[test]
fn a_manifest_is_told_when_it_is_another_or_has_another_problem() {
    let (good, other) = (in_force(WEB), in_force(TWO));
    let cases = [
        ("another one", &good, &other, "A manifest with 1 certificates in 2 places is in force"),
        ("a mistake", &good, &rejected(WEB, "line 3"), "The manifest on disk cannot be used"),
        ("the same mistake", &rejected(WEB, "line 3"), &rejected(WEB, "line 3"), ""),
        ("another mistake", &rejected(WEB, "line 3"), &rejected(WEB, "line 4"), "The manifest on disk cannot be used"),
        ("it is mended", &rejected(WEB, "line 3"), &other, "A manifest with 1 certificates in 2 places is in force"),
    ];
    each_says(&cases, manifest);
}

#[test]
fn proxmox_is_told_of_when_it_ceases_and_begins_to_be_understood() {
    let problem = |cause| Inventory::default().with_problem(Some(trouble(Halt::Waiting, cause)));
    let unknown = |cause| Inventory::default().with_trouble(Some(trouble(Halt::Waiting, cause)));
    let fine = Inventory::default();
    let cases = [
        ("nothing is wrong", &fine, &fine, ""),
        ("files that cannot be read", &fine, &problem("a"), "The list of Proxmox's guests is out of date"),
        ("the same", &problem("a"), &problem("a"), ""),
        ("another cause", &problem("a"), &problem("b"), "The list of Proxmox's guests is out of date"),
        ("they can be read", &problem("a"), &fine, "The list of Proxmox's guests is up to date again"),
        ("who runs is not known", &fine, &unknown("a"), "waiting: try it"),
        ("the same", &unknown("a"), &unknown("a"), ""),
        ("another cause", &unknown("a"), &unknown("b"), "waiting: try it"),
        ("who runs is known", &unknown("a"), &fine, "Pinion knows again which guests run"),
    ];
    each_says(&cases, inventory);
}

#[test]
fn guests_with_one_network_card_are_told_of_once_and_when_they_differ() {
    let alike = |numbers: &[u32]| {
        let guests = numbers.iter().map(|number| (*number).try_into().expect("a VMID")).collect();
        Inventory::default().with_alike(vec![Alike { guests, trouble: trouble(Halt::Blocked, "they are alike") }])
    };
    let fine = Inventory::default();
    let cases = [
        ("none", &fine, &fine, ""),
        ("two", &fine, &alike(&[101, 102]), "blocked: try it"),
        ("the same", &alike(&[101, 102]), &alike(&[101, 102]), ""),
        ("others", &alike(&[101, 102]), &alike(&[103, 104]), "blocked: try it"),
        ("they differ", &alike(&[101, 102]), &fine, "Guests with the same network card are told apart"),
    ];
    each_says(&cases, inventory);
}

#[test]
fn a_mistake_that_a_controller_starts_with_is_told() {
    let (never, started) = (InForce { since: None, ..rejected(WEB, "line 3") }, rejected(WEB, "line 3"));
    for (what, in_force, count) in [("none", in_force(WEB), 0), ("no manifest yet", never, 0), ("one", started, 1)] {
        let (_directory, resources) = resources(crate::issuer::Issuers::of([]));
        manifest_at_start(&in_force, &resources.events, at(0));
        let events = resources.events.recent(usize::MAX, at(0));
        assert_eq!(events.iter().filter(|event| event.text.contains("line 3")).count(), count, "{what}: {events:?}");
    }
}
