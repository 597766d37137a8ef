//! Another identity root under guests that run: no new join, no lost link, and not before all of them trust it.

use pinion_proto::{bundle::Fingerprint, token::JoinToken};
use pinion_tests::{
    guest::Guest,
    host::Host,
    site::Site,
    wait::{self, PATIENCE},
};

fn root(host: &Host) -> Fingerprint {
    JoinToken::parse(&host.token("999").expect("a token")).expect("a token").root.fingerprint()
}

fn wait_note(host: &Host, words: &str) -> String {
    wait::until(words, PATIENCE, || {
        let notes = host.status().map_err(|error| format!("{error:#}"))?.notes;
        notes.iter().find(|note| note.contains(words)).cloned().ok_or_else(|| format!("{notes:?}"))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()))
}

#[test]
fn another_identity_root_takes_over_without_a_new_join() {
    let mut site = Site::served().expect("the certificate is served");
    let mut other = Guest::join(&site.host, 1002).expect("another guest");
    let (before, serial) = (root(&site.host), site.serial().expect("all agree"));
    other.stop().expect("it is away");
    site.host.stop().expect("stopped");
    site.host.pinion(&["identity", "new-root", "--yes"]).expect("it runs").succeeded().expect("it is left");
    site.host.start_again().expect("started");
    site.guest.wait_linked(&site.host).expect("linked");
    wait_note(&site.host, "1 of 2 guests trust the next identity root");
    site.host.restart().expect("restarted");
    assert_eq!(root(&site.host), before, "one guest does not trust it yet");
    other.start().expect("it comes back");
    other.wait_linked(&site.host).expect("linked");
    wait_note(&site.host, "every guest trusts the next identity root");

    site.host.restart().expect("restarted");
    let after = root(&site.host);
    assert_ne!(after, before);
    for guest in [&mut site.guest, &mut other] {
        guest.wait_linked(&site.host).expect("linked without a new join");
        guest.restart().expect("restarted");
        guest.wait_linked(&site.host).expect("it remembers");
    }
    let mut third = Guest::join(&site.host, 1003).expect("a new guest");
    third.wait_linked(&site.host).expect("linked");
    site.host.renew(&[], "served").expect("all goes on");
    assert_ne!(site.serial().expect("all agree"), serial);
    assert_eq!(site.host.status().expect("a status").notes, Vec::<String>::new());
}
