//! A guest with systemd: what the agent calls `systemctl` with, and what it makes of the answers.
//!
//! `systemctl` is a stand-in in the guest that writes down how it is called; the services are real.

use std::{fs, os::unix::fs::PermissionsExt};

use pinion_proto::stage::{Halt, Stage};
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    look,
    nginx::Nginx,
    tls_server::TlsServer,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

const NAME: &str = "web.internal.example";
const FULLCHAIN: &str = "/etc/nginx/ssl/web.crt";
const KEY: &str = "/etc/nginx/ssl/web.key";
const ROOT: &str = "/etc/nginx/ssl/root.crt";

/// Puts a `systemctl` and the directory that systemd makes when it runs (`sd_booted(3)`) into the guest.
///
/// `state` and `refusal` are files that a test writes: the `ActiveState` that `show` prints, and what the verbs fail with.
/// A verb that does not fail is passed on to the unit.
fn boot(guest: &Guest) {
    guest.write("run/systemd/system/.keep", "").expect("written");
    guest.write("run/systemctl/state", "active\n").expect("written");
    let script = "#!/bin/sh\n\
                  cd \"$PINION_ROOT/run/systemctl\" || exit 1\n\
                  printf '[%s]' \"$@\" >>calls\n\
                  echo >>calls\n\
                  case $1 in\n\
                  show) echo \"ActiveState=$(cat state)\" ;;\n\
                  *) if [ -s refusal ]; then cat refusal >&2; exit 1; fi\n\
                  \texec \"$PINION_ROOT/etc/pinion/hooks.d/$3\" \"$2\" ;;\n\
                  esac\n";
    guest.write("usr/bin/systemctl", script).expect("written");
    let path = guest.path("/usr/bin/systemctl");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

/// How `systemctl` was called since the last time.
fn calls(guest: &Guest) -> Vec<String> {
    let text = guest.read("/run/systemctl/calls").unwrap_or_default();
    guest.write("run/systemctl/calls", "").expect("written");
    text.lines().map(str::to_owned).collect()
}

fn call(verb: &str, unit: &str) -> String {
    format!("[--no-ask-password][{verb}][{unit}]")
}

/// Whether systemd was asked what a unit does, which changes nothing.
fn is_question(call: &str, unit: &str) -> bool {
    call.starts_with("[show][--property=") && call.ends_with(&format!("][{unit}]"))
}

/// A host and a guest with a certificate `web` in this place, installed.
fn installed(host: &Host, placement: &Value) {
    let certificates = json!([{ "name": "web", "common_name": NAME, "placements": [placement] }]);
    host.write_manifest(&json!({ "version": 1, "certificates": certificates })).expect("written");
    host.ensure(&["web"], "installed").expect("installed");
}

fn nginx_placement(nginx: &Nginx, guest: &Guest) -> Value {
    let mut placement = nginx.placement(guest);
    placement["files"] = json!({ "fullchain": { "path": FULLCHAIN }, "key": { "path": KEY }, "ca": { "path": ROOT } });
    placement
}

#[test]
fn an_active_unit_is_reloaded_or_restarted_by_these_very_words() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    boot(&guest);
    for tell in ["reload", "restart"] {
        let server = TlsServer::install(&guest, "/etc/ssl/web.crt", "/etc/ssl/web.key").expect("tls-server is built");
        installed(&host, &server.placement(&guest, tell));
        server.unit().start().expect("it starts");
        host.ensure(&["web"], "served").expect("served");
        calls(&guest);
        host.renew(&["web"], "served").expect("renewed");
        let unit = "tls-server.service";
        let calls = calls(&guest);
        let [asked, told] = &calls[..] else { panic!("{calls:?}") };
        assert!(is_question(asked, unit) && *told == call(tell, unit), "{calls:?}");
    }
}

#[test]
fn a_unit_that_has_failed_is_started_anew_and_one_that_is_off_is_left_alone() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    boot(&guest);
    let nginx = Nginx::install(&guest, FULLCHAIN, KEY).expect("nginx is installed");
    // It holds the package's pair, so that what it shows tells whether it was told.
    Nginx::place_snakeoil(&guest, FULLCHAIN, KEY).expect("written");
    nginx.unit().start().expect("nginx starts");
    guest.write("run/systemctl/state", "inactive\n").expect("written");
    installed(&host, &nginx_placement(&nginx, &guest));
    let waiting = host.wait_placement("web@1001", |found| found.trouble.is_some()).expect("nobody is told");
    let trouble = waiting.trouble.expect("it was waited for");
    assert!(trouble.halt == Halt::Waiting && trouble.cause.contains("nginx.service is not running"), "{trouble}");
    let so_far = calls(&guest);
    assert!(so_far.iter().all(|line| is_question(line, "nginx.service")), "{so_far:?}");

    // A reload would not bring it back.
    guest.write("run/systemctl/state", "failed\n").expect("written");
    host.ensure(&["web"], "served").expect("served");
    let told: Vec<_> = calls(&guest).into_iter().filter(|line| !line.starts_with("[show]")).collect();
    assert_eq!(told, [call("restart", "nginx.service")]);
}

#[test]
fn a_systemctl_that_fails_is_reported_in_its_own_words_and_the_old_certificate_stays() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    boot(&guest);
    let nginx = Nginx::install(&guest, FULLCHAIN, KEY).expect("nginx is installed");
    installed(&host, &nginx_placement(&nginx, &guest));
    nginx.unit().start().expect("nginx starts");
    host.ensure(&["web"], "served").expect("served");
    let before = host.status().expect("a status").placement("web@1001").expect("it is there").clone();
    let serial = before.serial.expect("it is installed");

    let words = "Job for nginx.service failed because a timeout was exceeded.\n";
    guest.write("run/systemctl/refusal", words).expect("written");
    let finished = host.pinion(&["ensure", "web", "--renew", "--timeout", "25s"]).expect("it runs");
    assert_eq!(finished.code(), 4, "it gives up after some tries: {finished}");
    for part in ["reload nginx.service", words.trim(), "exit status: 1"] {
        assert!(finished.stderr.contains(part), "{part:?} in {finished}");
    }
    assert_eq!(look::served(nginx.address(), NAME, &guest.path(ROOT)).expect("nginx answers").serial(), serial);

    // What was mended need not be waited for until the next try.
    guest.write("run/systemctl/refusal", "").expect("written");
    host.ensure(&["web"], "served").expect("served");
    let after = host.wait_placement("web@1001", |found| found.stage == Stage::Served && found.trouble.is_none());
    let fresh = after.expect("nothing is wrong any more").serial.expect("it is installed");
    assert_ne!(fresh, serial);
    look::wait_served(nginx.address(), NAME, &guest.path(ROOT), &fresh).expect("the new one is served");
    let log = wait::until("the agent to have said so", PATIENCE, || match host.pinion(&["events"]) {
        Ok(events) if events.stdout.contains(words.trim()) => Ok(()),
        Ok(events) => Err(events.stdout),
        Err(error) => Err(format!("{error:#}")),
    });
    log.expect("it is among the events");
}
