//! Every constant of patience, to the second, and what counts as removed.

use super::{
    super::policies::{DELIVERY_PATIENCE, INSTALL_PATIENCE, MISFIT_PATIENCE, REFUSED_PATIENCE},
    *,
};
use crate::planner::backoff::Backoff;

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

/// What is decided in the last second before a patience ends, and when it has ended.
fn around(world: &mut World, manifest: &Manifest, patience: std::time::Duration) -> [Decision; 2] {
    let began = world.now;
    [began + (patience - SECOND), began + patience].map(|now| {
        world.now = now;
        world.one(manifest).decision
    })
}

fn ordered(decision: &Decision) -> Option<(u64, Step)> {
    match decision {
        Decision::Order(order) => Some((order.generation, order.step)),
        _ => None,
    }
}

fn trouble(retry_at: Option<Timestamp>) -> Trouble {
    Trouble { halt: Halt::Waiting, attempt: String::new(), cause: "no".into(), remedy: String::new(), retry_at }
}

#[test]
fn the_patiences_are_what_their_reasons_say() {
    assert_eq!(DELIVERY_PATIENCE, seconds(120));
    assert_eq!(REFUSED_PATIENCE, Backoff::default().max);
    assert_eq!(INSTALL_PATIENCE, seconds(DAY) * 2 / 3);
    assert_eq!(MISFIT_PATIENCE, seconds(30));
    assert_eq!(super::super::turns::MAX_TURN, seconds(600));
}

