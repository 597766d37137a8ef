//! What is told of an issuer's roots, and what the planner is given.

use std::num::NonZeroU16;

use pinion_proto::bundle::RootCertificate;

use super::*;
use crate::{
    issuer::{BoxFuture, Issuer, IssuerCheck, Roots, Signed, SigningRequest},
    reconcile::testing::{WEB, at, root, world},
};

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

/// An issuer that is away, and has said once which roots it has.
#[derive(Debug)]
struct Away(Option<IssuerRoots>);

fn away() -> IssuerError {
    IssuerError::Unavailable { message: "connection refused".into() }
}

impl Issuer for Away {
    fn sign<'a>(&'a self, _: &'a SigningRequest) -> BoxFuture<'a, Result<Signed, IssuerError>> {
        Box::pin(async { Err(away()) })
    }

    fn check(&self) -> BoxFuture<'_, Result<IssuerCheck, IssuerError>> {
        Box::pin(async { Err(away()) })
    }

    fn roots(&self) -> Option<&dyn Roots> {
        Some(self)
    }
}

impl Roots for Away {
    fn now(&self) -> BoxFuture<'_, Result<IssuerRoots, IssuerError>> {
        Box::pin(async { Err(away()) })
    }

    fn last_said(&self) -> Option<IssuerRoots> {
        self.0.clone()
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_millis(1))
    }
}

#[tokio::test]
async fn each_answer_that_does_not_come_is_said_and_what_was_said_last_is_used_where_nothing_is_known() {
    let (a, b) = (root(), root());
    let (old, newer) = (roots(&[&a], &a), roots(&[&a, &b], &b));
    let cases = [(None, None, None), (Some(old.clone()), None, Some(old.clone())), (Some(old), Some(newer), None)];
    for (said_last, known, expected) in cases {
        let issuers: Box<dyn Issuer> = Box::new(Away(said_last));
        let issuers = Arc::new(Issuers::of([(issuer(), issuers, NonZeroU16::MIN)]));
        let mut world = world(WEB);
        if let Some(known) = known {
            world.apply(Change::Roots(issuer(), known), at(0));
        }
        let (mut queries, mut answers) = RootQueries::new();
        queries.step(world.manifest(), &issuers);
        for _ in 0..2 {
            let answer = tokio::time::timeout(Duration::from_secs(60), answers.recv()).await;
            let answer = answer.expect("in time").expect("an answer");
            assert!(matches!(answer.1, Err(IssuerError::Unavailable { .. })), "{answer:?}");
            let mut effects = Effects::at(at(0));
            take(&world, &issuers, answer, &mut effects);
            let expected = expected.clone().map(|roots| Change::Roots(issuer(), roots));
            assert_eq!(effects.changes(), expected.iter().collect::<Vec<_>>());
        }
        assert!(issuers.calls()[&issuer()].down_since.is_some(), "metrics and page know it too");
    }
}

#[test]
fn an_issuer_that_does_not_answer_is_asked_each_minute_at_least() {
    let day = Duration::from_secs(24 * 60 * 60);
    let cases = [(1, None, 5_000), (3, None, 20_000), (50, None, 60_000), (50, Some(day), 60_000)];
    let often = Duration::from_millis(200);
    for (failures, every, expected) in cases.into_iter().chain([(1, Some(often), 200), (50, Some(often), 200)]) {
        assert_eq!(asked_again_after(failures, every).as_millis(), expected, "{failures} {every:?}");
    }
}
