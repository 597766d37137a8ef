//! A guest that the manifest means by a name that it has no more.

use std::sync::Arc;

use super::*;
use crate::inventory::{GuestInfo, KnownNames};

fn vmid(number: u32) -> pinion_proto::id::Vmid {
    number.try_into().expect("a VMID")
}

/// A world in which `gateway` has meant guest 101, and these are the names now.
fn after_renaming(mut world: World, names: &[(u32, &str)]) -> World {
    let known = KnownNames::default().with("gateway".parse().expect("a name"), vmid(101));
    let info = |(number, name): &(u32, &str)| {
        (vmid(*number), GuestInfo { name: Some((*name).to_owned()), ..GuestInfo::default() })
    };
    world.inventory = Inventory::complete(names.iter().map(info).collect(), &BTreeMap::new());
    world.inventory = world.inventory.clone().with_known_names(Arc::new(known));
    world
}

fn by_name() -> Manifest {
    manifest(
        r#"{"version": 1, "certificates": [{"name": "web", "common_name": "a.example",
            "placements": [{"guest": "gateway", "recipe": "x"}]}]}"#,
    )
}

#[test]
fn nothing_is_ordered_for_the_guest_that_took_the_name_and_what_is_held_is_not_retired() {
    let wanted = by_name();
    let taken = [(101, "gateway-old"), (102, "gateway")];
    let mut world = after_renaming(World::healthy(), &taken);
    world.report(world.due());
    world.reports.link_up(id("web@102").guest, world.now);
    let plan = world.plan(&wanted);
    let [planned] = plan.placements.as_slice() else { panic!("one placement") };
    let Decision::Block(trouble) = &planned.decision else { panic!("held: {}", planned.decision) };
    assert!(trouble.cause.contains("and is named gateway-old now; gateway is guest 102 now"), "{trouble}");
    assert_eq!((planned.id(), planned.ordered), (Some(id("web@101")), None), "it is where it was");
    assert_eq!((plan.retired, planned.renew_at.is_some()), (vec![], true), "and what it holds is known still");

    let world = after_renaming(world, &[(101, "gateway")]);
    assert!(matches!(world.one(&wanted).decision, Decision::Order(_)), "named so again, it is renewed");
    let world = after_renaming(world, &[(101, "gateway"), (120, "gateway")]);
    assert!(matches!(world.one(&wanted).decision, Decision::Order(_)), "whoever else is named so now");
}

#[test]
fn a_guest_that_is_gone_leaves_its_name_to_the_next() {
    let wanted = by_name();
    let mut world = after_renaming(World::empty(), &[(102, "gateway")]);
    world.reports.link_up(id("web@102").guest, world.now);
    let planned = world.one(&wanted);
    assert!(matches!(planned.decision, Decision::Order(_)), "{}", planned.decision);
    assert_eq!(planned.id(), Some(id("web@102")));
}

#[test]
fn the_files_of_a_renamed_guest_are_not_removed() {
    let wanted = manifest(
        r#"{"version": 1, "certificates": [{"name": "web", "common_name": "a.example",
            "placements": [{"guest": "gateway", "recipe": "x", "purge": true}]}]}"#,
    );
    let world = after_renaming(World::healthy(), &[(101, "gateway-old")]);
    assert!(matches!(world.one(&wanted).decision, Decision::Block(_)));
    let world = after_renaming(World::healthy(), &[(101, "gateway")]);
    assert_eq!(world.one(&wanted).decision, Decision::Purge);
}
