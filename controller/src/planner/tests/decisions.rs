//! Every decision, one situation each.

use std::time::Duration;

use super::*;
use crate::planner::backoff::Backoff;

#[test]
fn a_good_certificate_is_kept() {
    let (world, web) = (World::healthy(), web("", ""));
    world.keeps(&web);
    let planned = world.one(&web);
    assert_eq!(planned.ordered, None);
    assert!(planned.renew_at.is_some_and(|at| at > world.now));
    assert_eq!(world.plan(&web).wake_at, planned.renew_at);
}

#[test]
fn nothing_held_is_ordered_as_the_next_generation() {
    let mut world = World::linked();
    let web = web("", "");
    let order = world.order(&web);
    assert_eq!((order.generation, order.step, order.why, order.expires), (1, Step::Ask, Why::Missing, None));
    // The guest has used numbers before.
    let mut report = PlacementReport::nothing("web".parse().expect("a name"));
    report.last_generation = 7;
    world.report(report);
    assert_eq!(world.order(&web).generation, 8);
    assert_eq!(world.one(&web).spec().ordered, Some(8));
}

#[test]
fn a_request_that_fits_is_signed_and_its_generation_stays() {
    let mut world = World::healthy();
    let web = web("", "");
    world.report(with_incoming(world.due(), 4, request(&key(), &["a.example"])));
    let order = world.order(&web);
    assert_eq!((order.generation, order.step), (4, Step::Sign));
    assert_eq!(order.expires, Some(world.now + seconds(9 * DAY)));
    assert_eq!(world.one(&web).ordered, Some(4));
}

