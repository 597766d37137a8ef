//! What who waits is told, and when he is let go.

use pinion_proto::stage::{Halt, Stage};

use super::*;
use crate::{
    admin::protocol::Selection,
    reconcile::{
        effects::{Effect, When},
        parts::Parts,
        testing::{TWO, WEB, at, holds, id, leaf, link, parts, root_user, trouble, world},
    },
};

fn ensure(names: &[&str]) -> Ensure {
    let names = names.iter().map(ToString::to_string).collect();
    Ensure { selection: Selection { names, guest: None }, renew: false, now: false, until: Stage::Served }
}

struct Asker {
    waiting: Waiting,
    answers: mpsc::Receiver<Answer>,
    effects: Effects,
}

/// Somebody asks, and is believed to have waited long enough for old troubles to count.
fn ask(world: &mut World, ensure: Ensure) -> Asker {
    let (sender, answers) = mpsc::channel(8);
    let (mut waiting, mut effects) = (Waiting::default(), Effects::at(at(0)));
    waiting.ask(ensure, &root_user(), sender, world, &mut effects);
    // Troubles of before are not believed yet, and it is looked at them again.
    assert_eq!(waiting.wake_at().is_some(), !waiting.waiters.is_empty());
    waiting.waiters.iter_mut().for_each(|waiter| waiter.believed_from = Instant::now());
    Asker { waiting, answers, effects }
}

impl Asker {
    /// What is answered to the next plan.
    fn next(&mut self, world: &World, parts: &Parts) -> Option<Answer> {
        let manifest = world.manifest().clone();
        self.waiting.step(&View { world, parts, now: at(0) }, &world.plan(&manifest, at(0)));
        self.answers.try_recv().ok()
    }
}

/// The lines of an answer: which are reached, and whether it is the last.
fn reached(answer: Option<Answer>) -> Option<(Vec<bool>, bool)> {
    let (progress, last) = match answer? {
        Answer::Progress(progress) => (progress, false),
        Answer::Ensured(progress) => (progress, true),
        other => panic!("{other:?}"),
    };
    Some((progress.placements.iter().map(|line| line.reached).collect(), last))
}

fn served(number: &str, manifest: &str) -> World {
    let mut world = world(manifest);
    let manifest = world.manifest().clone();
    let revision = world.plan(&manifest, at(0)).placements[0].revision();
    let report = pinion_proto::report::PlacementReport { revision, ..holds(1, leaf(1, at(-60))) };
    link(&mut world, number, vec![report]);
    world
}

#[test]
fn what_makes_no_sense_is_answered_at_once() {
    for (what, ensure) in [
        ("nobody's name", ensure(&["other"])),
        ("one good and one bad", ensure(&["web", "other"])),
        ("no guest", Ensure { selection: Selection { names: Vec::new(), guest: Some("?".into()) }, ..ensure(&[]) }),
    ] {
        let mut asker = ask(&mut world(WEB), ensure);
        let answer = asker.answers.try_recv().expect("it is answered");
        assert!(matches!(answer, Answer::NoSuchName(_) | Answer::Refused(_)), "{what}: {answer:?}");
        assert!(asker.waiting.waiters.is_empty() && asker.effects.is_empty(), "{what}");
    }
}

#[test]
fn who_has_what_he_wants_is_let_go_at_once() {
    let cases = [
        ("served", served("101", WEB), ensure(&[]), vec![true]),
        ("by its name", served("101", TWO), ensure(&["web@101"]), vec![true]),
        (
            "by its guest",
            served("101", TWO),
            Ensure { selection: Selection { names: Vec::new(), guest: Some("101".into()) }, ..ensure(&[]) },
            vec![true],
        ),
    ];
    for (what, mut world, ensure, expected) in cases {
        let mut asker = ask(&mut world, ensure);
        assert_eq!(reached(asker.next(&world, &parts())), Some((expected, true)), "{what}");
        assert!(asker.waiting.waiters.is_empty(), "{what}");
    }
}

