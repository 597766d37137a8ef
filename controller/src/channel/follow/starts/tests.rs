//! Two guests with one card: the one that calls is believed when each was looked into, and not before.

use std::collections::BTreeMap;

use pinion_proto::{hwaddr::HwAddr, id::Guest, report::GuestFacts};

use super::*;
use crate::{
    identity::Whose,
    inventory::{GuestInfo, GuestKind, Node},
};

fn vmid(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

fn card() -> HwAddr {
    HwAddr::parse("BC:24:11:00:00:01").expect("an address")
}

fn running() -> GuestInfo {
    GuestInfo { kind: Some(GuestKind::Lxc), running: Some(true), hwaddrs: vec![card()], ..GuestInfo::default() }
}

fn inventory(guests: &[(u32, GuestInfo)]) -> Inventory {
    let guests = guests.iter().map(|(number, info)| (vmid(*number), info.clone()));
    Inventory::complete(guests.collect(), &BTreeMap::new())
}

fn whose(starts: &Starts, inventory: &Inventory, claimed: u32, start: &str) -> Whose {
    let facts = GuestFacts { boot_id: start.into(), hwaddrs: vec![card()], ..GuestFacts::default() };
    let which =
        |inventory: &Inventory, guests: &[Vmid], start: &str| starts.which(inventory, vmid(claimed), guests, start);
    inventory.whose(Guest::Vmid(vmid(claimed)), &facts, which)
}

fn saw(starts: &Starts, number: u32, what: Result<Start, Failure>) {
    starts.seen().guests.insert(vmid(number), Sight { what, at: Instant::now() });
}

fn runs(start: &str) -> Result<Start, Failure> {
    Ok(Start::Runs(start.into()))
}

fn failed() -> Result<Start, Failure> {
    Err(Failure::new(Cause::NoGuestAgent, "VM 120: No QEMU guest agent configured"))
}

/// Whom to look into now.
fn due(starts: &Starts, inventory: &Inventory) -> Vec<u32> {
    let (due, _) = starts.seen().due(inventory, &inventory.alike_groups(), Instant::now());
    due.into_iter().map(|target| target.vmid.number()).collect()
}

#[test]
fn a_copy_that_is_listed_as_stopped_may_have_been_started_this_moment() {
    let starts = Starts::default();
    let stopped = GuestInfo { running: Some(false), ..running() };
    let template = GuestInfo { template: true, ..running() };
    let guests = inventory(&[(101, running()), (9000, template.clone())]);
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Its, "a template never runs");
    let guests = inventory(&[(101, running()), (120, stopped.clone()), (9000, template)]);
    assert_eq!(due(&starts, &guests), [0; 0], "nobody is looked into before anybody calls");
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Alike(vmid(120)));
    assert_eq!(due(&starts, &guests), [101, 120]);
    saw(&starts, 101, runs("a"));
    saw(&starts, 120, Ok(Start::Stopped));
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Its);
    assert_eq!(whose(&starts, &guests, 101, "b"), Whose::Alike(vmid(120)), "it was started since");

    // The original is off, and its copy runs.
    let guests = inventory(&[(101, stopped), (120, running())]);
    saw(&starts, 101, Ok(Start::Stopped));
    saw(&starts, 120, runs("b"));
    assert_eq!(whose(&starts, &guests, 101, "b"), Whose::Anothers(vmid(120)));
}

#[test]
fn a_guest_without_a_way_in_is_what_is_left_when_the_others_are_off() {
    let starts = Starts::default();
    let stopped = GuestInfo { running: Some(false), ..running() };
    let guests = inventory(&[(101, running()), (120, stopped)]);
    saw(&starts, 120, Ok(Start::Stopped));
    saw(&starts, 101, failed());
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Alike(vmid(120)), "the other may have been started since");
    saw(&starts, 120, Ok(Start::Stopped));
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Its, "it was off while this one called");
    assert_eq!(whose(&starts, &guests, 101, "b"), Whose::Alike(vmid(120)), "another caller may be the other");
    saw(&starts, 120, runs("b"));
    assert_eq!(whose(&starts, &guests, 101, "b"), Whose::Alike(vmid(120)), "not each was looked into");
}

