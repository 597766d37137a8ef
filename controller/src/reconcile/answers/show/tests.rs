//! Which placements a name shows, and which of them are on a page.

use super::*;
use crate::reconcile::testing::{TWO, at, holds, leaf, link, nothing, parts, world};

/// What is shown by a name; guest 101 has two placements that the manifest does not name, and 103 nothing at all.
fn shown(name: &str, from: usize, count: usize) -> Option<ShownPage> {
    let mut world = world(TWO);
    let old = |name: &str| pinion_proto::report::PlacementReport {
        certificate: name.parse().expect("a name"),
        ..holds(1, leaf(1, at(-60)))
    };
    link(&mut world, "101", vec![nothing("web"), old("old1"), old("old2")]);
    link(&mut world, "103", Vec::new());
    let manifest = world.manifest().clone();
    let plan = world.plan(&manifest, at(0));
    match show(View { world: &world, parts: &parts(), now: at(0) }, &AskShow { name: name.into(), from, count }, &plan)
    {
        Answer::Shown(shown) => Some(*shown),
        Answer::NoSuchName(_) => None,
        other => panic!("{other:?}"),
    }
}

fn labels(shown: &ShownPage) -> Vec<&str> {
    shown.placements.iter().map(|status| status.placement.as_str()).collect()
}

#[test]
fn a_name_is_a_certificates_a_placements_or_a_guests() {
    let cases: [(&str, &str, bool, &[&str]); 6] = [
        ("a certificate", "web", false, &["web@101", "web@102"]),
        ("a placement", "web@102", false, &["web@102"]),
        ("a guest", "101", true, &["web@101", "old1@101", "old2@101"]),
        ("a guest without any", "103", true, &[]),
        ("a certificate that is not in the manifest", "old1", false, &["old1@101"]),
        ("a placement that is not in the manifest", "old2@101", false, &["old2@101"]),
    ];
    for (what, name, is_guest, expected) in cases {
        let shown = shown(name, 0, 10).expect(what);
        assert_eq!((labels(&shown), shown.total), (expected.to_vec(), expected.len()), "{what}");
        assert_eq!(shown.guest.map(|guest| guest.guest.to_string()), is_guest.then(|| name.to_owned()), "{what}");
    }
    for name in ["nobody", "104", "web@104", "a b"] {
        assert_eq!(shown(name, 0, 10), None, "{name}");
    }
}

#[test]
fn a_page_has_what_was_asked_for_and_one_at_least() {
    let cases: [(usize, usize, &[&str]); 7] = [
        (0, 10, &["web@101", "old1@101", "old2@101"]),
        (0, 2, &["web@101", "old1@101"]),
        (0, 1, &["web@101"]),
        (1, 1, &["old1@101"]),
        (2, 5, &["old2@101"]),
        (3, 5, &[]),
        (0, 0, &["web@101"]),
    ];
    for (from, count, expected) in cases {
        let shown = shown("101", from, count).expect("a guest");
        assert_eq!((labels(&shown), shown.from, shown.total), (expected.to_vec(), from, 3), "{from} {count}");
        assert!(shown.placements.iter().all(|status| status.retired == status.placement.starts_with("old")));
    }
}
