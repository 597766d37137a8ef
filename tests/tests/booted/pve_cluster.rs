//! `/etc/pve` goes and comes, or is dead, and Pinion's daemons live through it.

use pinion_tests::{
    lab::booted::{Booted, UNITS},
    process::Finished,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

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

/// A manifest of one file placement for each of these guests.
fn placed_in(guests: &[u32]) -> Value {
    let certificates: Vec<_> = guests
        .iter()
        .map(|guest| {
            json!({ "name": format!("web{guest}"), "common_name": format!("web{guest}.internal.example"),
                    "placements": [{ "guest": guest, "recipe": "files" }] })
        })
        .collect();
    json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": certificates })
}

/// Makes a container, as far as its configuration goes.
fn create_container(host: &Booted, vmid: u32) {
    let path = format!("/etc/pve/nodes/pve1/lxc/{vmid}.conf");
    let conf = format!("arch: amd64\nhostname: web{vmid}\nostype: debian\nunprivileged: 1\n");
    let written = host.run_with(&["tee", &path], conf.as_bytes()).and_then(Finished::succeeded);
    written.unwrap_or_else(|error| panic!("{error:#}\n{}", host.journal()));
}

#[test]
fn the_controller_sees_guests_again_whenever_the_cluster_file_system_is_back() {
    let numbers = [101, 102, 103, 104];
    let host = Booted::install(&placed_in(&numbers)).expect("installed");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    let pids = || UNITS.map(|unit| host.property(unit, "MainPID").expect("it runs"));
    let before = pids();
    let mut created = numbers.into_iter();
    let mut seen = |what: &str| {
        let vmid = created.next().expect("as many guests as moments");
        create_container(&host, vmid);
        let name = format!("web{vmid}");
        let seen = host.wait_status(&format!("guest {vmid} to be seen"), PATIENCE, |status| {
            let guest = status.guest(&vmid.to_string())?;
            (guest.name.as_deref() == Some(&name) && guest.running == Some(false)).then_some(())
        });
        seen.unwrap_or_else(|error| panic!("{what}: {error:#}"));
    };
    seen("at first");
    host.well(&["systemctl", "restart", "pve-cluster.service"]).expect("restarted");
    seen("restarted, as each upgrade of pve-cluster does");
    host.well(&["systemctl", "stop", "pve-cluster.service"]).expect("stopped");
    let told = host.wait_status("the host's trouble to be told", PATIENCE, |status| {
        (!status.troubles.is_empty()).then(|| status.clone())
    });
    let told = told.expect("it is told");
    assert!(told.guest("101").is_some_and(|guest| !guest.missing), "Pinion keeps the last list of guests: {told:?}");
    host.well(&["systemctl", "start", "pve-cluster.service"]).expect("started");
    seen("stopped, and started later");
    host.well(&["systemctl", "kill", "--signal=KILL", "pve-cluster.service"]).expect("killed");
    host.well(&["systemctl", "restart", "pve-cluster.service"]).expect("nobody keeps it from mounting again");
    seen("killed, and started");
    host.wait_status("no trouble to be left", PATIENCE, |status| status.troubles.is_empty().then_some(()))
        .expect("well");
    assert_eq!(pids(), before, "nothing of Pinion was restarted for it");
}

#[test]
fn guests_are_seen_when_the_cluster_file_system_comes_after_pinion() {
    let host = Booted::install(&placed_in(&[101])).expect("installed");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    create_container(&host, 101);
    host.well(&["systemctl", "stop", "pve-cluster.service"]).expect("stopped");
    // Nobody wants it meanwhile, as when it fails at boot.
    host.well(&["touch", "/run/no-pve-cluster"]).expect("written");
    for unit in UNITS {
        host.well(&["systemctl", "restart", unit]).expect("restarted");
    }
    host.wait_well().expect("well");
    let told = host.wait_status("the host's trouble to be told", PATIENCE, |status| {
        (!status.troubles.is_empty()).then(|| status.troubles.clone())
    });
    told.expect("it is told that Proxmox does not tell");
    host.well(&["rm", "/run/no-pve-cluster"]).expect("removed");
    host.well(&["systemctl", "start", "pve-cluster.service"]).expect("started");
    let seen = host.wait_status("guest 101 to be seen", PATIENCE, |status| {
        (status.guest("101")?.running == Some(false) && status.troubles.is_empty()).then_some(())
    });
    seen.expect("it is seen");
}