#[test]
fn both_are_looked_into_before_either_is_believed() {
    let starts = Starts::default();
    let guests = inventory(&[(101, running()), (120, running())]);
    assert_eq!(due(&starts, &guests), [101, 120], "before anybody calls");
    for start in ["a", "b"] {
        assert_eq!(whose(&starts, &guests, 101, start), Whose::Alike(vmid(120)));
    }
    saw(&starts, 101, runs("a"));
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Alike(vmid(120)), "one of the two says nothing of the other");
    saw(&starts, 120, runs("b"));
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Its);
    assert_eq!(whose(&starts, &guests, 101, "b"), Whose::Anothers(vmid(120)));
    assert_eq!(whose(&starts, &guests, 120, "b"), Whose::Its);
    assert_eq!(starts.seen().alike(&guests, &guests.alike_groups()), []);

    // A later start of one of them is looked into, and an agent that does not say which start it is, is none of them.
    starts.seen().called.clear();
    assert_eq!(due(&starts, &guests), [0; 0]);
    assert_eq!(whose(&starts, &guests, 101, "a2"), Whose::Alike(vmid(120)));
    assert_eq!(starts.seen().called, [vmid(101), vmid(120)].into());
    assert_eq!(whose(&starts, &guests, 101, ""), Whose::Alike(vmid(120)));
}

#[test]
fn where_one_cannot_be_looked_into_none_is_let_in_and_that_is_told() {
    let starts = Starts::default();
    let vm = GuestInfo { kind: Some(GuestKind::Qemu), ..running() };
    let guests = inventory(&[(101, running()), (120, vm)]);
    saw(&starts, 101, runs("a"));
    saw(&starts, 120, failed());
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Alike(vmid(120)));
    let alike = starts.seen().alike(&guests, &guests.alike_groups());
    let [Alike { guests: both, trouble }] = &alike[..] else { panic!("{alike:?}") };
    assert_eq!(both, &[vmid(101), vmid(120)]);
    assert!(trouble.attempt.contains("guests 101 and 120") && trouble.cause.contains("guest agent"), "{trouble}");
    assert!(trouble.remedy.contains("qm set 120 --net0") && trouble.halt == Halt::Blocked, "{trouble}");

    saw(&starts, 120, runs("a"));
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Alike(vmid(120)), "they are told apart by nothing");
    assert_eq!(starts.seen().alike(&guests, &guests.alike_groups()).len(), 1);
}

#[test]
fn what_was_seen_of_the_other_before_the_call_says_nothing_of_it_now() {
    let starts = Starts::default();
    let guests = inventory(&[(101, running()), (120, running())]);
    saw(&starts, 101, runs("a"));
    saw(&starts, 120, runs("b"));
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Its, "an agent that was only restarted is known at once");
    for start in ["c", "d"] {
        assert_eq!(whose(&starts, &guests, 101, start), Whose::Alike(vmid(120)), "both were started since");
    }
    saw(&starts, 101, runs("c"));
    assert_eq!(whose(&starts, &guests, 101, "c"), Whose::Alike(vmid(120)), "the other is being looked into");
    saw(&starts, 120, failed());
    assert_eq!(whose(&starts, &guests, 101, "c"), Whose::Alike(vmid(120)), "it could not be");
    saw(&starts, 120, runs("d"));
    assert_eq!(whose(&starts, &guests, 101, "c"), Whose::Its);
    assert_eq!(whose(&starts, &guests, 101, "d"), Whose::Anothers(vmid(120)));
}

#[test]
fn a_guest_of_another_node_is_never_taken_for_one_of_this() {
    let starts = Starts::default();
    let far = GuestInfo { node: Node::Elsewhere("pve2".into()), running: None, ..running() };
    let guests = inventory(&[(101, running()), (120, far)]);
    assert_eq!(due(&starts, &guests), [101], "there is no way into the other from here");
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Alike(vmid(120)));
    saw(&starts, 101, runs("a"));
    assert_eq!(whose(&starts, &guests, 101, "a"), Whose::Its);
    assert_eq!(whose(&starts, &guests, 101, "b"), Whose::Alike(vmid(120)));
}

