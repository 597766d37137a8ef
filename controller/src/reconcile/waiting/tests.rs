//! What who waits is told, and when he is let go.

use pinion_proto::{
    message::Hello,
    report::{GuestFacts, PlacementReport},
    stage::{Halt, Stage},
};

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
    Ensure {
        selection: Selection { names, guest: None, more_guests: Vec::new() },
        renew: false,
        now: false,
        until: Stage::Served,
        wait: false,
    }
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
        let view = View { world, parts, now: at(0) };
        // A busy machine may make a short step a long one.
        self.waiting.rest.end();
        self.waiting.step(&view, &world.plan(&manifest, at(0)), &mut self.effects);
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
    let report = PlacementReport { revision, ..holds(1, leaf(1, at(-60))) };
    link(&mut world, number, vec![report]);
    world
}

/// A guest links whose agent looks when it is asked to, and has this of what is asked for now.
fn link_looking(world: &mut World, number: &str, report: PlacementReport) {
    let manifest = world.manifest().clone();
    let revision = world.plan(&manifest, at(0)).placements[0].revision();
    let facts = GuestFacts { looks: true, ..GuestFacts::default() };
    let reports = vec![PlacementReport { revision, ..report }];
    let hello = Hello { facts, identity_generation: 1, link_count: 0, reports, roots: Vec::new() };
    world.linked(number.parse().expect("a guest"), hello, at(0));
}

/// Which looks were asked for.
fn looks(asker: &mut Asker) -> Vec<(String, u64)> {
    let effects = std::mem::replace(&mut asker.effects, Effects::at(at(0)));
    let looks = effects.into_iter().filter_map(|effect| match effect {
        Effect::Send(id, Outgoing::Look(number)) => Some((id.to_string(), number)),
        _ => None,
    });
    looks.collect()
}

#[test]
fn what_a_guest_said_before_the_question_is_no_answer() {
    let blocked = |looked| PlacementReport {
        stage: Stage::Installed,
        trouble: Some(trouble(Halt::Blocked, "nginx does not start")),
        looked,
        ..holds(1, leaf(1, at(-60)))
    };
    let served = |looked| PlacementReport { looked, ..holds(1, leaf(1, at(-60))) };
    for (what, before, after, expected) in [
        ("served, and served still", served(6), served(7), true),
        ("served, and gone since", served(6), blocked(7), false),
        ("blocked, and mended since", blocked(6), served(7), true),
    ] {
        let mut world = world(WEB);
        link_looking(&mut world, "101", before.clone());
        let mut asker = ask(&mut world, ensure(&[]));
        assert_eq!(
            asker.effects.count(|effect| matches!(effect, Effect::Send(..))),
            0,
            "{what}: after what is desired"
        );
        let Some(Answer::Progress(progress)) = asker.next(&world, &parts()) else { panic!("{what}: it is looked at") };
        let line = &progress.placements[0];
        assert_eq!((line.reached, line.now.as_str(), &line.trouble), (false, "being looked at", &None), "{what}");
        assert_eq!(looks(&mut asker), [("web@101".to_owned(), 7)], "{what}");
        // A report that came for another reason.
        link_looking(&mut world, "101", PlacementReport { last_generation: 5, ..before });
        assert_eq!(reached(asker.next(&world, &parts())), None, "{what}");
        link_looking(&mut world, "101", after);
        assert_eq!(reached(asker.next(&world, &parts())), Some((vec![expected], true)), "{what}");
    }
}

