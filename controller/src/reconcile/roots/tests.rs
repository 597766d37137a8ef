//! What is told of an issuer's roots, and what the planner is given.

use pinion_proto::bundle::RootCertificate;

use super::*;
use crate::reconcile::testing::{WEB, at, root, world};

fn issuer() -> PlainName {
    "embedded".parse().expect("a name")
}

fn roots(current: &[&RootCertificate], signing: &RootCertificate) -> IssuerRoots {
    IssuerRoots {
        current: current.iter().copied().cloned().collect(),
        former: Vec::new(),
        signing: signing.fingerprint(),
    }
}

/// What is told when an issuer that had these roots says those, and whether the planner is given them.
fn told(before: Option<IssuerRoots>, now: IssuerRoots) -> (Vec<String>, bool) {
    let mut world = world(WEB);
    if let Some(before) = before {
        world.apply(Change::Roots(issuer(), before), at(0));
    }
    let mut effects = Effects::at(at(0));
    learn(&world, (issuer(), now.clone()), &mut effects);
    let given = effects.changes().contains(&&Change::Roots(issuer(), now));
    (effects.texts().into_iter().map(ToOwned::to_owned).collect(), given)
}

#[test]
fn each_root_is_told_when_it_comes_and_when_it_goes() {
    let (a, b) = (root(), root());
    let cases: [(&str, Option<IssuerRoots>, IssuerRoots, &[&str], bool); 6] = [
        ("the first answer", None, roots(&[&a], &a), &[], true),
        ("the same", Some(roots(&[&a], &a)), roots(&[&a], &a), &[], false),
        ("one more", Some(roots(&[&a], &a)), roots(&[&a, &b], &a), &["has a new root"], true),
        ("another signs", Some(roots(&[&a, &b], &a)), roots(&[&a, &b], &b), &["signs under root"], true),
        ("one less", Some(roots(&[&a, &b], &b)), roots(&[&b], &b), &["no longer uses root"], true),
        (
            "all at once",
            Some(roots(&[&a], &a)),
            roots(&[&b], &b),
            &["has a new root", "no longer uses root", "signs under root"],
            true,
        ),
    ];
    for (what, before, now, expected, given) in cases {
        let (texts, found) = told(before, now);
        assert_eq!((texts.len(), found), (expected.len(), given), "{what}: {texts:?}");
        for (text, part) in texts.iter().zip(expected) {
            assert!(text.starts_with(&format!("embedded {part}")), "{what}: {text}");
        }
    }
}

#[test]
fn a_certificate_shows_under_which_of_the_roots_its_issuer_signs() {
    let (a, b, c) = (root(), root(), root());
    let both = roots(&[&a, &b], &a);
    let cases = [
        ("nothing is known", None, &a, None),
        ("the one that is known", Some(both.clone()), &a, None),
        ("another of them", Some(both.clone()), &b, Some(roots(&[&a, &b], &b))),
        ("one that the issuer does not name", Some(both), &c, None),
    ];
    for (what, before, signed, expected) in cases {
        let mut world = world(WEB);
        if let Some(before) = before {
            world.apply(Change::Roots(issuer(), before), at(0));
        }
        let mut effects = Effects::at(at(0));
        signed_under(&world, &issuer(), signed.fingerprint(), &mut effects);
        let expected = expected.map(|roots| Change::Roots(issuer(), roots));
        assert_eq!(effects.changes(), expected.iter().collect::<Vec<_>>(), "{what}");
    }
}

#[tokio::test]
async fn an_issuer_is_asked_while_the_manifest_names_it() {
    let (mut queries, mut answers) = RootQueries::new();
    let issuers = Arc::new(Issuers::of([]));
    let other = WEB.replace(r#""name": "web","#, r#""name": "web", "issuer": "step-ca","#);
    let mut asked = Vec::new();
    for manifest in [WEB, WEB, &other] {
        queries.step(world(manifest).manifest(), &issuers);
        asked.push(queries.tasks.iter().map(|(name, task)| (name.to_string(), task.id())).collect::<Vec<_>>());
    }
    assert_eq!(asked[0], asked[1], "it is asked by one task");
    let names: Vec<_> = asked.iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["embedded", "embedded", "step-ca"]);
    drop(queries);
    let end = tokio::time::timeout(Duration::from_secs(60), answers.recv()).await;
    assert!(matches!(end, Ok(None)), "nobody asks any more");
}
