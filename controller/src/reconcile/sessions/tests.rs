//! What a linked guest is sent, how often, and what a full queue costs.

use pinion_proto::{
    clock::Timestamp,
    report::{Found, FoundPair},
};
use tokio::sync::mpsc;

use super::*;
use crate::{
    reconcile::testing::{GuestKey, TWO, WEB, at, guest, holds, id, leaf, link, nothing, root, world},
    world::World,
};

type Queue = mpsc::Receiver<Box<ToAgent>>;

/// Sessions with guest 101 linked, whose queue has this much room.
fn linked(room: usize) -> (Sessions, Queue) {
    let mut sessions = Sessions::default();
    let (outbound, queue) = mpsc::channel(room);
    sessions.open(guest("101"), SessionId::number(1), outbound);
    (sessions, queue)
}

fn send_desired(sessions: &mut Sessions, world: &World, now: Timestamp) {
    let manifest = world.manifest().clone();
    sessions.send_desired(&world.plan(&manifest, now), world, Instant::now());
}

fn is_full(sessions: &mut Sessions) -> bool {
    sessions.resend_at(Instant::now()).is_some()
}

fn received(queue: &mut Queue) -> Vec<&'static str> {
    let mut received = Vec::new();
    while let Ok(message) = queue.try_recv() {
        received.push(match *message {
            ToAgent::Desired(_) => "desired",
            ToAgent::Controllers(_) => "controllers",
            ToAgent::Delivery(_) => "delivery",
            ToAgent::Retry(_) => "retry",
            ToAgent::Look(..) => "look",
            ToAgent::Purge(_) => "purge",
            ToAgent::Root(_) => "root",
            ToAgent::ManifestProblem(Some(_)) => "manifest is broken",
            ToAgent::ManifestProblem(None) => "manifest is good",
            _ => "other",
        });
    }
    received
}

#[test]
fn a_look_is_asked_for_once_a_session() {
    let (mut sessions, mut queue) = linked(8);
    let web = id("web@101");
    for (number, expected) in [(1, &["look"][..]), (1, &[]), (2, &["look"]), (1, &[])] {
        sessions.look(&web, number);
        assert_eq!(received(&mut queue), expected, "{number}");
    }
    let (outbound, mut queue) = mpsc::channel(8);
    sessions.open(guest("101"), SessionId::number(2), outbound);
    sessions.look(&web, 2);
    assert_eq!(received(&mut queue), ["look"], "the agent may not have got it");
}

#[test]
fn what_should_be_held_is_sent_when_it_is_something_else() {
    let (mut sessions, mut queue) = linked(8);
    let (mut one, two) = (world(WEB), world(TWO));
    let cases: [(&str, &dyn Fn(&mut Sessions), &[&str]); 3] = [
        ("at first", &|_| {}, &["desired"]),
        ("nothing is new", &|_| {}, &[]),
        ("there is another manifest", &|sessions| sessions.send_desired_anew(), &["desired"]),
    ];
    for (what, before, expected) in cases {
        before(&mut sessions);
        send_desired(&mut sessions, &one, at(0));
        assert_eq!(received(&mut queue), expected, "{what}");
    }
    link(&mut one, "101", vec![nothing("web")]);
    send_desired(&mut sessions, &one, at(0));
    assert_eq!(received(&mut queue), ["desired"], "a generation is ordered");
    assert_eq!([sessions.ordered(&id("web@101")), sessions.ordered(&id("web@102"))], [Some(1), None]);
    assert_eq!(sessions.ordered(&id("other@101")), None);
    let mut found = nothing("web");
    let leaf = leaf(1, at(0));
    let pair = FoundPair { chain_ends: leaf.not_after(), root: Fingerprint::of(b"root"), leaf };
    found.found = Some(Box::new(Found::Good(pair)));
    link(&mut one, "101", vec![found]);
    send_desired(&mut sessions, &one, at(0));
    assert_eq!(received(&mut queue), ["desired"], "what is there is adopted, under the same number");
    send_desired(&mut sessions, &two, at(0));
    assert_eq!(received(&mut queue), ["desired"], "it was ordered by the other manifest");
    assert!(!is_full(&mut sessions));
}