#[test]
fn a_request_that_no_longer_fits_makes_a_fresh_generation() {
    for (certificate, progress) in [
        (r#", "sans": ["b.example"]"#, request(&key(), &["a.example"])),
        (r#", "key": {"algorithm": "ed25519"}"#, request(&key(), &["a.example"])),
        (r#", "shared": true"#, request(&key(), &["a.example"])),
        ("", Progress::Requested(Vec::new())),
        ("", Progress::Requested(b"not DER".to_vec())),
    ] {
        let mut world = World::linked();
        world.report(with_incoming(world.due(), 4, progress));
        let order = world.order(&web(certificate, ""));
        assert_eq!((order.generation, order.step), (5, Step::Ask), "{certificate}");
    }
}

#[test]
fn another_common_name_among_the_same_names_is_ordered_at_once_and_once() {
    let mut world = World::linked();
    let web = web(r#", "sans": ["b.example"]"#, "");
    let named = |common_name: Option<&str>, world: &World| {
        let (from, until) = (world.now - seconds(10 * DAY), world.now + seconds(20 * DAY));
        let mut report = world.held_for(&["a.example", "b.example"], from, until);
        report.held.as_mut().expect("it holds one").common_name = common_name.map(|name| name.parse().expect(name));
        report
    };
    world.report(named(Some("b.example"), &world));
    let order = world.order(&web);
    assert_eq!((order.generation, order.step), (4, Step::Ask));
    assert_eq!(order.why.to_string(), "common name changed from dns:b.example to dns:a.example");
    // What the certificate says of itself is the CA's affair: here it says nothing at all.
    world.report(named(Some("a.example"), &world));
    world.keeps(&web);
    // An agent that does not say what was ordered is not asked in a circle.
    world.report(named(None, &world));
    world.keeps(&web);
}

#[test]
fn a_request_with_another_common_name_is_not_signed() {
    let mut world = World::linked();
    let web = web("", "");
    world.report(with_incoming(world.due(), 4, request_as("b.example", &key(), &["a.example"])));
    let order = world.order(&web);
    assert_eq!((order.generation, order.step), (5, Step::Ask));
    world.report(with_incoming(world.due(), 5, request_as("a.example", &key(), &["a.example"])));
    assert_eq!(world.order(&web).step, Step::Sign);
}

#[test]
fn an_agent_whose_requests_never_fit_is_not_asked_in_a_circle() {
    let mut world = World::linked();
    let web = web("", "");
    world.report(with_incoming(world.due(), 4, request(&key(), &["evil.example"])));
    assert_eq!(world.order(&web).generation, 5);
    world.report(with_incoming(world.due(), 5, request(&key(), &["evil.example"])));
    let trouble = world.waits(&web);
    assert!(trouble.cause.contains("does not have the names"), "{trouble}");
    assert_eq!(trouble.retry_at, world.plan(&web).wake_at);
    world.now = trouble.retry_at.expect("it is tried again");
    assert_eq!(world.order(&web).generation, 6);
}

#[test]
fn an_agent_that_has_delivered_may_be_asked_at_once_again() {
    let mut world = World::linked();
    let web = web("", "");
    world.report(with_incoming(world.due(), 4, request(&key(), &["old.example"])));
    world.report(with_incoming(world.due(), 5, request(&key(), &["a.example"])));
    let mut report = world.due();
    report.last_generation = 5;
    report.held.as_mut().expect("held").generation = 5;
    world.report(report.clone());
    world.report(with_incoming(report, 6, request(&key(), &["old.example"])));
    assert_eq!(world.order(&web).generation, 7);
}

#[test]
fn what_is_being_installed_is_left_to_the_guest() {
    let mut world = World::healthy();
    let web = web("", "");
    world.report(with_incoming(world.due(), 4, Progress::Delivered));
    world.keeps(&web);
    assert_eq!(world.one(&web).ordered, Some(4), "the guest goes on with it");
    // But not for ever: what waits there expires, too.
    world.now = world.plan(&web).wake_at.expect("the patience ends");
    assert_eq!(world.order(&web).generation, 5);
}

#[test]
fn a_person_gets_past_an_installation_that_is_stuck() {
    let mut world = World::healthy();
    let web = web("", "");
    let mut stuck = with_incoming(world.due(), 4, Progress::Delivered);
    world.report(stuck.clone());
    stuck.trouble = Some(trouble(Halt::Blocked));
    world.report(stuck);
    world.keeps(&web);
    world.reports.request_renewal(&id("web@101"));
    assert_eq!(world.order(&web).generation, 5);
}

#[test]
fn the_reasons_for_a_new_generation() {
    let changed = |certificate: &str| {
        let world = World::healthy();
        world.order(&web(certificate, "")).to_string()
    };
    assert_eq!(changed(r#", "sans": ["10.0.0.1"]"#), "order generation 4: names changed: +ip:10.0.0.1");
    assert_eq!(
        changed(r#", "key": {"algorithm": "rsa-2048"}"#),
        "order generation 4: key changed from ecdsa-p256 to rsa-2048"
    );
    assert_eq!(changed(r#", "issuer": "step-ca""#), "order generation 4: issuer changed from embedded to step-ca");

    let mut world = World::linked();
    let held = world.held_for(&["a.example", "b.example"], world.now, world.now + seconds(DAY));
    world.report(held);
    assert_eq!(world.order(&web("", "")).to_string(), "order generation 4: names changed: -dns:b.example");
}

#[test]
fn names_are_a_set() {
    let mut world = World::linked();
    let names = ["127.0.0.1", "a.example", "::1"];
    world.report(world.held_for(&names, world.now, world.now + seconds(30 * DAY)));
    world.keeps(&web(r#", "sans": ["0:0::1", "A.EXAMPLE", "127.0.0.1"]"#, ""));
}

#[test]
fn a_renewal_that_is_asked_for_is_ordered_until_it_is_there() {
    let mut world = World::healthy();
    let web = web("", "");
    assert_eq!(world.reports.request_renewal(&id("web@101")), 3);
    assert_eq!(world.order(&web).why, Why::Requested);
    world.report(with_incoming(world.held(), 4, request(&key(), &["a.example"])));
    assert_eq!(world.reports.request_renewal(&id("web@101")), 3, "4 will be new enough");
    assert_eq!(world.order(&web).generation, 4);
    let mut held = world.held();
    held.last_generation = 4;
    held.held.as_mut().expect("held").generation = 4;
    world.report(held);
    world.keeps(&web);
}

#[test]
fn what_was_sent_before_the_clock_moved_back_is_followed_by_another_generation() {
    let web = web("", "");
    let placement = id("web@101");
    // The guest asks, has been sent something, and has not said that it has it: it may install that yet, even when its
    // link has broken meanwhile.
    let mut world = World::healthy();
    for broken in [true, false] {
        world = World::healthy();
        world.report(with_incoming(world.due(), 4, request(&key(), &["a.example"])));
        world.reports.delivery_sent(&placement, 4, world.now);
        if broken {
            world.reports.link_down(placement.guest, world.now);
            world.reports.link_up(placement.guest, world.now);
        }
        world.reports.request_another(&placement);
        world.reports.clock_moved_back(world.now);
        let order = world.order(&web);
        assert_eq!((order.generation, order.step), (5, Step::Ask), "4 is given no other content; broken: {broken}");
    }
    // It installs it: that is not the end of it.
    world.report(with_incoming(world.due(), 4, Progress::Delivered));
    let mut installed = world.held();
    installed.last_generation = 4;
    installed.held.as_mut().expect("held").generation = 4;
    world.report(installed);
    assert_eq!(world.order(&web).generation, 5);

    // It installs something at the moment when the clock is set back, whoever had asked for it.
    for asked in [false, true] {
        let mut world = World::healthy();
        if asked {
            world.reports.request_renewal(&placement);
        }
        world.report(with_incoming(world.due(), 4, Progress::Delivered));
        world.reports.request_another(&placement);
        world.reports.clock_moved_back(world.now);
        let mut installed = world.held();
        installed.last_generation = 4;
        installed.held.as_mut().expect("held").generation = 4;
        world.report(installed);
        assert_eq!(world.order(&web).generation, 5, "asked for before: {asked}");
    }

    // It asks, and nothing has been sent: its request is as good as before.
    let mut world = World::healthy();
    world.report(with_incoming(world.due(), 4, request(&key(), &["a.example"])));
    world.reports.request_another(&placement);
    world.reports.clock_moved_back(world.now);
    let order = world.order(&web);
    assert_eq!((order.generation, order.step), (4, Step::Sign));
}

#[test]
fn an_unlinked_guest_is_waited_for_only_when_there_is_something_to_do() {
    let mut world = World::empty();
    let web = web("", "");
    let trouble = world.waits(&web);
    assert_eq!(trouble.cause, "no agent of guest 101 has linked yet");
    assert!(trouble.remedy.contains("pinion token create --guest 101"));

    world.report(world.held());
    world.reports.link_up(id("web@101").guest, world.now);
    world.reports.link_down(id("web@101").guest, world.now);
    world.keeps(&web);
    world.pass(19 * DAY);
    let trouble = world.waits(&web);
    assert_eq!(trouble.cause, "the agent of guest 101 is not linked since 2026-07-01T12:00:00Z");
    assert_eq!((trouble.halt, trouble.retry_at), (Halt::Waiting, None));
    assert_eq!(world.plan(&web).wake_at, None, "only the guest can end this");
}

#[test]
fn a_delivery_on_its_way_is_awaited_and_a_lost_one_replaced_by_another_generation() {
    let mut world = World::linked();
    let web = web("", "");
    let asking = with_incoming(world.due(), 4, request(&key(), &["a.example"]));
    world.report(asking.clone());
    world.reports.delivery_sent(&id("web@101"), 4, world.now);
    world.keeps(&web);
    assert_eq!(world.one(&web).ordered, Some(4));
    // The same report again was perhaps written before the delivery came.
    world.report(asking.clone());
    world.keeps(&web);
    world.now = world.plan(&web).wake_at.expect("the patience ends");
    let order = world.order(&web);
    assert_eq!((order.generation, order.step), (5, Step::Ask), "4 might be there with another content");

    // A link that breaks says for certain that nothing is on its way.
    world.reports.link_down(id("web@101").guest, world.now);
    world.reports.hello(id("web@101").guest, vec![asking], world.now);
    assert_eq!((world.order(&web).generation, world.order(&web).step), (4, Step::Sign));
}

#[test]
fn a_refused_delivery_is_not_repeated_at_once() {
    let mut world = World::linked();
    let web = web("", "");
    let mut asking = with_incoming(world.due(), 4, request(&key(), &["a.example"]));
    world.report(asking.clone());
    world.reports.delivery_sent(&id("web@101"), 4, world.now);
    asking.trouble = Some(trouble(Halt::Blocked));
    world.report(asking);
    let Decision::Block(said) = world.one(&web).decision else { panic!("blocked") };
    assert_eq!(said.cause, "no such thing");
    world.pass(HOUR);
    assert_eq!(world.order(&web).generation, 5);
}

#[test]
fn a_failed_attempt_holds_the_next_one_back() {
    let mut world = World::linked();
    let web = web("", "");
    let backoff = Backoff::default();
    world.reports.attempt_failed(&id("web@101"), trouble(Halt::Waiting), &backoff, world.now);
    let first = world.waits(&web).retry_at.expect("it is retried");
    assert_eq!(world.plan(&web).wake_at, Some(first));
    let (pause, delay) = (first.since(world.now), backoff.delay(1, &id("web@101")));
    assert!(pause >= delay && pause < delay + Duration::from_secs(1), "{pause:?} for {delay:?}");
    world.now = first;
    assert_eq!(world.order(&web).generation, 1);

    world.reports.attempt_failed(&id("web@101"), trouble(Halt::Blocked), &backoff, world.now);
    let Decision::Block(_) = world.one(&web).decision else { panic!("blocked") };
    world.reports.attempt_succeeded(&id("web@101"));
    assert_eq!(world.order(&web).generation, 1);

    world.reports.attempt_failed(&id("web@101"), trouble(Halt::Blocked), &backoff, world.now);
    world.reports.forget_attempts();
    assert_eq!(world.order(&web).generation, 1);
}

#[test]
fn a_good_request_outlives_an_outage_of_the_issuer() {
    let mut world = World::linked();
    let web = web("", "");
    world.report(with_incoming(world.due(), 4, request(&key(), &["a.example"])));
    world.reports.attempt_failed(&id("web@101"), trouble(Halt::Waiting), &Backoff::default(), world.now);
    world.waits(&web);
    assert_eq!(world.one(&web).spec().ordered, Some(4));
    assert!(world.one(&web).spec().trouble.is_some());
}

#[test]
fn a_purge_lasts_until_nothing_is_left() {
    let mut world = World::healthy();
    let purge = web("", r#", "purge": true"#);
    assert_eq!(world.one(&purge).decision, Decision::Purge);
    assert!(world.one(&purge).spec().purge);
    world.reports.link_down(id("web@101").guest, world.now);
    world.waits(&purge);
    world.reports.hello(id("web@101").guest, Vec::new(), world.now);
    world.keeps(&purge);
    world.reports.forget(id("web@101").guest);
    world.waits(&purge);
}

#[test]
fn numbers_that_cannot_grow_are_not_ordered() {
    let mut world = World::linked();
    let mut report = world.due();
    report.last_generation = u64::MAX;
    world.report(report);
    assert!(matches!(world.one(&web("", "")).decision, Decision::Block(_)));
}

#[test]
fn what_a_guest_no_longer_names_in_its_hello_is_not_there() {
    let mut world = World::healthy();
    world.reports.hello(id("web@101").guest, Vec::new(), world.now);
    assert_eq!(world.order(&web("", "")).why, Why::Missing);
}

#[test]
fn a_restart_of_the_controller_changes_no_decision() {
    let mut world = World::linked();
    let web = web("", "");
    world.report(with_incoming(world.due(), 4, request(&key(), &["a.example"])));
    world.reports.attempt_failed(&id("web@101"), trouble(Halt::Waiting), &Backoff::default(), world.now);
    world.reports.request_renewal(&id("web@101"));
    world.reports.link_down(id("web@101").guest, world.now);
    let before = world.one(&web).decision;
    let record = world.reports.record(id("web@101").guest, world.now).expect("something is known");
    let json = serde_json::to_string(&record).expect("a document");
    world.reports = Reports::default();
    world.reports.restore(serde_json::from_str(&json).expect("the document"));
    assert_eq!(world.one(&web).decision, before);
    world.reports.link_up(id("web@101").guest, world.now);
    assert_eq!(world.order(&web).step, Step::Sign);
}

fn trouble(halt: Halt) -> Trouble {
    Trouble {
        halt,
        attempt: "sign web@101".to_owned(),
        cause: "no such thing".to_owned(),
        remedy: String::new(),
        retry_at: None,
    }
}
