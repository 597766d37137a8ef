//! What an operator relies on: what the root process tells is what the controller knows, and its silence takes nothing
//! away.

use super::*;
use crate::{
    channel::protocol::Cause,
    inventory::{GuestInfo, GuestKind},
};

fn vmid(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

fn follower() -> Follower {
    let names = [("gateway".to_owned(), vmid(101))];
    Follower::new(Client::new(std::path::Path::new("/nonexistent/channel.sock")), names.into())
}

fn listing(guests: Option<&[u32]>, problem: Option<&str>) -> Listing {
    let info = GuestInfo { kind: Some(GuestKind::Lxc), ..GuestInfo::default() };
    let listed = |numbers: &[u32]| numbers.iter().map(|number| ListedGuest::of(vmid(*number), &info)).collect();
    let problem = problem.map(|cause| InventoryProblem { cause: cause.into(), remedy: "start pve-cluster".into() });
    Listing { revision: Revision { run: 1, number: 1 }, guests: guests.map(listed), problem, states_unknown: None }
}

#[test]
fn before_the_first_list_nothing_is_complete_and_the_reason_is_told() {
    let mut follower = follower();
    let told = follower.known_guests();
    let now = || told.inventory().borrow().clone();
    assert!(now().is_awaited() && !now().is_complete());
    follower.take(Ok(listing(None, Some("cannot read /etc/pve/.vmlist"))));
    let inventory = now();
    assert!(inventory.is_awaited() && inventory.name(vmid(101)) == Some("gateway"));
    let trouble = inventory.problem().expect("a trouble");
    assert!(trouble.cause.contains("/etc/pve/.vmlist") && trouble.remedy.contains("start pve-cluster"), "{trouble}");
    assert_eq!(trouble.halt, Halt::Waiting, "it continues by itself");
    assert_eq!(told.whose(Guest::Vmid(vmid(101)), &GuestFacts::default()), Whose::Unknown);

    follower.take(Ok(listing(Some(&[101, 102]), None)));
    let inventory = now();
    assert!(inventory.is_complete() && inventory.problem().is_none() && inventory.guests().len() == 2);
    assert_eq!(told.whose(Guest::Vmid(vmid(101)), &GuestFacts::default()), Whose::Nobodys);
}

#[test]
fn silence_and_trouble_leave_the_guests_as_they_were_known() {
    let mut follower = follower();
    let told = follower.known_guests();
    follower.take(Ok(listing(Some(&[101]), None)));
    let silence = || Err(Failure::new(Cause::ToolMissing, "the root process cannot be reached"));
    for _ in 1..FAILURES_TOLD {
        follower.take(silence());
        assert_eq!(told.inventory().borrow().problem(), None, "it may be restarted at the moment");
    }
    follower.take(silence());
    let inventory = told.inventory().borrow().clone();
    assert!(inventory.is_complete() && inventory.guest(vmid(101)).is_some());
    let trouble = inventory.problem().expect("a trouble");
    assert!(trouble.remedy.contains("systemctl status pinion-channel"), "{trouble}");

    // A root process that has just begun and finds no files takes nothing away either.
    follower.take(Ok(listing(None, Some("cannot read /etc/pve/.vmlist"))));
    let inventory = told.inventory().borrow().clone();
    assert!(inventory.is_complete() && inventory.guest(vmid(101)).is_some() && inventory.problem().is_some());
    follower.take(Ok(listing(Some(&[]), None)));
    let inventory = told.inventory().borrow().clone();
    assert_eq!((inventory.guests().len(), inventory.is_complete(), inventory.problem()), (0, true, None));
}
