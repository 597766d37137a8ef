//! Installed, at work, upgraded, downgraded, removed, installed again, purged: nobody's service notices.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use pinion_proto::stage::Stage;
use pinion_tests::{
    lab::{
        Role,
        booted::{Booted, UNITS},
    },
    program,
    wait::{self, PATIENCE},
};
use serde_json::json;

use crate::apt::{VERSION, apt, apt_with};

const NAME: &str = "pve1.internal.example";

/// nginx as a person has set it up: with a certificate of his own.
const SITE: &str = "server {\n\tlisten 443 ssl;\n\tserver_name pve1.internal.example;\n\
    \tssl_certificate /etc/nginx/ssl/pve1.internal.example.crt;\n\tssl_certificate_key /etc/nginx/ssl/pve1.internal.example.key;\n}\n";

#[test]
fn the_life_of_an_installation_on_debian_12() {
    life(Role::Debian12);
}

#[test]
fn the_life_of_an_installation_on_debian_13() {
    life(Role::Debian13);
}

fn life(role: Role) {
    let host = Booted::debian(role).expect("made");
    host.boot().expect("it boots");
    start_nginx(&host);
    let before = files(&host);

    apt(&host, "install", VERSION);
    for unit in ["pinion-channel.service", "pinion.service"] {
        assert_eq!(host.property(unit, "UnitFileState").expect("a state"), "enabled", "{unit}");
        // Not set up yet, and no failure either.
        assert_eq!(host.property(unit, "ActiveState").expect("a state"), "inactive", "{unit}\n{}", host.journal());
    }
    assert_eq!(host.property("pinion-agent.service", "ActiveState").expect("a state"), "active");
    set_up(&host);
    let serial = wait_served(&host, "installed");
    let nginx = host.property("nginx.service", "MainPID").expect("a process");

    let next = program::next_version();
    for (what, version) in [("upgraded", &*next), ("downgraded", VERSION)] {
        let pids = UNITS.map(|unit| host.property(unit, "MainPID").expect("a process"));
        let looks = while_it_is_watched(&host, || apt(&host, "install", version));
        assert!(looks > 0, "the status was never there to look at");
        host.wait_well().expect(what);
        for (unit, pid) in UNITS.iter().zip(&pids) {
            assert_ne!(host.property(unit, "MainPID").expect("a process"), *pid, "{what}: {unit} is the old one");
        }
        assert_eq!(wait_served(&host, what), serial, "{what}: another certificate");
    }

    if role == Role::Debian12 {
        an_agent_that_was_not_upgraded_is_missed(&host, &next);
    }

    apt(&host, "remove", "");
    assert_eq!(shown(&host), serial, "nginx serves on");
    assert!(host.run(&["test", "-e", "/usr/bin/pinion"]).expect("it runs").code() != 0, "the program is gone");
    for kept in ["/etc/pinion/controller.toml", "/var/lib/pinion/shared", "/var/lib/pinion-agent"] {
        host.well(&["test", "-e", kept]).expect(kept);
    }

    apt(&host, "install", VERSION);
    host.wait_well().expect("installed again");
    assert_eq!(wait_served(&host, "installed again"), serial);

    let told = apt(&host, "purge", "");
    assert_eq!(shown(&host), serial, "nginx serves on");
    for kept in ["/var/lib/pinion/shared", "/var/lib/pinion-channel", "/etc/pinion/identity-root"] {
        assert!(told.contains(&format!("Kept: {kept}, which ")), "{told}");
    }
    host.well(&["rm", "/etc/pinion/identity-root"]).expect("removed, as it says");
    host.well(&["rmdir", "/etc/pinion"]).expect("nothing else is there");
    assert_eq!(
        left(&host, &before),
        BTreeSet::from(["/etc/nginx/ssl", "/var/lib/pinion", "/var/lib/pinion-channel"].map(String::from))
    );

    // With the keys, because somebody asks for it.
    apt(&host, "install", VERSION);
    host.well(&["sh", "-c", "echo pinion pinion/purge-keys boolean true | debconf-set-selections"]).expect("asked for");
    apt(&host, "purge", "");
    assert_eq!(left(&host, &before), BTreeSet::from([String::from("/etc/nginx/ssl")]));
    assert_eq!(host.property("nginx.service", "MainPID").expect("a process"), nginx, "nginx was restarted");
}

/// Only the controller's package is upgraded: no older agent stays beside it.
fn an_agent_that_was_not_upgraded_is_missed(host: &Booted, next: &str) {
    apt_with(host, &["pinion"], "install", next);
    let told = wait::until("the doctor to tell of the agent", PATIENCE, || {
        let told = host.run(&["pinion", "doctor"]).map_err(|error| format!("{error:#}"))?;
        let said = told.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = "There is no unit pinion-agent.service. → install the package pinion-agent";
        if said.contains(words) { Ok(said) } else { Err(said) }
    });
    let said = told.expect("told");
    assert!(said.contains(&format!("the packages are pinion {next}.")), "{said}");
}

