//! The CA gets another root while everything runs: in every guest and on the host it comes first, and nobody fails.

use std::{fs, path::PathBuf, process::Stdio};

use pinion_proto::{bundle::Fingerprint, stage::Stage};
use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{LONG, pinion, status, wait_for},
        rollover,
        whole::Whole,
    },
    process::Process,
    wait,
};
use serde_json::{Value, json};

/// Every place of the issuer's roots: systems' stores, and files beside certificates.
const PLACES: [&str; 7] =
    ["roots@101", "roots@1001", "roots@1002", "roots@host", "docker@1001", "docker@1002", "client@host"];

const STORE: &str = "/etc/ssl/certs/ca-certificates.crt";

fn manifest() -> Value {
    let store = |guest: u32| json!({ "guest": guest, "recipe": "ca-certificates" });
    let client = |part: &str, file: &str| (part.to_owned(), json!({ "path": format!("/var/lib/archive/{file}") }));
    let client: serde_json::Map<String, Value> =
        [client("fullchain", "cert.pem"), client("key", "key.pem"), client("ca", "ca.pem")].into_iter().collect();
    json!({ "version": 1, "defaults": { "issuer": "step-ca", "duration": "30d" }, "certificates": [
        { "name": "gateway", "common_name": "nginx.internal.example",
          "placements": [{ "guest": 101, "recipe": "nginx" }] },
        { "name": "docker", "common_name": "docker.internal.example", "placements": [
            { "guest": 1001, "recipe": "docker", "sans": ["10.0.0.111", "127.0.0.1"] },
            { "guest": 1002, "recipe": "docker", "sans": ["10.0.0.102", "127.0.0.1"] } ] },
        { "name": "client", "common_name": "client.internal.example",
          "placements": [{ "host": true, "layout": "symlink", "files": client }] },
        { "name": "roots", "trust": true, "placements": [
            store(101), store(1001), store(1002), { "host": true, "recipe": "ca-certificates" }] },
    ] })
}

/// Somebody on the host who shakes hands over and over, and writes down how each went.
struct Client {
    process: Process,
    told: PathBuf,
    what: &'static str,
}

impl Client {
    /// `ask` is what openssl is asked; it is for one handshake, with what is trusted read anew.
    fn start(lab: &Lab, what: &'static str, ask: &str) -> Self {
        let told = lab.path(&format!("/run/client.{what}"));
        // A daemon that is being restarted is away; that is no failed handshake.
        let line = format!(
            "while :; do said=$( ({ask}) 2>&1 </dev/null ); \
             case $said in *PINION-OK*) echo ok ;; \
             *'verify error'*|*alert*|*'certificate verify failed'*) echo \"FAILED $said\" ;; *) echo away ;; esac \
             >>/run/client.{what}; done"
        );
        let mut command = lab.command("sh");
        command.args(["-c", &line]).stdin(Stdio::null());
        let log = lab.path(&format!("/run/client.{what}.log"));
        Self { process: Process::spawn(what, &mut command, &log).expect("it starts"), told, what }
    }

    fn count(&self) -> usize {
        let told = fs::read_to_string(&self.told).unwrap_or_default();
        assert!(!told.contains("FAILED"), "{}: {told}", self.what);
        told.lines().filter(|line| *line == "ok").count()
    }

    /// Waits until it has shaken hands some more times, and never in vain.
    fn asked_more(&self) {
        let before = self.count();
        let what = format!("{} to have asked", self.what);
        wait::until(&what, LONG, || match self.count() - before {
            more if more >= 5 => Ok(()),
            more => Err(format!("{more} handshakes")),
        })
        .expect("it asks");
    }

    fn end(mut self) -> usize {
        let count = self.count();
        self.process.kill9().expect("it ends");
        count
    }
}

