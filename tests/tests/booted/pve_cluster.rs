//! `/etc/pve` goes and comes, or is dead, and Pinion's daemons live through it.

use pinion_tests::{
    lab::booted::{Booted, UNITS},
    wait::{self, PATIENCE},
};
use serde_json::json;

#[test]
fn every_unit_starts_while_the_cluster_file_system_is_away_or_dead() {
    let host = Booted::install(&json!({ "version": 1, "certificates": [] })).expect("installed");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    for dead in [true, false] {
        if dead {
            host.well(&["systemctl", "kill", "--signal=KILL", "pve-cluster.service"]).expect("killed");
            let gone = wait::until("a dead mount", PATIENCE, || {
                let looked = host.run(&["ls", "/etc/pve"]).map_err(|error| format!("{error:#}"))?;
                if looked.stderr.contains("not connected") { Ok(()) } else { Err(looked.to_string()) }
            });
            gone.expect("it is dead");
        } else {
            host.well(&["systemctl", "stop", "pve-cluster.service"]).expect("stopped");
        }
        for unit in ["pinion-channel", "pinion", "pinion-agent"] {
            host.well(&["systemctl", "restart", unit])
                .unwrap_or_else(|error| panic!("dead: {dead}: {unit}: {error:#}\n{}", host.journal()));
        }
        host.wait_well().expect("well");
        let again = host.well(&["systemctl", "restart", "pve-cluster.service"]);
        again.unwrap_or_else(|error| panic!("it cannot mount again: {error:#}\n{}", host.journal()));
    }
}

/// Waits until a process sees what is mounted at `/etc/pve`; its view is that of the unit's sandbox.
fn wait_seen(host: &Booted, unit: &str, what: &str) {
    let pid = host.property(unit, "MainPID").expect("it runs");
    let seen = wait::until(&format!("{unit} to see /etc/pve"), PATIENCE, || {
        host.well(&["test", "-d", &format!("/proc/{pid}/root/etc/pve/nodes/pve1")])
            .map_err(|error| format!("{error:#}"))
    });
    seen.unwrap_or_else(|error| panic!("{what}: {error:#}\n{}", host.journal()));
}

#[test]
fn no_sandbox_keeps_a_cluster_file_system_that_has_gone() {
    let host = Booted::install(&json!({ "version": 1, "certificates": [] })).expect("installed");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    // Mounted before the units, and after them: the sandboxes are made from what is there.
    for mounted_first in [true, false] {
        if !mounted_first {
            host.well(&["systemctl", "stop", "pve-cluster.service"]).expect("stopped");
            for unit in UNITS {
                host.well(&["systemctl", "restart", unit]).expect("restarted");
            }
            // Restarting one that wants it has started it again.
            host.well(&["systemctl", "stop", "pve-cluster.service"]).expect("stopped");
        }
        for end in [&["restart"][..], &["kill", "--signal=KILL"]] {
            host.well(&[&["systemctl"], end, &["pve-cluster.service"]].concat()).expect("done");
            host.well(&["systemctl", "restart", "pve-cluster.service"]).expect("it mounts again");
            for unit in UNITS {
                wait_seen(&host, unit, &format!("mounted first: {mounted_first}, {}", end.join(" ")));
            }
        }
    }
}
