//! A guest that may be in other hands: what it held is revoked at a real step-ca, and the key that it shared is given up.

use std::{fs, path::PathBuf, process::Command};

use pinion_controller::events::Kind;
use pinion_tests::{
    ca::StepCa,
    guest::Guest,
    host::{Host, HostOptions},
    journal, openssl,
    process::run,
    program,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

fn certificate(name: &str, shared: bool, guests: &[u32]) -> Value {
    let placement = |guest: &u32| {
        json!({ "guest": guest, "files": {
            "fullchain": { "path": format!("/etc/ssl/{name}/{name}.crt") },
            "key": { "path": format!("/etc/ssl/{name}/{name}.key") } }, "reload": { "hook": "gate" } })
    };
    let placements: Vec<_> = guests.iter().map(placement).collect();
    json!({ "name": name, "common_name": format!("{name}.internal.example"), "shared": shared, "placements": placements })
}

fn join(host: &Host, number: u32) -> Guest {
    let guest = Guest::join(host, number).expect("a guest");
    guest.write_hook("gate", "#!/bin/sh\n").expect("written");
    guest
}

fn serial(guest: &Guest, name: &str) -> String {
    openssl::serial(&guest.read(&format!("/etc/ssl/{name}/{name}.crt")).expect("a file")).expect("a leaf")
}

/// Copies of what guests had, as somebody else may have them.
struct Stolen {
    directory: tempfile::TempDir,
}

impl Stolen {
    fn take(&self, guest: &Guest, name: &str, as_name: &str) {
        for kind in ["crt", "key"] {
            fs::copy(guest.path(&format!("/etc/ssl/{name}/{name}.{kind}")), self.path(as_name, kind)).expect("copied");
        }
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.{kind}"))
    }

    /// Whether step-ca still renews it.
    fn is_good(&self, ca: &StepCa, name: &str) -> bool {
        let mut command = Command::new(program::found("step").expect("step is installed"));
        command.args(["ca", "renew", "--force", "--ca-url", &ca.url(), "--root"]).arg(ca.root_file());
        command.arg("--out").arg(self.path(name, "renewed")).args([self.path(name, "crt"), self.path(name, "key")]);
        run(command.env("STEPPATH", self.directory.path()), b"", PATIENCE).expect("step ends").code() == 0
    }
}

#[test]
fn what_a_compromised_guest_held_is_revoked_and_what_it_shared_gets_another_key() {
    let mut ca = StepCa::start().expect("step-ca is installed");
    let mut host = Host::start(&HostOptions::step_ca(ca.issuer().expect("a root"), &json!([]))).expect("a host");
    let (guest, other) = (join(&host, 1001), join(&host, 1002));
    let certificates = json!([certificate("web", false, &[1001]), certificate("both", true, &[1001, 1002])]);
    let manifest = json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": certificates });
    host.write_manifest(&manifest).expect("written");
    host.ensure(&[], "reloaded").expect("installed");
    let stolen = Stolen { directory: tempfile::tempdir().expect("a directory") };
    stolen.take(&guest, "web", "first");
    let mut held = vec![serial(&guest, "web")];
    host.renew(&["web"], "reloaded").expect("renewed");
    for (guest, name, as_name) in [(&guest, "web", "second"), (&guest, "both", "shared"), (&other, "both", "others")] {
        stolen.take(guest, name, as_name);
        held.push(serial(guest, name));
    }
    assert!(stolen.is_good(&ca, "first"), "replaced, and as good as ever until somebody says otherwise");
    let key = other.read("/etc/ssl/both/both.key").expect("a key");

    ca.stop();
    let told = host.pinion(&["guest", "evict", "--compromised", "1001"]).expect("pinion runs");
    assert_eq!(told.code(), 0, "{told}");
    for serial in &held[..3] {
        assert!(told.stdout.contains(&format!("serial {serial} is being revoked at step-ca")), "{serial}: {told}");
    }
    assert!(told.stdout.contains("both gets another key in all other places"), "{told}");
    let status = host.status().expect("it answers");
    assert!(!status.is_linked("1001"), "its identity is refused");
    let trouble = status.placement("web@1001").and_then(|placement| placement.trouble.clone()).expect("told");
    assert!(trouble.cause.contains("evicted as compromised"), "{trouble}");

    // The CA is down, and the controller is killed: it is done all the same.
    journal::wait_event(&host, Kind::Failed, &["has not revoked", "web@1001"]).expect("told");
    host.kill9().expect("killed");
    host.start_again().expect("started again");
    ca.restart().expect("the CA is back");
    wait::until("all to be revoked", PATIENCE, || {
        let events = journal::events(&host).map_err(|error| format!("{error:#}"))?;
        let revoked: Vec<_> = events
            .iter()
            .filter(|event| event.kind == Kind::Revoked)
            .filter_map(|event| event.serial.clone())
            .collect();
        if held.iter().all(|serial| revoked.contains(serial)) {
            Ok(())
        } else {
            Err(format!("{revoked:?} of {held:?}"))
        }
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()));
    for name in ["first", "second", "shared", "others"] {
        assert!(!stolen.is_good(&ca, name), "{name} is revoked");
    }
    assert_ne!(other.read("/etc/ssl/both/both.key").expect("a key"), key, "another key in the other place");
    stolen.take(&other, "both", "new");
    assert!(stolen.is_good(&ca, "new"));
    assert!(!host.status().expect("it answers").is_linked("1001"), "also after a restart");

    // Whoever only forgets a guest is told that there is more.
    let told = host.pinion(&["guest", "forget", "1002"]).expect("pinion runs");
    assert!(told.code() == 0 && told.stderr.contains("--compromised 1002"), "{told}");
    drop((guest, other));
}

#[test]
fn where_nobody_can_revoke_that_is_said_and_the_rest_is_done() {
    let mut host = Host::start(&HostOptions::embedded(&json!([certificate("web", false, &[1001])]))).expect("a host");
    let guest = join(&host, 1001);
    host.ensure(&[], "reloaded").expect("installed");
    let record = host.root().join("var/lib/pinion/shared/guests/1001.json");
    let identity = fs::read(&record).expect("a record");
    let told = host.pinion(&["guest", "evict", "--compromised", "1001"]).expect("pinion runs");
    assert!(
        told.code() == 0 && told.stdout.contains("cannot be revoked, because issuer embedded has no revocation"),
        "{told}"
    );
    assert!(told.stdout.contains(&serial(&guest, "web")), "{told}");
    let status = host.status().expect("it answers");
    assert!(!status.is_linked("1001"), "{status:?}");

    // What was under way when it was evicted has given it an identity: that lets nobody in.
    host.stop().expect("the controller stops");
    fs::write(&record, identity).expect("its identity is good again");
    host.start_again().expect("the controller starts");
    journal::wait_event(&host, Kind::Refused, &["Guest 1001 linked although it is evicted"]).expect("it is kept out");
    let status = host.status().expect("it answers");
    assert!(!status.is_linked("1001"), "{status:?}");
    let trouble = status.placement("web@1001").and_then(|placement| placement.trouble.clone()).expect("told");
    assert!(trouble.cause.contains("evicted as compromised"), "{trouble}");

    // Nor does a loss of what is known of it: that is told until it is known again.
    host.stop().expect("the controller stops");
    let evictions = host.root().join("var/lib/pinion/local/evictions.json");
    let known = fs::read(&evictions).expect("written down");
    fs::write(&evictions, "{").expect("damaged");
    host.start_again().expect("the controller starts");
    let told = host.pinion(&["status"]).expect("pinion runs");
    assert!(told.stdout.contains("host: blocked: read the list of evicted guests"), "{told}");
    assert_eq!(fs::read(&evictions).expect("there"), b"{", "it is left as it is");
    fs::write(&evictions, known).expect("put back");
    let told = host.pinion(&["status"]).expect("pinion runs");
    assert!(!told.stdout.contains("read the list of evicted guests"), "{told}");
    assert!(told.stdout.contains("was evicted as compromised"), "{told}");

    let token = host.token("1001").expect("a person lets it in again");
    guest.join_with(&token).expect("it runs").succeeded().expect("joined");
    wait::until("it to be let in", PATIENCE, || match host.status() {
        Ok(status) if status.is_linked("1001") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("it links");
    host.ensure(&[], "reloaded").expect("and is looked after again");
}