#[test]
fn a_caller_that_dials_on_does_not_have_it_looked_into_each_time() {
    let starts = Starts::default();
    let guests = inventory(&[(101, running()), (120, running())]);
    for number in [101, 120] {
        saw(&starts, number, runs(&number.to_string()));
    }
    whose(&starts, &guests, 101, "another");
    let due = |at: Instant| {
        let (due, next) = starts.seen().due(&guests, &guests.alike_groups(), at);
        (due.into_iter().map(|target| target.vmid.number()).collect::<Vec<_>>(), next)
    };
    let now = Instant::now();
    let (targets, next) = due(now);
    assert!(targets.is_empty() && next.is_some_and(|next| next <= now + LOOK_AGAIN), "{targets:?} {next:?}");
    assert_eq!(due(now + LOOK_AGAIN), (vec![101, 120], None), "it is not forgotten");
    assert_eq!(due(now + LOOK_AGAIN * 2).0, [0; 0], "nor done twice");
    saw(&starts, 120, Ok(Start::Stopped));
    assert_eq!(due(now).0, [120], "it was started since");
}

#[test]
fn a_caller_with_its_neighbours_cards_has_nobody_looked_into() {
    let other = |number: u32| {
        let card = HwAddr::parse(&format!("BC:24:11:00:01:{number:02X}")).expect("an address");
        (200 + number, GuestInfo { hwaddrs: vec![card], ..running() })
    };
    let neighbours: Vec<_> = (0..64).map(other).collect();
    let all: Vec<_> = [(101, running()), (120, running())].into_iter().chain(neighbours.clone()).collect();
    let guests = inventory(&all);
    let hwaddrs = all.iter().flat_map(|(_, info)| info.hwaddrs.clone()).collect();
    let facts = GuestFacts { boot_id: "nobody's".into(), hwaddrs, ..GuestFacts::default() };
    let call = |starts: &Starts, claimed: u32| {
        let which =
            |inventory: &Inventory, guests: &[Vmid], start: &str| starts.which(inventory, vmid(claimed), guests, start);
        guests.whose(Guest::Vmid(vmid(claimed)), &facts, which)
    };
    let starts = Starts::default();
    call(&starts, 200);
    assert!(starts.seen().called.is_empty() && starts.seen().callers.is_empty());
    call(&starts, 101);
    assert_eq!(starts.seen().called, [vmid(101), vmid(120)].into(), "those that are alike");
    let which = |guests: &[Vmid], start: &str| starts.which_by_now(&inventory(&all), vmid(101), guests, start);
    starts.seen().called.clear();
    assert_eq!(which(&[vmid(101), vmid(120)], "a"), None);
    assert!(starts.seen().called.is_empty(), "nothing is found out");
}

#[test]
fn invented_starts_leave_room_for_other_guests_callers() {
    let starts = Starts::default();
    let stopped = GuestInfo { running: Some(false), ..running() };
    let card = HwAddr::parse("BC:24:11:00:00:02").expect("an address");
    let pair = |info: GuestInfo| GuestInfo { hwaddrs: vec![card], ..info };
    let guests = inventory(&[(101, running()), (120, stopped.clone()), (102, pair(running())), (121, pair(stopped))]);
    for number in 0..1000 {
        whose(&starts, &guests, 101, &format!("invented {number}"));
    }
    assert_eq!(starts.seen().callers[&vmid(101)].len(), MAX_CALLERS);
    let call = || starts.which(&guests, vmid(102), &[vmid(102), vmid(121)], "a");
    assert_eq!(call(), None);
    saw(&starts, 121, Ok(Start::Stopped));
    saw(&starts, 102, failed());
    assert_eq!(call(), Some(vmid(102)));
}
