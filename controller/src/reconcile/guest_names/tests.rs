//! What names mean is kept over a restart, and is what a person says.

use std::{collections::BTreeMap, sync::Arc};

use pinion_proto::id::Vmid;

use super::*;
use crate::{
    inventory::{GuestInfo, Inventory},
    reconcile::{
        resources::Resources,
        testing::{at, guest, in_force, resources, root_user},
    },
    world,
};

const BY_NAME: &str = r#"{"version": 1, "certificates": [{"name": "web", "common_name": "web.example",
    "placements": [{"guest": "gateway", "recipe": "nginx"}]}]}"#;

fn listed(guests: &[(u32, &str)]) -> Arc<Inventory> {
    let info = |(number, name): &(u32, &str)| {
        let vmid = Vmid::try_from(*number).expect("a VMID");
        (vmid, GuestInfo { name: Some((*name).to_owned()), ..GuestInfo::default() })
    };
    Arc::new(Inventory::complete(guests.iter().map(info).collect(), &BTreeMap::new()))
}

/// The world after a start, with these guests; and what happened.
fn started(resources: &Resources, guests: &[(u32, &str)]) -> (World, Vec<String>) {
    let in_force = in_force(BY_NAME);
    let mut world = world::restore(&resources.store, &resources.events, in_force, resources.backoff, at(0));
    world.set_inventory(listed(guests));
    let mut effects = Effects::at(at(0));
    GuestNames::default().step(&world, &resources.store, &mut effects);
    let texts = effects.texts().into_iter().map(ToOwned::to_owned).collect();
    effects.apply(&mut world);
    (world, texts)
}

fn meant(world: &World) -> (Option<Guest>, bool) {
    let gateway = GuestRef::Name("gateway".parse().expect("a name"));
    (world.inventory().resolve(&gateway).ok(), world.inventory().renamed(&gateway).is_some())
}

#[test]
fn what_a_name_means_survives_a_restart() {
    let (_directory, resources) = resources(crate::issuer::Issuers::of([]));
    let (world, texts) = started(&resources, &[(101, "gateway")]);
    assert_eq!((meant(&world), texts.len()), ((Some(guest("101")), false), 0));
    // Everything happens while the controller is down.
    let swapped = [(101, "old"), (102, "gateway")];
    let (world, texts) = started(&resources, &swapped);
    assert_eq!((meant(&world), texts.len()), ((Some(guest("101")), true), 1), "{texts:?}");
    let (world, texts) = started(&resources, &swapped);
    assert_eq!((meant(&world), texts.len()), ((Some(guest("101")), true), 0), "{texts:?}");
    let (world, texts) = started(&resources, &[(102, "gateway")]);
    assert_eq!((meant(&world), texts.len()), ((Some(guest("102")), false), 1), "{texts:?}");
}

#[test]
fn a_person_says_which_guest_is_meant() {
    let (_directory, resources) = resources(crate::issuer::Issuers::of([]));
    let ask = |world: &mut World, name: &str| {
        let mut effects = Effects::at(at(0));
        let name = name.parse().expect("a name");
        let answer = GuestNames::default().accept(&name, world, &resources.store, &root_user(), &mut effects);
        let said = effects.texts().len();
        effects.apply(world);
        (answer, said)
    };
    started(&resources, &[(101, "gateway")]);
    let swapped = [(101, "old"), (102, "gateway"), (103, "other")];
    let (mut world, _) = started(&resources, &swapped);
    assert!(matches!(ask(&mut world, "other"), (Answer::NoSuchName(_), 0)), "the manifest does not name it");
    assert_eq!((ask(&mut world, "gateway"), meant(&world)), ((Answer::End, 1), (Some(guest("102")), false)));
    let (mut world, texts) = started(&resources, &swapped);
    assert_eq!((meant(&world), texts.len()), ((Some(guest("102")), false), 0), "it is kept: {texts:?}");
    world.set_inventory(listed(&[(101, "old")]));
    assert!(matches!(ask(&mut world, "gateway"), (Answer::NoSuchName(_), 0)), "nobody has the name");
    world.set_inventory(listed(&[(101, "gateway"), (102, "gateway")]));
    assert!(matches!(ask(&mut world, "gateway"), (Answer::Refused(_), 0)), "two have it");
}

#[test]
fn what_cannot_be_written_is_written_with_a_later_pass() {
    let (directory, resources) = resources(crate::issuer::Issuers::of([]));
    let in_force = in_force(BY_NAME);
    let mut world = world::restore(&resources.store, &resources.events, in_force, resources.backoff, at(0));
    world.set_inventory(listed(&[(101, "gateway")]));
    let mut part = GuestNames::default();
    // A directory where the document is to be cannot be replaced.
    let document = directory.path().join("local/guest-names.json");
    std::fs::create_dir(&document).expect("made");
    for written in [false, true] {
        let mut effects = Effects::at(at(0));
        part.step(&world, &resources.store, &mut effects);
        effects.apply(&mut world);
        assert_eq!((document.is_file(), part.unwritten), (written, !written));
        std::fs::remove_dir(&document).ok();
    }
}
