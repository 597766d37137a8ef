//! Every decision, one situation each.

use std::time::Duration;

use pinion_proto::key::KeyAlgorithm;

use super::*;
use crate::{planner::backoff::Backoff, world::SharedKey};

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

const NIGHT: &str = r#", "window": {"days": ["sat"], "from": "02:00", "to": "04:00"}"#;

#[test]
fn a_renewal_does_not_wait_for_the_window_and_the_guest_is_told_when_it_opens() {
    let mut world = World::linked();
    let web = web("", NIGHT);
    world.report(world.due());
    assert_eq!(world.order(&web).generation, 4);
    let told = world.one(&web).spec().window.expect("there is a window");
    assert_eq!(told.first(), Some(&Opening { opens: at("2026-07-04T02:00:00Z"), closes: at("2026-07-04T04:00:00Z") }));
    assert_eq!(told.get(1).map(|next| next.opens), Some(at("2026-07-11T02:00:00Z")));
    // While it is open it is still the first; once it is over the next one is, without anybody's doing.
    world.now = at("2026-07-04T03:00:00Z");
    assert_eq!(world.one(&web).spec().window.expect("there is a window").first(), told.first());
    assert_eq!(world.plan(&web).wake_at, Some(at("2026-07-04T04:00:00Z")));
    world.now = at("2026-07-04T04:00:00Z");
    assert_eq!(world.one(&web).spec().window.expect("there is a window").first(), told.get(1));
}

#[test]
fn who_asks_by_hand_waits_for_no_window_until_it_is_served() {
    let mut world = World::healthy();
    let web = web("", NIGHT);
    let has_window = |world: &World| world.one(&web).spec().window.is_some();
    assert!(has_window(&world));
    world.reports.request_renewal(&id("web@101"));
    assert_eq!(world.order(&web).why, Why::Requested);
    assert!(!has_window(&world));
    let mut installed = world.held();
    installed.last_generation = 4;
    installed.stage = Stage::Installed;
    installed.held.as_mut().expect("held").generation = 4;
    world.report(installed.clone());
    assert!(!has_window(&world));
    world.report(PlacementReport { stage: Stage::Served, ..installed });
    assert!(has_window(&world));
}

#[test]
fn a_freeze_gives_way_in_the_last_day_of_what_is_served() {
    let mut world = World::healthy();
    let web = web("", "");
    let served = world.held();
    let ends = served.held.as_ref().expect("held").leaf.not_after();
    let last_day = ends - seconds(DAY);
    let told = |world: &mut World, until: Timestamp| {
        let mut freezes = crate::freeze::Freezes::default();
        let by = crate::admin::caller::Caller { uid: 0, name: None };
        freezes.add(Freeze { name: None, guest: None, since: world.now, until: Some(until), by });
        world.reports.set_freezes(freezes);
        world.one(&web).spec().window.expect("it is closed")[0].opens
    };
    // An agent waits for what comes before the end of what it serves, and otherwise until the last day of that.
    let hour = seconds(HOUR);
    assert_eq!(told(&mut world, last_day - hour), last_day - hour);
    assert!(told(&mut world, last_day + hour) > ends + seconds(1000 * DAY), "the last day comes before it is over");

    // The new files are in place: what is held is not what is served, and only the agent knows that.
    let mut installed = served;
    installed.stage = Stage::Installed;
    world.report(installed.clone());
    assert!(told(&mut world, last_day - hour) > ends, "until the agent says how long what is served lasts");
    let waits = |retry_at| Trouble {
        halt: Halt::Waiting,
        attempt: "restart web.service".into(),
        cause: "the new files are in place; the service's window opens later".into(),
        remedy: "nothing".into(),
        retry_at: Some(retry_at),
    };
    world.report(PlacementReport { trouble: Some(waits(last_day)), ..installed.clone() });
    assert_eq!(told(&mut world, last_day - hour), last_day - hour);
    assert!(told(&mut world, last_day + hour) > ends);
    world.report(PlacementReport { trouble: Some(waits(last_day - hour)), ..installed });
    assert_eq!(told(&mut world, last_day - hour), last_day - hour, "it stays as it was told");
    assert!(told(&mut world, last_day) > ends, "the freeze was made longer");
}

#[test]
fn names_of_guests_are_resolved() {
    let mut world = World::healthy();
    let by_name = |name: &str| {
        manifest(&format!(
            r#"{{"version": 1, "certificates": [{{"name": "web", "common_name": "a.example",
                "placements": [{{"guest": "{name}", "recipe": "x"}}]}}]}}"#
        ))
    };
    world.inventory = Inventory::from_names([("gateway".to_owned(), 101.try_into().expect("a VMID"))].into());
    world.keeps(&by_name("gateway"));
    let lost = by_name("gatway");
    let planned = world.one(&lost);
    let Decision::Block(trouble) = &planned.decision else { panic!("blocked") };
    assert_eq!(trouble.cause, "this host knows no guest named gatway");
    assert_eq!((planned.id(), planned.label()), (None, "web@gatway".to_owned()));
}

