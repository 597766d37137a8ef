//! `revoke_replaced`: what a renewal replaced is revoked at a real step-ca, and only that, and only when it is asked for.

use std::{fs, path::PathBuf, process::Command};

use pinion_controller::events::Kind;
use pinion_tests::{
    ca::StepCa,
    guest::Guest,
    host::{Host, HostOptions},
    journal, openssl,
    process::{Finished, run},
    program,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

const CERTIFICATE: &str = "/etc/ssl/web/web.crt";
const KEY: &str = "/etc/ssl/web/web.key";

/// A step-ca, a host that uses it, and a guest that holds one certificate.
struct Site {
    // In the order in which they end.
    guest: Guest,
    host: Host,
    ca: StepCa,
    kept: tempfile::TempDir,
}

impl Site {
    fn start(revoke_replaced: bool) -> Self {
        let ca = StepCa::start().expect("step-ca is installed");
        let mut issuer = ca.issuer().expect("a root");
        issuer.revoke_replaced = revoke_replaced;
        let host = Host::start(&HostOptions::step_ca(issuer, &json!([]))).expect("a host");
        let guest = Guest::join(&host, 1001).expect("a guest");
        guest.write_hook("gate", "#!/bin/sh\n").expect("written");
        host.write_manifest(
            &json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": certificates() }),
        )
        .expect("written");
        host.ensure(&[], "reloaded").expect("the first is there");
        Self { guest, host, ca, kept: tempfile::tempdir().expect("a directory") }
    }

    /// Copies what is installed, as `name`.
    fn keep(&self, name: &str) {
        for (inside, kind) in [(CERTIFICATE, "crt"), (KEY, "key")] {
            let to = self.kept(name, kind);
            fs::copy(self.guest.path(inside), to).expect("copied");
        }
    }

    fn kept(&self, name: &str, kind: &str) -> PathBuf {
        self.kept.path().join(format!("{name}.{kind}"))
    }

    /// Asks step-ca to renew a pair: it does not for one that is revoked.
    fn renewed_by_step_ca(&self, name: &str) -> Finished {
        let mut command = Command::new(program::found("step").expect("step is installed"));
        command
            .args(["ca", "renew", "--force", "--ca-url", &self.ca.url(), "--root"])
            .arg(self.ca.root_file())
            .arg("--out")
            .arg(self.kept(name, "renewed"))
            .args([self.kept(name, "crt"), self.kept(name, "key")])
            .env("STEPPATH", self.kept.path());
        run(&mut command, b"", PATIENCE).expect("step ends")
    }

    fn is_revoked(&self, name: &str) -> bool {
        let finished = self.renewed_by_step_ca(name);
        let refused = self.ca.log().contains("certificate has been revoked");
        assert!(finished.code() == 0 || refused, "{finished}\n{}", self.ca.log());
        finished.code() != 0
    }

    /// The serial numbers of which `pinion events` says that they were revoked.
    fn told(&self) -> Vec<String> {
        let events = journal::events(&self.host).expect("events");
        events.into_iter().filter(|event| event.kind == Kind::Revoked).filter_map(|event| event.serial).collect()
    }

    fn wait_told(&self, serials: &[String]) {
        wait::until("the revocations to be told", PATIENCE, || {
            let told = self.told();
            if told == serials { Ok(()) } else { Err(format!("{told:?}\n{}", self.host.log_tail())) }
        })
        .expect("they are revoked");
    }

    /// Waits until so many certificates were signed, and the last is installed.
    fn guest_has(&self, count: usize) {
        wait::until("the newest certificate to be installed", PATIENCE, || {
            let issued = self.issued();
            let installed = openssl::serial(&self.guest.read(CERTIFICATE).unwrap_or_default()).unwrap_or_default();
            if issued.len() == count && issued.last() == Some(&installed) { Ok(()) } else { Err(format!("{issued:?}")) }
        })
        .expect("it is installed");
    }

    fn issued(&self) -> Vec<String> {
        journal::issued(&self.host, "web@1001").expect("events")
    }

    /// The documents of what is still to be seen to.
    fn remembered(&self) -> String {
        let directory = self.host.root().join("var/lib/pinion/local/replaced");
        let Ok(entries) = fs::read_dir(directory) else { return String::new() };
        // One may be replaced or removed meanwhile.
        entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok()).collect()
    }
}

fn certificates() -> Value {
    json!([{ "name": "web", "common_name": "web.internal.example", "placements": [{ "guest": 1001, "files": {
        "fullchain": { "path": CERTIFICATE }, "key": { "path": KEY } }, "reload": { "hook": "gate" } }] }])
}

#[test]
fn what_a_renewal_replaced_is_revoked_and_the_new_one_is_not() {
    let site = Site::start(true);
    let check = site.host.pinion(&["issuer", "check"]).expect("pinion runs");
    assert!(check.stdout.contains("replaced     certificates are revoked"), "{check}");
    site.keep("first");
    assert!(!site.is_revoked("first"), "nothing has replaced it yet");
    for round in 1..=2 {
        site.host.renew(&[], "reloaded").expect("renewed");
        site.wait_told(&site.issued()[..round]);
    }
    site.keep("third");
    assert!(site.is_revoked("first"), "the replaced one is not renewed any more");
    assert!(!site.is_revoked("third"), "the one in use is as good as ever");
    let third = &site.issued()[2];
    wait::until("only the one in use to be remembered", PATIENCE, || {
        let kept = site.remembered();
        if kept.contains(third) && kept.matches("serial").count() == 1 { Ok(()) } else { Err(kept) }
    })
    .expect("what is revoked is forgotten");
}

#[test]
fn nothing_is_revoked_unless_somebody_says_so() {
    let site = Site::start(false);
    site.keep("first");
    site.host.renew(&[], "reloaded").expect("renewed");
    site.host.renew(&[], "reloaded").expect("renewed");
    assert!(!site.is_revoked("first"));
    assert_eq!(site.told(), Vec::<String>::new());
    // What is remembered is for the day on which somebody calls the guest compromised.
    assert!(!site.ca.log().contains("/1.0/revoke"));
}

#[test]
fn a_ca_that_is_down_at_that_moment_is_asked_later_also_after_a_restart() {
    let mut site = Site::start(true);
    site.keep("first");
    // The second is signed, and its reload waits until the CA is gone.
    let gate = site.guest.path("/run/gate");
    let script = format!("#!/bin/sh\nwhile [ -e {} ]; do sleep 0.05; done\n", gate.display());
    site.guest.write_hook("gate", &script).expect("written");
    site.guest.write("/run/gate", "").expect("closed");
    let mut command = site.host.command(&["ensure", "--renew", "--until", "reloaded"]).expect("pinion is built");
    let ensure = std::thread::spawn(move || run(&mut command, b"", PATIENCE));
    site.guest_has(2);
    assert_eq!(site.told(), Vec::<String>::new(), "the first is in use still");
    site.ca.stop();
    fs::remove_file(&gate).expect("opened");
    ensure.join().expect("it ends").expect("it ends").succeeded().expect("the second is in use");
    journal::wait_event(&site.host, Kind::Failed, &["has not revoked", "web@1001"]).expect("told");
    site.host.kill9().expect("killed");
    site.host.start_again().expect("started again");
    site.ca.restart().expect("the CA is back");
    site.wait_told(&site.issued()[..1]);
    assert!(site.is_revoked("first"));
}
