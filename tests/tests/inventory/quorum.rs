//! Shared state that cannot be written: nothing new is given out, what is placed carries on.

use std::{fs, os::unix::fs::PermissionsExt};

use pinion_controller::events::Kind;
use pinion_tests::{guest::Guest, host::Host, journal};

use crate::pve::{host, wait_status};

/// As pmxcfs shows its directories with quorum and without.
fn set_quorum(host: &Host, quorate: bool) {
    let mode = if quorate { 0o700 } else { 0o555 };
    let shared = host.root().join("var/lib/pinion/shared");
    fs::set_permissions(shared, fs::Permissions::from_mode(mode)).expect("set");
}

#[test]
fn without_quorum_nothing_is_signed_and_it_goes_on_by_itself() {
    let mut host = host(&[("web", 1001)]);
    host.start_again().expect("the controller starts");
    let mut guest = Guest::join(&host, 1001).expect("a guest joins");
    host.ensure(&["web"], "installed").expect("installed");
    let issued = || journal::issued(&host, "web@1001").expect("events");
    let before = issued();

    set_quorum(&host, false);
    wait_status(&host, "the note", |status| status.notes.iter().any(|note| note.contains("no quorum?")));
    let asked = host.pinion(&["ensure", "web", "--renew", "--until", "installed", "--timeout", "2s"]).expect("it runs");
    assert_eq!(asked.code(), 3, "{asked}");
    let status = host.status().expect("it answers");
    let trouble = status.placement("web@1001").and_then(|placement| placement.trouble.clone()).expect("a trouble");
    assert!(trouble.cause.contains("cannot be written") && trouble.remedy.contains("pvecm status"), "{trouble}");
    assert_eq!(issued(), before);
    // What is linked stays, and comes back.
    guest.restart().expect("the agent restarts");
    guest.wait_linked(&host).expect("it links");

    set_quorum(&host, true);
    host.ensure(&["web"], "installed").expect("it goes on by itself");
    assert_eq!(issued().len(), before.len() + 1);
    wait_status(&host, "no note", |status| status.notes.is_empty());
    let told = journal::events(&host).expect("events");
    let told: Vec<_> = told.iter().filter(|event| event.kind == Kind::Failed).collect();
    assert!(matches!(told.as_slice(), [one] if one.text.contains("no certificate is signed")), "{told:?}");
}
