//! What is said of guests and recipes that nobody knows.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    inventory::GuestInfo,
    reconcile::testing::{at, holds, in_force, leaf, link, world},
};

fn listed(guests: &[(u32, &str)]) -> Inventory {
    let info = |(number, name): &(u32, &str)| {
        let vmid = Vmid::try_from(*number).expect("a VMID");
        (vmid, GuestInfo { name: Some((*name).to_owned()), ..GuestInfo::default() })
    };
    Inventory::complete(guests.iter().map(info).collect(), &BTreeMap::new())
}

fn manifest(guest: &str, recipe: &str) -> String {
    format!(
        r#"{{"version": 1, "certificates": [{{"name": "web", "common_name": "web.example",
            "placements": [{{"guest": {guest}, "recipe": "{recipe}"}}]}}]}}"#
    )
}

#[test]
fn what_was_probably_meant_is_said() {
    let guests = [(101, "gateway"), (1001, "docker"), (1102, "twin"), (1103, "twin")];
    let cases = [
        ("101", "nginx", None),
        (r#""gateway""#, "nginx", None),
        (
            r#""gatway""#,
            "nginx",
            Some("this host knows no guest named gatway, which web names; did you mean `gateway`?"),
        ),
        (r#""mail""#, "nginx", Some("this host knows no guest named mail, which web names")),
        (r#""twin""#, "nginx", Some("2 guests are named twin: 1102, 1103; web names it")),
        ("1006", "nginx", Some("Proxmox lists no guest 1006, which web names; did you mean 1001 (docker)?")),
        // Two are as near.
        ("1104", "nginx", Some("Proxmox lists no guest 1104, which web names")),
        (
            "101",
            "ngnix",
            Some(
                "no recipe `ngnix` is shipped, and no guest is known to have it, but web names it; did you mean `nginx`?",
            ),
        ),
        ("101", "my-app", Some("no recipe `my-app` is shipped, and no guest is known to have it, but web names it")),
    ];
    for (guest, recipe, expected) in cases {
        let mut world = world(&manifest("101", "files"));
        world.set_inventory(Arc::new(listed(&guests)));
        let wanted = in_force(&manifest(guest, recipe)).manifest;
        let expected: Vec<_> = expected.into_iter().map(ToOwned::to_owned).collect();
        assert_eq!(unknown(&wanted, &world), expected, "{guest} {recipe}");
    }
}

#[test]
fn a_recipe_by_which_a_guest_holds_something_is_known() {
    let text = manifest("101", "my-app");
    let mut world = world(&text);
    let wanted = in_force(&text).manifest;
    assert_eq!(unknown(&wanted, &world).len(), 1);
    link(&mut world, "101", vec![holds(1, leaf(1, at(-60)))]);
    assert_eq!(unknown(&wanted, &world), Vec::<String>::new());
    let meant = unknown(&in_force(&manifest("102", "my-ap")).manifest, &world);
    assert!(meant[0].ends_with("did you mean `my-app`?"), "{meant:?}");
}

#[test]
fn of_a_host_that_has_no_list_yet_nothing_is_said_about_guests() {
    let mut world = world(&manifest("101", "nginx"));
    world.set_inventory(Arc::new(Inventory::awaited(BTreeMap::new())));
    for guest in ["4711", r#""gateway""#] {
        assert_eq!(unknown(&in_force(&manifest(guest, "nginx")).manifest, &world), Vec::<String>::new(), "{guest}");
    }
}
