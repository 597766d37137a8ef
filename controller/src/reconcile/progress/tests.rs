//! What a report brings that is new, and what it only repeats.

use pinion_proto::stage::Halt;

use super::*;
use crate::{
    events::PlacementEvent,
    reconcile::testing::{GuestKey, WEB, at, guest, holds, incoming, leaf, link, nothing, trouble, world},
};

/// What is told of a report after another one.
fn told(before: Option<PlacementReport>, now: &PlacementReport, ordered: Option<u64>) -> Vec<String> {
    let mut world = world(WEB);
    link(&mut world, "101", before.into_iter().collect());
    let mut effects = Effects::at(at(0));
    step(&world, guest("101"), now, ordered, &mut effects);
    effects.texts().into_iter().map(ToOwned::to_owned).collect()
}

fn at_stage(generation: u64, stage: Stage) -> PlacementReport {
    PlacementReport { stage, ..holds(generation, leaf(1, at(0))) }
}

#[test]
fn a_placement_is_told_at_each_stage_from_installed_on() {
    let (one, two) = (at_stage(1, Stage::Served), at_stage(2, Stage::Installed));
    let cases = [
        ("nothing held", None, nothing("web"), ""),
        ("issued", None, at_stage(1, Stage::Issued), ""),
        ("installed", None, at_stage(1, Stage::Installed), "web@101 is installed"),
        ("served", Some(at_stage(1, Stage::Installed)), one.clone(), "web@101 is served"),
        ("repeated", Some(one.clone()), one.clone(), ""),
        ("the next one", Some(one.clone()), two.clone(), "web@101 is installed"),
        ("it goes back", Some(two), one, "web@101 went back to its previous certificate, which is served"),
    ];
    for (what, before, now, expected) in cases {
        let expected: Vec<_> = Some(expected).filter(|text| !text.is_empty()).into_iter().collect();
        assert_eq!(told(before, &now, None), expected, "{what}");
    }
}

#[test]
fn a_trouble_is_told_when_it_is_another() {
    let with = |trouble| PlacementReport { trouble: Some(trouble), ..nothing("web") };
    let first = || trouble(Halt::Waiting, "nginx is not there");
    let later = Trouble { retry_at: Some(at(60)), ..first() };
    let cases = [
        ("it begins", None, first(), 1),
        ("it lasts", Some(first()), first(), 0),
        ("it is tried again later", Some(first()), later, 0),
        ("it needs a person", Some(first()), trouble(Halt::Blocked, "nginx is not there"), 1),
        ("another cause", Some(first()), trouble(Halt::Waiting, "nginx does not answer"), 1),
    ];
    for (what, before, now, expected) in cases {
        assert_eq!(told(before.map(with), &with(now), None).len(), expected, "{what}");
    }
}

#[test]
fn a_request_that_does_not_fit_is_told_once_and_only_if_it_was_ordered() {
    let fits = || incoming(nothing("web"), 1, GuestKey::new().request());
    let garbage = || incoming(nothing("web"), 1, Progress::Requested(vec![1, 2, 3]));
    let shared = || incoming(nothing("web"), 1, Progress::Requested(Vec::new()));
    let unknown = || incoming(nothing("other"), 1, Progress::Requested(vec![1, 2, 3]));
    let cases = [
        ("it fits", None, fits(), Some(1), 0),
        ("it is no request", None, garbage(), Some(1), 1),
        ("it repeats", Some(garbage()), garbage(), Some(1), 0),
        ("it was not ordered", None, garbage(), None, 0),
        ("another generation was ordered", None, garbage(), Some(2), 0),
        ("its key is shared", None, shared(), Some(1), 0),
        ("the manifest has no such certificate", None, unknown(), Some(1), 0),
    ];
    for (what, before, now, ordered, expected) in cases {
        assert_eq!(told(before, &now, ordered).len(), expected, "{what}");
    }
    let refused = PlacementEvent::RequestRefused { generation: 1, why: "it is no request".into() };
    let text = What::Placement("web@101".parse().expect("a placement"), refused).at(at(0)).text;
    assert!(told(None, &garbage(), Some(1))[0].starts_with(text.trim_end_matches("it is no request")));
}

#[test]
fn what_was_there_is_told_when_it_goes_and_an_adoption_once() {
    let original = Original {
        path: "/etc/nginx/ssl/web.crt".parse().expect("a path"),
        subject: "web.example".into(),
        issuer: "Home CA".into(),
        not_after: Some(at(60)),
        kept: None,
        key: None,
    };
    let with = |report| PlacementReport { originals: vec![original.clone()], ..report };
    let found = PlacementReport {
        found: Some(Box::new(Found::Good(pinion_proto::report::FoundPair {
            leaf: leaf(1, at(0)),
            chain_ends: at(60),
            root: pinion_proto::bundle::Fingerprint::of(b"root"),
        }))),
        ..with(nothing("web"))
    };
    let mut adopted = with(at_stage(1, Stage::Served));
    adopted.held.as_mut().expect("held").adopted = true;
    let under_way = || with(incoming(nothing("web"), 1, GuestKey::new().request()));
    let replaces = "web@101 will replace";
    for (what, before, now, begins) in [
        ("it is looked at", None, with(nothing("web")), &[][..]),
        ("it is good", None, found.clone(), &[]),
        ("it is adopted", Some(found.clone()), adopted.clone(), &["web@101 took over", "web@101 is served"]),
        ("it stays", Some(adopted.clone()), adopted.clone(), &[]),
        (
            "it is adopted after a while",
            Some(adopted),
            with(at_stage(2, Stage::Installed)),
            &["web@101 is inst", replaces],
        ),
        ("it is replaced", Some(found), under_way(), &[replaces]),
        ("nothing was said before", None, under_way(), &[replaces]),
        ("it was said", Some(under_way()), under_way(), &[]),
    ] {
        let told = told(before, &now, Some(1));
        assert_eq!(told.len(), begins.len(), "{what}: {told:?}");
        assert!(told.iter().zip(begins).all(|(told, begins)| told.starts_with(begins)), "{what}: {told:?}");
    }
}