#[test]
fn who_waits_is_told_each_change_once() {
    let mut world = world(TWO);
    link(&mut world, "101", Vec::new());
    link(&mut world, "102", Vec::new());
    let mut asker = ask(&mut world, ensure(&[]));
    assert_eq!(reached(asker.next(&world, &parts())), Some((vec![false, false], false)));
    assert_eq!(reached(asker.next(&world, &parts())), None, "nothing is new");
    let report = served("101", TWO).report(&id("web@101")).cloned();
    link(&mut world, "101", report.into_iter().collect());
    assert_eq!(reached(asker.next(&world, &parts())), Some((vec![true], false)), "only what is new");
    let report = served("102", TWO).report(&id("web@102")).cloned();
    link(&mut world, "102", report.into_iter().collect());
    assert_eq!(reached(asker.next(&world, &parts())), Some((vec![true, true], true)), "and at the end everything");
}

#[test]
fn what_needs_a_person_ends_the_waiting_once_it_is_believed() {
    for (what, halt, ends) in [("it waits", Halt::Waiting, false), ("it needs a person", Halt::Blocked, true)] {
        let mut world = served("101", WEB);
        let mut report = world.report(&id("web@101")).cloned().expect("reported");
        (report.stage, report.trouble) = (Stage::Installed, Some(trouble(halt, "nginx does not start")));
        link(&mut world, "101", vec![report]);
        let mut asker = ask(&mut world, ensure(&[]));
        asker.waiting.waiters[0].believed_from = Instant::now() + FRESH;
        assert_eq!(reached(asker.next(&world, &parts())), Some((vec![false], false)), "{what}: it may be an old one");
        assert!(asker.waiting.wake_at().is_some(), "{what}");
        asker.waiting.waiters[0].believed_from = Instant::now();
        let expected = ends.then(|| (vec![false], true));
        assert_eq!((reached(asker.next(&world, &parts())), asker.waiting.wake_at()), (expected, None), "{what}");
    }
}

#[test]
fn who_goes_away_waits_no_longer() {
    let mut world = world(WEB);
    let mut asker = ask(&mut world, ensure(&[]));
    asker.answers.close();
    asker.next(&world, &parts());
    assert!(asker.waiting.waiters.is_empty());
}

#[test]
fn what_is_asked_for_is_written_and_tried_at_once() {
    let renew = |now| Ensure { renew: true, now, ..ensure(&[]) };
    let mut troubled = served("101", WEB);
    let mut report = troubled.report(&id("web@101")).cloned().expect("reported");
    report.trouble = Some(trouble(Halt::Waiting, "nginx does not start"));
    link(&mut troubled, "101", vec![report]);
    let cases = [
        ("to look", served("101", WEB), ensure(&[]), [0, 0, 0], None),
        ("to renew", served("101", WEB), renew(false), [1, 0, 1], Some((1, false))),
        ("to renew now", served("101", WEB), renew(true), [1, 0, 1], Some((1, true))),
        ("something held up", troubled, ensure(&[]), [0, 1, 0], None),
    ];
    for (what, mut world, ensure, expected, asked) in cases {
        let asker = ask(&mut world, ensure);
        let found = [
            asker.effects.count(|effect| matches!(effect, Effect::Save(_, When::AtOnce))),
            asker.effects.count(|effect| matches!(effect, Effect::Send(_, Outgoing::Retry))),
            asker.effects.texts().len(),
        ];
        assert_eq!(found, expected, "{what}");
        let entry = world.placement(&id("web@101")).expect("known");
        assert_eq!(entry.renew_above().map(|above| (above, entry.is_hurried())), asked, "{what}");
    }
    let mut nowhere = world(WEB);
    let mut asker = ask(&mut nowhere, ensure(&["web@101"]));
    assert_eq!(reached(asker.next(&nowhere, &parts())).map(|(lines, _)| lines), Some(vec![false]));
}