#[test]
fn what_finds_no_place_is_sent_later() {
    let (mut sessions, mut queue) = linked(1);
    let addresses = ["10.0.0.1:7443".parse().expect("an address")];
    let node = "pve1".parse().expect("a name");
    send_desired(&mut sessions, &world(WEB), at(0));
    sessions.send_addresses(&node, &addresses);
    assert!(is_full(&mut sessions) && !is_full(&mut sessions), "it is asked once");
    assert_eq!(received(&mut queue), ["desired"]);
    send_desired(&mut sessions, &world(WEB), at(0));
    received(&mut queue);
    sessions.send_addresses(&node, &addresses);
    assert_eq!(received(&mut queue), ["controllers"], "this time it finds one");
    sessions.send_addresses(&node, &addresses);
    assert!(received(&mut queue).is_empty(), "it is known");
    sessions.addresses_changed();
    sessions.send_addresses(&node, &[]);
    assert!(received(&mut queue).is_empty(), "there are none to be sent");
    sessions.send_addresses(&node, &addresses);
    assert_eq!(received(&mut queue), ["controllers"], "they are others");
}

#[test]
fn files_are_asked_to_be_removed_once_a_session() {
    let purge = |force| Purge { force, ..Purge::all("old".parse().expect("a name")) };
    let (mut sessions, mut queue) = linked(8);
    for (what, expected) in [("at first", &["purge"][..]), ("once more", &[])] {
        sessions.purge(guest("101"), purge(false));
        assert_eq!(received(&mut queue), expected, "{what}");
    }
    sessions.purge(guest("101"), purge(true));
    assert_eq!(received(&mut queue), ["purge"], "in another way");
    sessions.purged(&id("old@101"));
    sessions.purge(guest("101"), purge(true));
    assert_eq!(received(&mut queue), ["purge"], "after it has answered");
    let (outbound, mut next) = mpsc::channel(8);
    sessions.open(guest("101"), SessionId::number(1), outbound);
    sessions.purge(guest("101"), purge(false));
    assert_eq!(received(&mut next), ["purge"], "on a new link");
    sessions.retry(&id("web@101"));
    assert_eq!(received(&mut next), ["retry"]);
    sessions.purge(guest("102"), purge(false));
    sessions.retry(&id("web@102"));
    assert!(received(&mut next).is_empty(), "102 is not linked");
}

#[test]
fn only_what_finds_a_place_is_delivered() {
    let delivery = || Box::new(GuestKey::new().undelivered(1, at(0)).delivery);
    let (mut sessions, mut queue) = linked(1);
    let found = [
        sessions.deliver(guest("101"), delivery()),
        sessions.deliver(guest("101"), delivery()),
        sessions.deliver(guest("102"), delivery()),
    ];
    assert_eq!(found, [true, false, false], "the second finds the queue full, the third nobody");
    assert!(is_full(&mut sessions));
    assert_eq!(received(&mut queue), ["delivery"]);
    drop(queue);
    assert!(!sessions.deliver(guest("101"), delivery()) && !is_full(&mut sessions), "the link is over");
}

#[test]
fn of_two_sessions_the_later_counts() {
    let (first, second) = (SessionId::number(1), SessionId::number(2));
    let (mut sessions, guest) = (Sessions::default(), guest("101"));
    assert!(sessions.arrives(guest, second));
    assert!(!sessions.arrives(guest, first), "it was overtaken");
    assert!(!sessions.arrives(guest, second), "it has said so");
    let (outbound, _queue) = mpsc::channel(1);
    sessions.open(guest, second, outbound);
    for (what, session, closes) in
        [("the earlier one", first, false), ("it", second, true), ("it again", second, false)]
    {
        assert_eq!(sessions.guests().count(), usize::from(what != "it again"), "{what}");
        assert_eq!(sessions.close(guest, session), closes, "{what}");
    }
    assert_eq!(sessions.guests().count(), 0);
}

