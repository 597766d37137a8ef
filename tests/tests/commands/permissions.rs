//! Who may ask the controller for a change, and how it is written down who did.

use std::{fs, os::unix::fs::PermissionsExt, os::unix::process::CommandExt};

use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    process::{self, Finished},
    wait::PATIENCE,
};
use rustix::process::geteuid;
use serde_json::{Value, json};

/// In the group `pinion-admin`, where there is one.
const ALICE: u32 = 61001;
/// In the group `pinion` only.
const BOB: u32 = 61002;

/// Every command that changes something.
const CHANGES: [&[&str]; 13] = [
    &["notify", "test"],
    &["freeze", "web"],
    &["ensure", "web", "--renew", "--timeout", "1s"],
    &["ensure", "web", "--timeout", "1s"],
    &["token", "create", "--guest", "1002"],
    &["guest", "unlock", "1001"],
    &["guest", "forget", "1001"],
    &["guest", "evict", "1001"],
    &["guest", "evict", "--compromised", "1001"],
    &["guest", "enroll", "1001"],
    &["guest", "wake", "1001"],
    &["purge", "web"],
    &["guest", "forget", "1009"],
];

/// Every command that only looks.
const LOOKS: [&[&str]; 6] =
    [&["status"], &["show", "web"], &["plan"], &["events"], &["guest", "list"], &["issuer", "check"]];

/// A host with a guest, whose socket lets every user in.
fn site() -> (Host, Guest) {
    let certificates = json!([{ "name": "web", "common_name": "web.internal.example",
                                "placements": [{ "guest": 1001, "recipe": "files" }] }]);
    let host = Host::start(&HostOptions::embedded(&certificates)).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&["web"], "reloaded").expect("it is there");
    let users = format!("root:x:0:0::/:\nalice:x:{ALICE}:{ALICE}::/:\nbob:x:{BOB}:{BOB}::/:\n");
    fs::write(host.root().join("etc/passwd"), users).expect("written");
    for (path, mode) in [("", 0o755), ("run/pinion/controller.sock", 0o666), ("etc/pinion/controller.toml", 0o644)] {
        fs::set_permissions(host.root().join(path), fs::Permissions::from_mode(mode)).expect("opened");
    }
    (host, guest)
}

fn groups(host: &Host, text: &str) {
    fs::write(host.root().join("etc/group"), text).expect("written");
}

fn pinion_as(host: &Host, user: u32, arguments: &[&str]) -> Finished {
    let mut command = host.command(arguments).expect("pinion is built");
    process::run(command.uid(user).gid(user), b"", PATIENCE).expect("it runs")
}

fn asked(host: &Host) -> Vec<Value> {
    let events = host.pinion(&["events", "--json"]).and_then(Finished::succeeded).expect("events").stdout;
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect("an event"));
    events.filter(|event| !event["by"].is_null()).collect()
}

#[test]
fn only_admins_change_something_and_others_look() {
    if !geteuid().is_root() {
        // Nobody else can be become.
        return;
    }
    let (host, _guest) = site();
    groups(&host, &format!("pinion:x:998:alice,bob\npinion-admin:x:997:alice\nalice:x:{ALICE}:\n"));
    let before = asked(&host).len();
    for arguments in LOOKS {
        pinion_as(&host, BOB, arguments).succeeded().expect("looking is allowed");
    }
    for arguments in CHANGES {
        let refused = pinion_as(&host, BOB, arguments);
        assert_eq!(refused.code(), 4, "{refused}");
        assert!(refused.stdout.is_empty() && refused.stderr.contains("group pinion-admin"), "{refused}");
        assert!(refused.stderr.contains("bob (uid 61002)"), "{refused}");
    }
    assert_eq!(asked(&host).len(), before, "nothing that was refused was done");

    let token = pinion_as(&host, ALICE, &["token", "create", "--guest", "1002"]).succeeded().expect("she is an admin");
    assert!(!token.stdout.trim().is_empty());
    pinion_as(&host, ALICE, &["ensure", "web", "--renew", "--until", "reloaded"]).succeeded().expect("renewed");
    host.pinion(&["guest", "unlock", "1001"]).and_then(Finished::succeeded).expect("root always may");
    let asked = asked(&host);
    let by = |wanted: &str| asked.iter().find(|event| event["text"].as_str().is_some_and(|text| text.contains(wanted)));
    for (wanted, uid, name) in
        [("token for guest 1002", ALICE, "alice"), ("Renewal of", ALICE, "alice"), ("was unlocked", 0, "root")]
    {
        let event = by(wanted).unwrap_or_else(|| panic!("{wanted}: {asked:?}"));
        assert_eq!(event["by"], json!({ "uid": uid, "name": name }), "{event}");
        assert!(event["text"].as_str().is_some_and(|text| text.contains(&format!("requested by {name}"))), "{event}");
    }
    // Taken out of the group, she is refused at once.
    groups(&host, "pinion:x:998:alice,bob\npinion-admin:x:997:\n");
    assert_eq!(pinion_as(&host, ALICE, &["guest", "unlock", "1001"]).code(), 4);
}

#[test]
fn where_the_group_is_not_there_only_root_and_the_controllers_user_change_something() {
    if !geteuid().is_root() {
        return;
    }
    let (host, _guest) = site();
    groups(&host, "pinion:x:998:alice,bob\n");
    let refused = pinion_as(&host, ALICE, &["token", "create", "--guest", "1002"]);
    assert!(refused.code() == 4 && refused.stderr.contains("systemd-sysusers"), "{refused}");
    pinion_as(&host, ALICE, &["status"]).succeeded().expect("looking is allowed");
    host.pinion(&["token", "create", "--guest", "1002"]).and_then(Finished::succeeded).expect("root may");
}
