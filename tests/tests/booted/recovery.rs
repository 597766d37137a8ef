//! The commands of docs/recovery.md under a real systemd, with the shipped units: each of them starts and stops what it
//! names, and nothing fails before it runs.

use pinion_proto::clock::{Clock as _, SystemClock};
use pinion_tests::{
    lab::booted::{Booted, UNITS},
    process::Finished,
    steps::{self, Place},
    wait::{self, PATIENCE},
};
use serde_json::json;

const BACKUPS: &str = "/var/backups/pinion";
const COPY: &str = "/var/backups/host-pinion";

/// Types what is below a heading; the host is its own only guest.
fn follow(host: &Booted, heading: &str, values: &[(&str, &str)]) {
    let mut said = String::new();
    for block in steps::section("recovery.md", heading).expect("commands") {
        for line in &block.lines {
            let line = steps::filled(line, values).expect("every word has its value");
            // The package is there, as far as it can be lost without the programs.
            let line = if line.starts_with("apt install ") { "systemd-tmpfiles --create pinion.conf" } else { &*line };
            let pasted = if block.place == Place::Guest { std::mem::take(&mut said) } else { String::new() };
            let done = host.run_with(&["sh", "-c", line], pasted.as_bytes()).expect("it ends");
            // Its code tells how all placements are.
            let well = done.code() == 0 || line == "pinion status" && done.code() != 5;
            assert!(well, "{heading}: {done}\n{}", host.journal());
            said = done.stdout;
        }
    }
}

fn sh(host: &Booted, line: &str) -> String {
    host.well(&["sh", "-ec", line]).expect("it runs").stdout
}

/// Waits until the host's agent is linked; it was not restarted, and no unit failed to start.
fn is_linked(host: &Booted, agent: &str, what: &str) {
    let linked = host
        .wait_status("the host's agent to be linked", 3 * PATIENCE, |status| status.is_linked("host").then_some(()));
    linked.unwrap_or_else(|error| panic!("{what}: {error:#}"));
    assert_eq!(host.property("pinion-agent.service", "MainPID").expect("a number"), agent, "{what}");
    for unit in UNITS {
        let state = ["ActiveState", "NRestarts", "UnitFileState"].map(|name| host.property(unit, name).expect("known"));
        assert_eq!(state, ["active", "0", "enabled"], "{what}: {unit}\n{}", host.journal());
    }
}

#[test]
fn the_documented_commands_stop_and_start_the_shipped_units() {
    let host = Booted::install(&json!({ "version": 1, "certificates": [] })).expect("installed");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    host.join().expect("the host's agent joins");
    let agent = host.property("pinion-agent.service", "MainPID").expect("a number");
    is_linked(&host, &agent, "at first");
    let old = format!("{BACKUPS}/old.backup");
    sh(&host, "mkdir -p /etc/cron.d /var/backups");
    follow(&host, "Back up", &[("FILE", &old)]);
    sh(&host, &format!("cp -a /var/lib/pinion {COPY}"));
    assert_eq!(sh(&host, &format!("stat --format %a {BACKUPS} {old}")), "700\n600\n");

    // A guest is put out, and the host's agent has another identity: a newer one by its certificate, which counts in seconds.
    host.run(&["pinion", "guest", "evict", "104"]).expect("it runs");
    let second = || SystemClock.now().unix();
    let backed_up = second();
    let later = || if second() > backed_up { Ok(()) } else { Err("the same second") };
    wait::until("the second to be over", PATIENCE, later).expect("time passes");
    host.join().expect("it joins again");
    for (heading, values) in
        [("Restore an old backup", &[("FILE", &*old)][..]), ("From a copy of the directory", &[("COPY", COPY)])]
    {
        follow(&host, heading, values);
        host.wait_status("the host's agent to be named", PATIENCE, |status| {
            status.notes.iter().any(|note| note.contains("1 guest (host)")).then_some(())
        })
        .unwrap_or_else(|error| panic!("{heading}: {error:#}"));
        follow(&host, "Join a guest again", &[("GUEST", "host")]);
        is_linked(&host, &agent, heading);
        let list = sh(&host, "cat /var/lib/pinion/local/evictions.json /var/lib/pinion/shared/evictions.json");
        assert_eq!(list.matches("\"104\"").count(), 2, "{heading}: {list}");
    }

    let newest = format!("{BACKUPS}/newest.backup");
    host.run(&["pinion", "backup", &newest]).and_then(Finished::succeeded).expect("a backup");
    sh(&host, "rm -rf /var/lib/pinion/local");
    follow(&host, "Lost `local`", &[]);
    is_linked(&host, &agent, "local is lost");
    sh(
        &host,
        "systemctl disable --now pinion pinion-channel && rm -rf /var/lib/pinion /var/lib/pinion-channel /etc/pinion",
    );
    follow(&host, "Lost everything, with a backup", &[("FILE", &newest)]);
    is_linked(&host, &agent, "everything is lost");
    let owners = "stat --format '%U %a' /var/lib/pinion /var/lib/pinion/shared /var/lib/pinion-channel /etc/pinion";
    assert_eq!(sh(&host, owners), "pinion 700\npinion 700\nroot 700\nroot 755\n");
    let list = sh(&host, "cat /var/lib/pinion/local/evictions.json");
    assert!(list.contains("\"104\""), "{list}");
}