#[test]
fn an_installation_is_left_alone_for_two_thirds_of_what_was_ordered_and_sixteen_hours_at_most() {
    for (duration, patience) in
        [("30d", INSTALL_PATIENCE), ("24h", INSTALL_PATIENCE), ("3h", seconds(2 * HOUR)), ("10m", seconds(400))]
    {
        let mut world = World::linked();
        let web = web(&format!(r#", "duration": "{duration}""#), "");
        world.report(with_incoming(world.due(), 4, Progress::Delivered));
        let [before, after] = around(&mut world, &web, patience);
        assert_eq!((before, ordered(&after)), (Decision::Keep, Some((5, Step::Ask))), "{duration}");
    }
}

#[test]
fn an_installation_in_trouble_is_given_up_for_a_renewal_that_must_exceed_it() {
    let web = web("", "");
    for (troubled, asked, given_up) in [(true, true, true), (true, false, false), (false, true, false)] {
        let mut world = World::healthy();
        let mut stuck = with_incoming(world.due(), 4, Progress::Delivered);
        stuck.trouble = troubled.then(|| trouble(None));
        world.report(stuck.clone());
        if asked {
            world.reports.request_renewal(&id("web@101"));
        }
        let decision = world.one(&web).decision;
        assert_eq!(ordered(&decision).is_some(), given_up, "troubled: {troubled}, asked: {asked}: {decision}");
    }
    // The installation is of a generation that was ordered for that very wish.
    let mut world = World::healthy();
    world.reports.request_renewal(&id("web@101"));
    let mut stuck = with_incoming(world.due(), 4, Progress::Delivered);
    stuck.trouble = Some(trouble(None));
    world.report(stuck);
    world.keeps(&web);
}

#[test]
fn a_delivery_may_take_two_minutes() {
    let (mut world, web) = (World::linked(), web("", ""));
    world.report(with_incoming(world.due(), 4, request(&key(), &["a.example"])));
    world.reports.delivery_sent(&id("web@101"), 4, world.now);
    let [before, after] = around(&mut world, &web, DELIVERY_PATIENCE);
    assert_eq!((before, ordered(&after)), (Decision::Keep, Some((5, Step::Ask))));
}

#[test]
fn a_refused_delivery_is_repeated_when_the_guest_says_or_after_an_hour_and_never_within_two_minutes() {
    let began = at(NOW);
    for (retry_at, patience) in [
        (None, REFUSED_PATIENCE),
        (Some(began + seconds(10)), DELIVERY_PATIENCE),
        (Some(began + seconds(300)), seconds(300)),
        (Some(began + seconds(2 * HOUR)), seconds(2 * HOUR)),
    ] {
        let (mut world, web) = (World::linked(), web("", ""));
        let mut asking = with_incoming(world.due(), 4, request(&key(), &["a.example"]));
        world.report(asking.clone());
        world.reports.delivery_sent(&id("web@101"), 4, world.now);
        asking.trouble = Some(trouble(retry_at));
        world.report(asking);
        assert_eq!(world.plan(&web).wake_at, Some(began + patience));
        let [before, after] = around(&mut world, &web, patience);
        assert!(matches!(&before, Decision::Wait(t) if t.retry_at == Some(began + patience)), "{before}");
        assert_eq!(ordered(&after), Some((5, Step::Ask)));
    }
}

#[test]
fn a_second_request_that_does_not_fit_is_followed_by_a_pause() {
    let (mut world, web) = (World::linked(), web("", ""));
    for generation in [4, 5] {
        world.report(with_incoming(world.due(), generation, request(&key(), &["evil.example"])));
    }
    let [before, after] = around(&mut world, &web, MISFIT_PATIENCE);
    assert!(matches!(before, Decision::Wait(_)), "{before}");
    assert_eq!(ordered(&after), Some((6, Step::Ask)));
    // One that cannot be read is told as what it is.
    for generation in [6, 7] {
        world.report(with_incoming(world.due(), generation, Progress::Requested(b"not DER".to_vec())));
    }
    assert!(world.waits(&web).cause.starts_with("cannot read the guest's request: "));
}

#[test]
fn a_request_is_signed_only_if_it_exceeds_what_a_renewal_must() {
    let (mut world, web) = (World::healthy(), web("", ""));
    let asking = |world: &World, generation| with_incoming(world.due(), generation, request(&key(), &["a.example"]));
    world.report(with_incoming(world.due(), 5, Progress::Delivered));
    assert_eq!(world.reports.request_renewal(&id("web@101")), 5);
    world.report(asking(&world, 5));
    assert_eq!(ordered(&world.one(&web).decision), Some((6, Step::Ask)));
    world.report(asking(&world, 6));
    assert_eq!(ordered(&world.one(&web).decision), Some((6, Step::Sign)));
}

#[test]
fn what_is_on_its_way_and_older_than_what_is_held_is_nothing() {
    let (mut world, web) = (World::linked(), web("", ""));
    for generation in [2, 3] {
        world.report(with_incoming(world.due(), generation, Progress::Delivered));
        assert_eq!(ordered(&world.one(&web).decision), Some((4, Step::Ask)), "{generation} is there already");
    }
}

#[test]
fn a_failed_attempt_is_repeated_to_the_second() {
    let (mut world, web) = (World::linked(), web("", ""));
    world.reports.attempt_failed(&id("web@101"), trouble(None), &Backoff::default(), world.now);
    let pause = world.waits(&web).retry_at.expect("it is retried").since(world.now);
    let [before, after] = around(&mut world, &web, pause);
    assert!(matches!(before, Decision::Wait(_)), "{before}");
    assert_eq!(ordered(&after), Some((1, Step::Ask)));
}

#[test]
fn a_renewal_is_due_to_the_second() {
    let (mut world, web) = (World::linked(), web(r#", "renew_before": "5d""#, ""));
    world.report(world.held());
    let [before, after] = around(&mut world, &web, seconds(15 * DAY));
    assert_eq!(before, Decision::Keep);
    let Decision::Order(order) = after else { panic!("due: {after}") };
    assert_eq!(order.why, Why::Due { since: world.now });
}

/// A report of what a guest may still have of a placement.
fn left(change: impl FnOnce(&mut PlacementReport)) -> PlacementReport {
    let mut report = PlacementReport::nothing("web".parse().expect("a name"));
    change(&mut report);
    report
}

#[test]
fn a_purge_is_over_when_nothing_of_the_placement_is_left() {
    let purge = web("", r#", "purge": true"#);
    let key = key();
    let held = leaf(&key, &["a.example"], at(NOW), at(NOW) + seconds(DAY));
    let something = [
        left(|report| report.held = holding("web", 3, held.clone()).held),
        left(|report| report.incoming = Some(Incoming { generation: 1, progress: Progress::Delivered })),
        left(|report| report.left_behind = vec!["/etc/ssl/web.crt".parse().expect("a path")]),
        left(|report| report.stage = Stage::Installed),
        left(|report| report.stage = Stage::Served),
    ];
    for report in something {
        let mut world = World::linked();
        world.report(report.clone());
        assert_eq!(world.one(&purge).decision, Decision::Purge, "{report:?}");
        assert_eq!(world.plan(&purge).wake_at, None);
        world.reports.link_down(id("web@101").guest, world.now);
        world.waits(&purge);
    }
    for stage in [Stage::Pending, Stage::Issued] {
        let mut world = World::linked();
        world.report(left(|report| report.stage = stage));
        world.keeps(&purge);
        world.reports.link_down(id("web@101").guest, world.now);
        world.keeps(&purge);
    }
    // A guest of which nobody has heard may have files that an earlier controller put there.
    World::empty().waits(&purge);
}
