//! Whose link ends when the inventory says that it is another machine.

use std::collections::BTreeMap;

use pinion_proto::id::Vmid;

use super::*;
use crate::{
    inventory::GuestInfo,
    reconcile::{
        effects::Effect,
        testing::{WEB, at, guest, link, resources, world},
    },
};

fn vmid(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

/// Guest 101 with this `vmgenid`.
fn inventory(vmgenid: Option<&str>) -> Inventory {
    let info = GuestInfo { vmgenid: vmgenid.map(Into::into), ..GuestInfo::default() };
    Inventory::complete([(vmid(101), info)].into(), &BTreeMap::new())
}

fn ended(effects: &Effects) -> usize {
    effects.count(|effect| matches!(effect, Effect::EndSession(_)))
}

#[test]
fn a_machine_with_another_vmgenid_was_rolled_back() {
    let cases = [
        ("nothing changes", Some("a"), Some("a"), 0),
        ("another one", Some("a"), Some("b"), 1),
        ("it was not known", None, Some("b"), 0),
        ("it is not known any more", Some("a"), None, 0),
        ("a container has none", None, None, 0),
    ];
    for (what, before, next, expected) in cases {
        let mut world = world(WEB);
        world.set_inventory(std::sync::Arc::new(inventory(before)));
        let mut effects = Effects::at(at(0));
        step(&world, &inventory(next), &[guest("101")], |_, _| Whose::Its, &mut effects);
        assert_eq!(ended(&effects), expected, "{what}");
    }
    let mut effects = Effects::at(at(0));
    step(&world(WEB), &inventory(Some("b")), &[], |_, _| Whose::Its, &mut effects);
    assert_eq!(ended(&effects), 0, "nobody is linked");
}

#[test]
fn what_was_let_in_before_the_hypervisor_spoke_shows_who_it_is() {
    let awaited = || Inventory::awaited(BTreeMap::new());
    let cases = [
        ("it is the guest", awaited(), Whose::Its, 0),
        ("it is another guest", awaited(), Whose::Anothers(vmid(102)), 1),
        ("it is one of several", awaited(), Whose::Alike(vmid(102)), 1),
        ("nobody can tell", awaited(), Whose::Nobodys, 0),
        ("it is a stranger", awaited(), Whose::Strange, 0),
        ("the hypervisor had spoken before", inventory(None), Whose::Anothers(vmid(102)), 0),
    ];
    for (what, before, whose, expected) in cases {
        let mut world = world(WEB);
        world.set_inventory(std::sync::Arc::new(before));
        link(&mut world, "101", Vec::new());
        let mut effects = Effects::at(at(0));
        step(&world, &inventory(None), &[guest("101")], |_, _| whose, &mut effects);
        assert_eq!((ended(&effects), effects.texts().len()), (expected, expected), "{what}");
    }
}

#[test]
fn a_guest_that_nobody_can_tell_from_a_copy_is_locked() {
    let (_directory, resources) = resources(crate::issuer::Issuers::of([]));
    let mut effects = Effects::at(at(0));
    let setback = Setback::Links { said: 3, known: 5 };
    let facts = GuestFacts::default();
    let turned = taken_back(guest("101"), &setback, &facts, &world(WEB), &resources.identities, &mut effects);
    assert_eq!((turned, ended(&effects)), (Turned::Locked, 1));
    assert!(effects.texts()[0].starts_with("Guest 101 is locked, because it was rolled back to a snapshot, or cloned"));
}
