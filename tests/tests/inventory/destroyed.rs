//! A guest that was destroyed: its identity is refused, and what it held is told until a person has taken note.

use pinion_controller::events::Kind;
use pinion_tests::{guest::Guest, journal};

use crate::pve::{NODE, Pve, host, wait_status};

#[test]
fn a_destroyed_guest_is_told_until_a_person_takes_note() {
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
    journal::wait_event(&host, Kind::Refused, &["guest 1001 is not known here"]).expect("its identity is refused");

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