#[test]
fn a_guest_named_in_two_ways_is_one_guest() {
    let mut world = World::healthy();
    world.inventory = Inventory::from_names([("gateway".to_owned(), 101.try_into().expect("a VMID"))].into());
    let twice = manifest(
        r#"{"version": 1, "certificates": [{"name": "web", "common_name": "a.example", "placements": [
            {"guest": 101, "recipe": "x"}, {"guest": "gateway", "recipe": "y"}]}]}"#,
    );
    let plan = world.plan(&twice);
    let decisions: Vec<_> = plan.placements.iter().map(|planned| &planned.decision).collect();
    assert!(matches!(decisions.as_slice(), [Decision::Keep, Decision::Block(_)]), "{decisions:?}");
}

#[test]
fn what_the_manifest_does_not_name_is_retired() {
    let mut world = World::healthy();
    let mut other = world.held();
    other.certificate = "old".parse().expect("a name");
    world.report(other);
    assert_eq!(world.plan(&web("", "")).retired, [id("old@101")]);
    let nothing = manifest(r#"{"version": 1, "certificates": []}"#);
    assert_eq!(world.plan(&nothing).retired, [id("old@101"), id("web@101")]);
    world.reports.purged(id("old@101").guest, &id("old@101").certificate);
    assert!(world.plan(&web("", "")).retired.is_empty());
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
fn a_shared_key_is_followed_by_all_placements() {
    let shared = manifest(
        r#"{"version": 1, "certificates": [{"name": "web", "common_name": "a.example", "shared": true, "placements": [
            {"guest": 101, "recipe": "x"}, {"guest": 102, "recipe": "x"}]}]}"#,
    );
    let mut world = World::healthy();
    let second = id("web@102").guest;
    let with = |world: &World, key: &KeyPair| {
        holding("web", 3, leaf(key, &["a.example"], world.now, world.now + seconds(30 * DAY)))
    };
    world.reports.hello(second, vec![with(&world, &world.key)], world.now);
    assert!(world.plan(&shared).orders().is_empty(), "both hold the same key, whoever made it");

    // They were not shared before: each has its own.
    let other = key();
    world.reports.report(second, with(&world, &other), world.now);
    let whys: Vec<_> = world.plan(&shared).orders().into_iter().map(|(_, order)| order.why.clone()).collect();
    assert_eq!(whys, vec![Why::KeySharingChanged { shared: true }; 2]);

    // The controller has made a key, and the second has it already.
    let current = with(&world, &other).held.expect("held").leaf.key();
    let current = SharedKey { fingerprint: current, algorithm: KeyAlgorithm::EcdsaP256 };
    world.reports.set_shared_key("web".parse().expect("a name"), current);
    let plan = world.plan(&shared);
    let orders = plan.orders();
    assert_eq!(orders.iter().map(|(planned, _)| planned.label()).collect::<Vec<_>>(), ["web@101"]);
    world.report(with_incoming(world.held(), 4, Progress::Requested(Vec::new())));
    let plan = world.plan(&shared);
    assert_eq!(plan.orders().first().map(|(_, order)| (order.generation, order.step)), Some((4, Step::Sign)));

    // Who has the current key and is due gets a new one; who has an older one follows.
    let report = world.reports.placement(&id("web@102")).and_then(|entry| entry.report()).cloned().expect("a report");
    let policy = shared.certificates.first().and_then(|one| one.content.leaf()).expect("a certificate").key;
    assert!(needs_new_shared_key(Some(&current), policy, report.held.as_ref()));
    assert!(!needs_new_shared_key(Some(&current), policy, world.held().held.as_ref()));
    assert!(!needs_new_shared_key(Some(&current), policy, None));
    assert!(needs_new_shared_key(None, policy, None));
}

#[test]
fn a_key_that_is_no_longer_shared_is_replaced() {
    let mut world = World::healthy();
    let fingerprint = world.held().held.expect("held").leaf.key();
    let shared = SharedKey { fingerprint, algorithm: KeyAlgorithm::EcdsaP256 };
    world.reports.set_shared_key("web".parse().expect("a name"), shared);
    assert_eq!(world.order(&web("", "")).why, Why::KeySharingChanged { shared: false });
    world.keeps(&web(r#", "key": {"rotation": "never"}"#, ""));
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

#[test]
fn orders_stand_by_urgency() {
    let mut world = World::linked();
    let three = manifest(
        r#"{"version": 1, "certificates": [{"name": "web", "common_name": "a.example", "placements": [
            {"guest": 101, "recipe": "x"}, {"guest": 102, "recipe": "x"}, {"guest": 103, "recipe": "x"}]}]}"#,
    );
    for (guest, left) in [("web@101", 9 * DAY), ("web@102", HOUR)] {
        let leaf = leaf(&world.key, &["a.example"], world.now - seconds(21 * DAY), world.now + seconds(left));
        world.reports.hello(id(guest).guest, vec![holding("web", 3, leaf)], world.now);
    }
    world.reports.link_up(id("web@103").guest, world.now);
    let plan = world.plan(&three);
    let labels: Vec<_> = plan.orders().iter().map(|(planned, _)| planned.label()).collect();
    assert_eq!(labels, ["web@103", "web@102", "web@101"]);
}

#[test]
fn a_plan_is_a_document_for_programs() {
    let world = World::linked();
    let json = serde_json::to_value(world.plan(&web("", ""))).expect("a document");
    assert_eq!(
        json.pointer("/placements/0"),
        Some(&serde_json::json!({
            "placement": "web@101", "certificate": "web", "guest": "101", "renew_at": null, "ordered": 1,
            "plan": {"decision": "order", "generation": 1, "step": "ask", "why": {"why": "missing"}, "expires": null},
        }))
    );
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