fn wait_roots(lab: &Lab, whole: &Whole, wanted: &[Fingerprint]) {
    wait_for(lab, &whole.installation, &format!("everyone to have {wanted:?}"), LONG, |status| {
        let has = |place: &&str| {
            status.placement(place).is_some_and(|found| {
                let reached = found.goal == Some(found.stage) && found.stage == goal(place) && found.trouble.is_none();
                let same = found.roots.len() == wanted.len() && wanted.iter().all(|root| found.roots.contains(root));
                reached && same
            })
        };
        PLACES.iter().all(has).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", whole.log()));
}

fn goal(place: &str) -> Stage {
    if place.starts_with("client") { Stage::Reloaded } else { Stage::Served }
}

fn serial(lab: &Lab, placement: &str) -> String {
    let status = status(lab).expect("a status");
    status.placement(placement).and_then(|found| found.serial.clone()).expect("it holds one")
}

#[test]
fn another_root_is_everywhere_before_anything_ends_at_it() {
    let lab = Lab::up(Spec::all()).expect("the lab comes up");
    let whole = Whole::start_with(&lab, &manifest()).unwrap_or_else(|error| panic!("{error:#}"));
    let old = lab.authority_root().expect("a root").fingerprint();
    wait_roots(&lab, &whole, &[old]);
    let reached = |status: &pinion_tests::status::StatusJson| {
        status.placements.iter().all(|found| found.goal == Some(found.stage)).then_some(())
    };
    wait_for(&lab, &whole.installation, "everything to be reached", LONG, reached).expect("reached");

    let ask = "openssl s_client -brief -verify_return_error -verify_hostname nginx.internal.example -no-CApath \
               -CAfile /etc/ssl/certs/ca-certificates.crt -connect 10.0.0.101:443 && echo PINION-OK";
    let web = Client::start(&lab, "nginx", ask);
    // One generation, as who wants a whole one reads it; dockerd's answer is what says that it let the client in.
    let ask = "cd \"$(dirname \"$(readlink -f /var/lib/archive/cert.pem)\")\" && printf 'GET /_ping HTTP/1.0\\r\\n\\r\\n' \
               | openssl s_client -quiet -verify_return_error -verify_ip 10.0.0.102 -no-CApath -CAfile ca.pem \
                 -cert cert.pem -cert_chain cert.pem -key key.pem -connect 10.0.0.102:2376 2>&1 | sed 's/^OK$/PINION-OK/'";
    let daemon = Client::start(&lab, "dockerd", ask);
    for client in [&web, &daemon] {
        client.asked_more();
    }

    let before = (serial(&lab, "gateway@101"), serial(&lab, "docker@1002"));
    let new = rollover::announce_new_root(&lab).unwrap_or_else(|error| panic!("{error:#}"));
    wait_roots(&lab, &whole, &[old, new]);
    assert_eq!((serial(&lab, "gateway@101"), serial(&lab, "docker@1002")), before, "roots need no certificate");
    for vmid in [101, 1001, 1002] {
        let count = format!("grep -c BEGIN {STORE}");
        let with = lab.sh(vmid, &format!("{count}; ls /usr/local/share/ca-certificates | wc -l")).expect("a store");
        assert_eq!(with.lines().last(), Some("2"), "{vmid}: {with}");
    }

    rollover::sign_under_new_root(&lab).unwrap_or_else(|error| panic!("{error:#}"));
    let renewed = pinion(&lab, "ensure --renew --until served").expect("pinion runs");
    renewed.succeeded().expect("everything is renewed");
    assert_ne!((serial(&lab, "gateway@101"), serial(&lab, "docker@1002")), before);
    for client in [&web, &daemon] {
        client.asked_more();
    }
    rollover::give_up_old_root(&lab).unwrap_or_else(|error| panic!("{error:#}"));
    wait_roots(&lab, &whole, &[new]);
    for client in [&web, &daemon] {
        client.asked_more();
    }
    let handshakes = (web.end(), daemon.end());
    println!("{handshakes:?} handshakes with nginx and dockerd, none of them failed");
    let events = pinion(&lab, "events").expect("pinion runs").stdout;
    println!("{}", events.lines().filter(|line| line.contains("root ")).collect::<Vec<_>>().join("\n"));
    assert!(events.contains(&format!("step-ca no longer uses root {old}")), "{events}");
}
