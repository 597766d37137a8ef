//! A guest that was destroyed: its identity is refused, and what it held is told until a person has taken note.

use pinion_controller::events::Kind;
use pinion_tests::{
    damage::{Damage, Damaged},
    guest::Guest,
    journal,
};

use crate::proxmox_files::{NODE, Pve, host, wait_status};

#[test]
fn a_destroyed_guest_is_reported_until_a_person_takes_note() {
    let mut host = host(&[("web", 1001)]);
    let mut pve = Pve::for_host(&host);
    host.start_again().expect("the controller starts");
    let guest = Guest::join(&host, 1001).expect("a guest joins");
    host.ensure(&["web"], "installed").expect("installed");

    pve.destroy(1001);
    // It is known over a restart that the guest was there.
    host.restart().expect("the controller starts again");
    let told = journal::wait_event(&host, Kind::Destroyed, &["Guest 1001 was destroyed", "pinion guest forget 1001"]);
    told.expect("an event");
    let status = wait_status(&host, "the retired placement", |status| {
        status.placement("web@1001").is_some_and(|placement| placement.retired) && !status.is_linked("1001")
    });
    let trouble = status.placement("web@1001").and_then(|placement| placement.trouble.clone()).expect("a trouble");
    assert!(trouble.cause.contains("guest 1001 was destroyed") && trouble.remedy.contains("forget"), "{trouble}");
    let asked = host.pinion(&["ensure", "web", "--until", "installed", "--timeout", "20s"]).expect("it runs");
    assert_eq!(asked.code(), 4, "what it said last does not count any more: {asked}");
    journal::wait_event(&host, Kind::Refused, &["guest 1001 is unknown here"]).expect("its identity is refused");

    host.pinion(&["guest", "forget", "1001"]).expect("it runs").succeeded().expect("noted");
    let again = host.pinion(&["guest", "forget", "1001"]).expect("it runs");
    assert_eq!(again.code(), 6, "{again}");
    let status = host.status().expect("it answers");
    let trouble = status.placement("web@1001").and_then(|placement| placement.trouble.clone()).expect("a trouble");
    assert!(trouble.cause.contains("no guest 1001 on this cluster"), "the manifest still names it: {trouble}");

    // The same number made anew is a new guest, and the old one's agent stays out.
    pve.write(1001, NODE, "qemu-server", "name: docker\n");
    drop(guest);
    let guest = Guest::join(&host, 1001).expect("the new guest joins");
    host.ensure(&["web"], "installed").expect("installed");
    drop(guest);
}

#[test]
fn the_destruction_of_the_last_guest_is_noticed() {
    let mut host = host(&[("web", 1001), ("other", 101)]);
    let mut pve = Pve::for_host(&host);
    host.start_again().expect("the controller starts");
    let guest = Guest::join(&host, 1001).expect("a guest joins");
    host.ensure(&["web"], "installed").expect("installed");
    pve.destroy(101);
    // All at once would be a cluster that has lost its files.
    wait_status(&host, "the first to go", |status| status.guest("101").is_some_and(|guest| guest.missing));
    pve.destroy_last(1001);
    journal::wait_event(&host, Kind::Destroyed, &["Guest 1001 was destroyed"]).expect("it is noticed");
    let status = wait_status(&host, "no trouble of the host's", |status| status.troubles.is_empty());
    assert!(!status.is_linked("1001"), "{status:?}");
    drop(guest);
}

#[test]
fn which_guests_were_there_is_never_overwritten_by_a_guess() {
    let mut host = host(&[("web", 1001)]);
    let mut pve = Pve::for_host(&host);
    host.start_again().expect("the controller starts");
    let mut guest = Guest::join(&host, 1001).expect("a guest joins");
    host.ensure(&["web"], "installed").expect("installed");
    host.stop().expect("the controller stops");
    let path = host.root().join("var/lib/pinion/local/listed-guests.json");
    for damage in Damage::ALL {
        let damaged = Damaged::new(&path, damage).expect("damaged");
        host.start_again().unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        journal::wait_event(&host, Kind::Failed, &["listed-guests.json"]).expect("it is told");
        guest.wait_linked(&host).unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        host.ensure(&["web"], "installed").unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        host.stop().expect("the controller stops");
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        damaged.repair().expect("it is repaired");
    }
    // It says what it said before: that the guest was there.
    pve.destroy(1001);
    host.start_again().expect("the controller starts");
    journal::wait_event(&host, Kind::Destroyed, &["Guest 1001 was destroyed"]).expect("it is noticed");
}