#[test]
fn what_is_blocked_ends_it_when_nothing_is_under_way_unless_that_is_waited_for_too() {
    let blocked = || {
        let report = PlacementReport { looked: 1, ..holds(1, leaf(1, at(-60))) };
        PlacementReport { stage: Stage::Installed, trouble: Some(trouble(Halt::Blocked, "exit 1")), ..report }
    };
    let mut mixed = world(TWO);
    link_looking(&mut mixed, "101", blocked());
    // Guest 102 is away: that is a wait without an end.
    for (wait, expected) in [(false, Some((vec![false, false], true))), (true, Some((vec![false, false], false)))] {
        let mut asker = ask(&mut mixed, Ensure { wait, ..ensure(&[]) });
        let look = mixed.placement(&id("web@101")).map(|entry| entry.report().map_or(0, |report| report.looked));
        link_looking(&mut mixed, "101", PlacementReport { looked: look.unwrap_or(0) + 1, ..blocked() });
        assert_eq!(reached(asker.next(&mixed, &parts())), expected, "{wait}");
    }
    let mut under_way = world(TWO);
    link_looking(&mut under_way, "101", blocked());
    link_looking(&mut under_way, "102", crate::reconcile::testing::nothing("web"));
    let mut asker = ask(&mut under_way, ensure(&[]));
    link_looking(&mut under_way, "101", PlacementReport { looked: 2, ..blocked() });
    assert_eq!(
        reached(asker.next(&under_way, &parts())),
        Some((vec![false, false], false)),
        "102 gets its certificate"
    );
}

#[test]
fn a_manifest_that_is_not_in_force_and_a_guest_that_nobody_knows_are_told() {
    let mut broken = served("101", WEB);
    let problem = Some("/etc/pinion/certificate-manifest.json:3:5: not a name".to_owned());
    broken.set_manifest(crate::manifest::file::InForce { problem, ..broken.in_force().clone() });
    let mut asker = ask(&mut broken, ensure(&[]));
    let answer = asker.answers.try_recv().expect("it is answered");
    assert!(matches!(&answer, Answer::Refused(why) if why.contains("json:3:5: not a name")), "{answer:?}");
    for (guests, is_known) in [(&["101"][..], true), (&["host"], true), (&["999"], false), (&["101", "999"], false)] {
        let selection = Selection::new(Vec::new(), guests.iter().map(ToString::to_string).collect());
        let mut asker = ask(&mut served("101", WEB), Ensure { selection, ..ensure(&[]) });
        let refused = asker.answers.try_recv().ok();
        assert_eq!(refused.is_none(), is_known, "{guests:?}: {refused:?}");
        assert!(refused.is_none_or(|answer| matches!(answer, Answer::NoSuchName(why) if why.contains("999"))));
    }
}

#[test]
fn those_who_wait_for_a_large_fleet_are_told_when_the_work_of_the_last_time_was_rested_from() {
    let world = served("101", WEB);
    let manifest = world.manifest().clone();
    let (mut asker, parts) = (ask(&mut served("101", WEB), ensure(&[])), parts());
    let view = View { world: &world, parts: &parts, now: at(0) };
    let now = Instant::now();
    asker.waiting.rest.worked(now, now + Duration::from_secs(60));
    asker.waiting.step(&view, &world.plan(&manifest, at(0)), &mut asker.effects);
    assert!(asker.answers.try_recv().is_err(), "it takes no part of the next plans");
    assert!(asker.waiting.wake_at().is_some_and(|at| at > now + Duration::from_secs(60)), "and is not forgotten");
    // Somebody else asks, and is not to wait for that.
    let (sender, mut answers) = mpsc::channel(8);
    let mut changed = served("101", WEB);
    asker.waiting.ask(ensure(&[]), &root_user(), sender, &mut changed, &mut asker.effects);
    asker.waiting.step(&view, &world.plan(&manifest, at(0)), &mut asker.effects);
    assert!(answers.try_recv().is_ok() && asker.answers.try_recv().is_ok());
}

#[test]
fn what_makes_no_sense_is_answered_at_once() {
    for (what, ensure) in [
        ("nobody's name", ensure(&["other"])),
        ("one good and one bad", ensure(&["web", "other"])),
        (
            "no guest",
            Ensure {
                selection: Selection { names: Vec::new(), guest: Some("?".into()), more_guests: Vec::new() },
                ..ensure(&[])
            },
        ),
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
            Ensure {
                selection: Selection { names: Vec::new(), guest: Some("101".into()), more_guests: Vec::new() },
                ..ensure(&[])
            },
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
