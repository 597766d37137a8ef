//! What systemd knows of the daemons: priorities in the journal, and a status line.

use pinion_tests::{
    lab::booted::{Booted, UNITS},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

/// The journal's entries of a unit since it was asked for the last time, by their cursor.
fn entries(host: &Booted, unit: &str) -> Vec<Value> {
    let found = host.well(&["journalctl", "--no-pager", "--output=json", "--unit", unit]).expect("a journal");
    found.stdout.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
}

/// Waits for a message that has these words, of the unit's own programs; its priority.
fn priority(host: &Booted, unit: &str, words: &str) -> String {
    let found = wait::until(words, PATIENCE, || {
        let entries = entries(host, unit);
        let entry =
            entries.iter().rev().find(|entry| entry["MESSAGE"].as_str().is_some_and(|text| text.contains(words)));
        entry.map(|entry| entry["PRIORITY"].as_str().unwrap_or_default().to_owned()).ok_or("not yet")
    });
    found.unwrap_or_else(|error| panic!("{error:#}\n{}", host.journal()))
}

/// Waits until a unit's status has these words.
fn wait_text(host: &Booted, unit: &str, words: &str) {
    let found = wait::until(words, PATIENCE, || {
        let text = host.property(unit, "StatusText").map_err(|error| format!("{error:#}"))?;
        if text.contains(words) { Ok(()) } else { Err(text) }
    });
    found.unwrap_or_else(|error| panic!("{unit}: {error:#}\n{}", host.journal()));
}

#[test]
fn systemd_tells_errors_from_warnings_and_shows_how_the_daemons_are() {
    let host = Booted::install(&json!({ "version": 1, "certificates": [] })).expect("installed");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    host.join().expect("the host's agent joins");
    wait_text(&host, "pinion.service", "0 of 0 placements good");
    wait_text(&host, "pinion-agent.service", "0 of 0 placements good; linked to 127.0.0.1:7443");
    let check = host.well(&["pinion", "status", "--check"]).expect("all is well");
    assert_eq!(check.stdout.trim(), "0 of 0 placements good", "{check}");

    // The agent warns that it has lost its controller.
    host.well(&["systemctl", "stop", "pinion.service"]).expect("stopped");
    assert_eq!(priority(&host, "pinion-agent.service", "No link to the controller"), "4");
    wait_text(&host, "pinion-agent.service", "not linked");
    let check = host.run(&["pinion", "status", "--check"]).expect("it runs");
    assert!(check.code() == 5 && check.stderr.contains("systemctl start pinion"), "{check}");

    // A mistake keeps the controller from starting: an error, with its line.
    let config = host.path("/etc/pinion/controller.toml");
    let good = std::fs::read(&config).expect("a configuration");
    host.write("/etc/pinion/controller.toml", 0o644, b"lisen = 1\n").expect("written");
    host.run(&["systemctl", "start", "--no-block", "pinion.service"]).expect("it runs");
    assert_eq!(priority(&host, "pinion.service", "controller.toml:1:1 lisen"), "3");
    host.write("/etc/pinion/controller.toml", 0o644, &good).expect("written");
    host.wait_well().expect("well again");
    // One in the manifest does not: a warning.
    host.write("/etc/pinion/certificate-manifest.json", 0o644, b"{").expect("written");
    assert_eq!(priority(&host, "pinion.service", "The manifest on disk cannot be used"), "4");
    let check = host.run(&["pinion", "status", "--check"]).expect("it runs");
    assert!(check.code() == 2 && check.stdout.contains("the manifest on disk is not in force"), "{check}");

    for unit in UNITS {
        let entries = entries(&host, unit);
        let ours = entries.iter().filter(|entry| entry["_TRANSPORT"] == "stdout");
        let mut count = 0;
        for entry in ours {
            let text = entry["MESSAGE"].as_str().unwrap_or_default();
            // The journal has the time, and systemd has taken the priority away.
            assert!(!text.trim_start().starts_with("20") && !text.starts_with('<'), "{unit}: {text}");
            count += 1;
        }
        assert!(count > 0, "{unit} has logged nothing\n{}", host.journal());
    }
}
