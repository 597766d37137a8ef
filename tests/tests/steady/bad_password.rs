//! A provisioner's password file that went bad holds up renewals, is named with its remedy, and is read anew
//! as soon as it is mended.

use std::fs;

use pinion_tests::{
    ca::StepCa,
    damage::{Damage, Damaged},
    guest::Guest,
    host::{Host, HostOptions, StepCaIssuer},
    journal, openssl,
};
use serde_json::json;

#[test]
fn a_bad_password_file_delays_renewals_until_it_is_corrected() {
    let ca = StepCa::start().expect("a step-ca");
    let issuer = |host: &str| StepCaIssuer {
        url: ca.url(),
        fingerprint: ca.fingerprint().expect("a root").to_string(),
        provisioner: "admin".into(),
        password_file: host.into(),
        revoke_replaced: false,
        roots_every: None,
    };
    // A copy: the CA itself reads its own.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("provisioner.password");
    fs::copy(ca.password_file(), &path).expect("a password file");
    let certificates = json!([{ "name": "web", "common_name": "web.internal.example", "placements": [{
        "guest": 1001,
        "files": { "cert": { "path": "/etc/ssl/web.crt" }, "key": { "path": "/etc/ssl/web.key" } },
    }] }]);
    let options = HostOptions::step_ca(issuer(&path.display().to_string()), &certificates);
    let mut host = Host::start(&options).expect("a host");
    let mut guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&[], "served").expect("step-ca signs");
    let serial = |guest: &Guest| openssl::serial(&guest.read("/etc/ssl/web.crt").expect("a file")).expect("a leaf");

    for damage in [Damage::Empty, Damage::NotUtf8, Damage::Enormous] {
        let before = serial(&guest);
        let damaged = Damaged::new(&path, damage).expect("damaged");
        // A controller that has opened the key keeps it: the file counts at the next start.
        host.restart().unwrap_or_else(|error| panic!("{damage:?}: it starts all the same: {error:#}"));
        guest.wait_linked(&host).expect("linked");
        let held = host.pinion(&["ensure", "--timeout", "20s"]).expect("pinion runs");
        assert_eq!(held.code(), 0, "{damage:?}: what is there stays good: {held}");
        let checked = host.pinion(&["issuer", "check"]).expect("pinion runs");
        let words = format!("{}{}", checked.stdout, checked.stderr);
        assert!(checked.code() == 4 && words.contains(&path.display().to_string()), "{damage:?}: {checked}");
        assert!(words.contains("write the password of provisioner `admin` into"), "{damage:?}: no remedy: {checked}");
        let asked = host.pinion(&["ensure", "--renew", "--timeout", "20s"]).expect("pinion runs");
        assert!(asked.code() == 4 && asked.stderr.contains(&path.display().to_string()), "{damage:?}: {asked}");
        assert_eq!(serial(&guest), before, "{damage:?}");
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        damaged.repair().expect("it is mended");
        host.ensure(&[], "served").unwrap_or_else(|error| panic!("{damage:?}: mended, it goes on: {error:#}"));
        assert_ne!(serial(&guest), before, "{damage:?}");
    }
    assert_eq!(journal::issued(&host, "web@1001").expect("the events are there").len(), 4);
}