/// nginx with a pair that nobody trusts.
fn start_nginx(host: &Booted) {
    host.well(&["mkdir", "-p", "/etc/nginx/ssl"]).expect("a directory");
    host.make_pair(&format!("/etc/nginx/ssl/{NAME}.crt"), &format!("/etc/nginx/ssl/{NAME}.key")).expect("a pair");
    host.write("/etc/nginx/sites-enabled/pve1", 0o644, SITE.as_bytes()).expect("written");
    host.well(&["systemctl", "restart", "nginx.service"]).expect("nginx runs");
}

/// What docs/proxmox.md says: `pinion setup`, a manifest, and the host's own agent.
fn set_up(host: &Booted) {
    let setup = ["pinion", "setup", "--yes", "--issuer", "embedded", "--advertise", "127.0.0.1:7443"];
    host.well(&setup).unwrap_or_else(|error| panic!("{error:#}\n{}", host.journal()));
    let manifest = json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": [
        { "name": "web", "common_name": NAME, "placements": [{ "host": true, "recipe": "nginx" }] }] });
    host.write_manifest(&manifest).expect("written");
    host.wait_well().expect("well");
    host.join().expect("the host's agent joins");
}

/// The serial of the certificate that nginx shows, as `pinion status` writes it.
fn shown(host: &Booted) -> String {
    let line = format!(
        "openssl s_client -connect 127.0.0.1:443 -servername {NAME} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    );
    let told = host.well(&["sh", "-c", &line]).expect("nginx answers").stdout;
    told.trim().trim_start_matches("serial=").to_owned()
}

/// Waits until it is served by a linked agent; the serial.
fn wait_served(host: &Booted, what: &str) -> String {
    let served = host.wait_status("nginx to show it", PATIENCE * 2, |status| {
        let placement = status.placement("web@host")?;
        let is_well = status.is_linked("host") && placement.stage == Stage::Served && placement.trouble.is_none();
        is_well.then(|| placement.serial.clone())?
    });
    let serial = served.unwrap_or_else(|error| panic!("{what}: {error:#}")).to_string();
    assert_eq!(shown(host), serial, "{what}");
    serial
}

/// Does something while the status is asked for again and again: whenever it is answered, the placement is served.
fn while_it_is_watched(host: &Booted, work: impl FnOnce() -> String) -> usize {
    let (done, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            // While the controller restarts there is nobody who answers, and nobody who says something else.
            while !done.load(Ordering::Relaxed) {
                if let Ok(status) = host.status()
                    && let Some(placement) = status.placement("web@host")
                {
                    assert_eq!(placement.stage, Stage::Served, "{placement:?}");
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        work();
        // Until the agent is back and a look has seen it.
        let linked =
            host.wait_status("the agent to be linked again", PATIENCE, |status| status.is_linked("host").then_some(()));
        linked.expect("linked");
        let seen = looks.load(Ordering::Relaxed);
        let looked = wait::until("another look", PATIENCE, || {
            if looks.load(Ordering::Relaxed) > seen || watch.is_finished() {
                Ok(())
            } else {
                Err(String::from("not yet"))
            }
        });
        done.store(true, Ordering::Relaxed);
        looked.expect("looked");
        watch.join().expect("the placement left `served`");
    });
    looks.into_inner()
}

/// Everything that packages and programs may have written, the journal and what dpkg keeps apart.
fn files(host: &Booted) -> BTreeSet<String> {
    let told = host.well(&["find", "/etc", "/usr", "/opt", "/srv", "/var", "/run", "-xdev"]).expect("listed").stdout;
    told.lines().map(ToOwned::to_owned).collect()
}

/// What is there and was not before: of each tree its top, and nothing that every package leaves.
fn left(host: &Booted, before: &BTreeSet<String>) -> BTreeSet<String> {
    let ours = |path: &&String| {
        ![
            "/var/cache",
            "/var/lib/dpkg",
            "/var/lib/apt",
            "/var/log",
            "/var/lib/systemd",
            "/run/systemd",
            "/var/tmp/systemd-private-",
            "/etc/.pwd.lock",
        ]
        .iter()
        .any(|other| path.starts_with(other))
    };
    let new: Vec<_> = files(host).difference(before).filter(ours).cloned().collect();
    let mut tops: BTreeSet<String> = BTreeSet::new();
    for path in new {
        if path.starts_with("/etc/nginx/ssl/") {
            tops.insert("/etc/nginx/ssl".into());
        } else if !tops.iter().any(|top| path.starts_with(&format!("{top}/"))) {
            tops.insert(path);
        }
    }
    tops
}
