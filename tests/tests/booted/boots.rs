//! In whatever order the units start, all three daemons answer on sockets that are theirs.

use pinion_tests::lab::booted::{Booted, UNITS};
use serde_json::json;

/// A manifest of nothing.
fn nothing() -> serde_json::Value {
    json!({ "version": 1, "certificates": [] })
}

/// Has these units start one after the other, each when the one before is ready.
fn order(host: &Booted, units: [&str; 3]) {
    for unit in UNITS {
        let earlier = units.iter().take_while(|other| **other != unit).copied().collect::<Vec<_>>().join(" ");
        // The shipped `After=` would make circles with other orders.
        let shipped = host.path("/usr/lib/systemd/system").join(unit);
        let text = std::fs::read_to_string(&shipped).expect("a unit");
        let kept: Vec<_> = text.lines().filter(|line| !line.starts_with("After=")).collect();
        let text = kept.join("\n").replacen("[Unit]", &format!("[Unit]\nAfter={earlier}"), 1) + "\n";
        host.write(&format!("/etc/systemd/system/{unit}"), 0o644, text.as_bytes()).expect("written");
    }
}

fn is_well(host: &Booted, what: &str) {
    host.wait_well().unwrap_or_else(|error| panic!("{what}: {error:#}"));
    for unit in UNITS {
        let restarts = host.property(unit, "NRestarts").expect("a number");
        assert_eq!(restarts, "0", "{what}: {unit} failed before it ran\n{}", host.journal());
    }
}

#[test]
fn three_boots_with_the_shipped_units_and_one_in_each_other_order() {
    let host = Booted::install(&nothing()).expect("installed");
    host.boot().expect("it boots");
    is_well(&host, "the first boot");
    host.join().expect("the host's agent joins");
    for boot in ["the second boot", "the third boot"] {
        host.reboot().expect("it boots");
        is_well(&host, boot);
        // It is linked again by itself.
        let linked = host.wait_status("the host's agent to be linked", pinion_tests::wait::PATIENCE, |status| {
            status.is_linked("host").then_some(())
        });
        linked.unwrap_or_else(|error| panic!("{boot}: {error:#}"));
    }
    let [channel, serve, agent] = UNITS;
    for units in [[agent, serve, channel], [serve, agent, channel]] {
        order(&host, units);
        host.reboot().expect("it boots");
        is_well(&host, &units.join(", then "));
    }
}

#[test]
fn the_units_restart_in_every_order() {
    let host = Booted::install(&nothing()).expect("installed");
    host.boot().expect("it boots");
    let [a, b, c] = UNITS;
    for units in [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
        for unit in units {
            host.well(&["systemctl", "restart", unit]).expect("restarted");
            is_well(&host, &format!("{}: after {unit}", units.join(", ")));
        }
    }
    // Stopped and killed ones leave the others what is theirs.
    for unit in UNITS {
        host.well(&["systemctl", "kill", "--signal=KILL", unit]).expect("killed");
        host.wait_well().unwrap_or_else(|error| panic!("{unit} killed: {error:#}"));
        host.well(&["systemctl", "stop", unit]).expect("stopped");
        host.well(&["systemctl", "start", unit]).expect("started");
        host.wait_well().unwrap_or_else(|error| panic!("{unit} stopped and started: {error:#}"));
    }
}