#[test]
fn a_session_that_is_ended_takes_no_more() {
    let (mut sessions, mut queue) = linked(8);
    sessions.end(guest("102"));
    sessions.retry(&id("web@101"));
    assert_eq!(received(&mut queue), ["retry"], "another one was ended");
    sessions.end(guest("101"));
    sessions.retry(&id("web@101"));
    assert!(matches!(queue.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
}

#[test]
fn the_next_root_goes_once_to_those_that_know_roots_and_lack_it() {
    let next = EndorsedRoot { root: root(), endorsement: Vec::new() };
    let known = root().fingerprint();
    let cases: [(&str, Vec<Fingerprint>, bool, &[&str]); 4] = [
        ("it has another", vec![known], true, &["root"]),
        ("it has both", vec![known, next.root.fingerprint()], true, &[]),
        ("it knows one root for ever", vec![], true, &[]),
        ("there is no next one", vec![known], false, &[]),
    ];
    for (what, roots, is_next, expected) in cases {
        let (mut sessions, mut queue) = linked(8);
        let next = is_next.then_some(&next);
        sessions.trusts(guest("101"), &roots, next);
        sessions.send_root(next);
        assert_eq!(received(&mut queue), expected, "{what}");
        sessions.send_root(next);
        assert!(received(&mut queue).is_empty(), "{what}: it was sent");
    }
    // One that finds the queue full is sent it later.
    let (mut sessions, mut queue) = linked(1);
    sessions.trusts(guest("101"), &[known], Some(&next));
    sessions.retry(&id("web@101"));
    sessions.send_root(Some(&next));
    assert!(is_full(&mut sessions));
    assert_eq!(received(&mut queue), ["retry"]);
    sessions.send_root(Some(&next));
    assert_eq!(received(&mut queue), ["root"]);
}

#[test]
fn after_a_purge_looks_are_counted_anew() {
    let (mut sessions, mut queue) = linked(8);
    for (number, expected) in [(2, &["look"][..]), (2, &[]), (1, &[])] {
        sessions.look(&id("web@101"), number);
        assert_eq!(received(&mut queue), expected, "{number}");
    }
    sessions.purged(&id("web@101"));
    sessions.look(&id("web@101"), 1);
    assert_eq!(received(&mut queue), ["look"]);
}

/// Guests from 101 on, all linked, whose certificates are due; those of three of them end sooner, and are due sooner.
fn fleet(guests: usize) -> (Sessions, World, Vec<Queue>) {
    let numbers = || (101..).take(guests);
    let placements: Vec<_> = numbers().map(|number| format!(r#"{{"guest": {number}, "recipe": "nginx"}}"#)).collect();
    let manifest = r#"{"version": 1, "certificates": [{"name": "web", "common_name": "web.example", "placements": ["#;
    let mut world = world(&format!("{manifest}{}]}}]}}", placements.join(",")));
    let (mut sessions, mut queues) = (Sessions::default(), Vec::new());
    let later = leaf(1, at(0));
    for (index, number) in numbers().enumerate() {
        let leaf = if index < guests - 3 { later.clone() } else { leaf(1, at(-100)) };
        link(&mut world, &number.to_string(), vec![holds(1, leaf)]);
        let (outbound, queue) = mpsc::channel(8);
        sessions.open(guest(&number.to_string()), SessionId::number(1), outbound);
        queues.push(queue);
    }
    (sessions, world, queues)
}

/// Which of the queues have got something.
fn reached(queues: &mut [Queue]) -> Vec<usize> {
    let got = queues.iter_mut().map(|queue| queue.try_recv().is_ok());
    got.enumerate().filter_map(|(index, got)| got.then_some(index)).collect()
}

#[test]
fn of_many_orders_the_most_urgent_go_at_once_and_all_of_them_in_time() {
    const MANY: usize = stagger::ORDERS as usize * 2 + 10;
    let (mut sessions, mut world, mut queues) = fleet(MANY);
    let (manifest, due, start) = (world.manifest().clone(), at(25 * 86_400), Instant::now());
    world.request_renewal(&id("web@103"), true);
    let mut send = |world: &World, intervals: u32| {
        let now = start + stagger::INTERVAL * intervals;
        sessions.send_desired(&world.plan(&manifest, due), world, now);
        (reached(&mut queues), sessions.resend_at(now))
    };
    let (first, next) = send(&world, 0);
    assert_eq!(first.len(), 64);
    assert!([2, MANY - 3, MANY - 2, MANY - 1].iter().all(|urgent| first.contains(urgent)), "{first:?}");
    assert_eq!(next, Some(start + stagger::INTERVAL));
    let (nothing, next) = send(&world, 0);
    assert!(nothing.is_empty() && next.is_some(), "{nothing:?}");
    let (second, _) = send(&world, 1);
    assert_eq!(second.len(), 64);
    let (third, next) = send(&world, 2);
    assert_eq!((third.len(), next), (10, None));
    let mut all = [first, second, third].concat();
    all.sort_unstable();
    assert_eq!(all, (0..MANY).collect::<Vec<_>>(), "each was sent its order once");
}

#[test]
fn a_small_fleet_is_ordered_at_once_and_what_is_no_order_waits_for_none() {
    let (mut sessions, world, mut queues) = fleet(stagger::ORDERS as usize);
    send_desired(&mut sessions, &world, at(25 * 86_400));
    assert_eq!(reached(&mut queues).len(), queues.len());
    assert_eq!(sessions.resend_at(Instant::now()), None);

    let (mut sessions, world, mut queues) = fleet(200);
    send_desired(&mut sessions, &world, at(0));
    assert_eq!(reached(&mut queues).len(), 200, "nothing is due");
    send_desired(&mut sessions, &world, at(25 * 86_400));
    let first = reached(&mut queues);
    assert_eq!(first.len(), 64);
    sessions.send_desired_anew();
    send_desired(&mut sessions, &world, at(25 * 86_400));
    assert_eq!(reached(&mut queues), first, "to them it is nothing new");
}
