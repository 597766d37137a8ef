//! `pinion setup` on a host that has the programs and the units alone: from nothing to a controller that runs.

use std::fs;

use pinion_tests::{lab::booted::Booted, wait::PATIENCE};
use serde_json::{Value, json};

const UNITS: [&str; 2] = ["pinion-channel.service", "pinion.service"];

#[test]
fn from_nothing_to_a_controller_that_runs() {
    let host = Booted::install(&json!({ "version": 1, "certificates": [] })).expect("installed");
    for name in ["controller.toml", "certificate-manifest.json", "agent.toml"] {
        fs::remove_file(host.path("/etc/pinion").join(name)).expect("removed");
    }
    for unit in UNITS {
        fs::remove_file(host.path("/etc/systemd/system/multi-user.target.wants").join(unit)).expect("disabled");
    }
    host.boot().expect("it boots");
    host.well(&["systemctl", "stop", "pinion.service", "pinion-channel.service"]).expect("nothing runs");
    host.well(&["mkdir", "-p", "/etc/pve/nodes/pve1/lxc"]).expect("a directory");
    let conf = b"hostname: gateway\narch: amd64\n";
    host.run_with(&["tee", "/etc/pve/nodes/pve1/lxc/101.conf"], conf)
        .and_then(|done| done.succeeded())
        .expect("a guest");

    let prepared = host.run(&["pinion", "setup", "--yes", "--issuer", "embedded", "--no-start"]).expect("it runs");
    assert!(prepared.code() == 0 && prepared.stdout.contains("systemctl enable --now"), "{prepared}");
    assert!(prepared.stdout.contains("10.0.0.113:7443"), "its address was found: {prepared}");
    for unit in UNITS {
        assert_eq!(host.property(unit, "ActiveState").expect("a state"), "inactive", "{unit}");
    }
    let done = host.run(&["pinion", "setup"]).expect("it runs");
    assert!(done.code() == 0, "{done}\n{}", host.journal());
    assert!(done.stdout.contains("the controller answers"), "{done}");
    assert!(done.stdout.contains("for guest 101 (gateway)"), "a guest that there is: {done}");
    for unit in UNITS {
        let state = ["ActiveState", "UnitFileState"].map(|name| host.property(unit, name).expect("a state"));
        assert_eq!(state, ["active", "enabled"], "{unit}");
    }
    let pids = UNITS.map(|unit| host.property(unit, "MainPID").expect("a process"));

    let again = host.run(&["pinion", "--json", "setup"]).expect("it runs");
    let document: Value = serde_json::from_str(&again.stdout).expect("a document");
    assert!(again.code() == 0 && document["started"] == true && document["written"] == json!([]), "{again}");
    assert_eq!(UNITS.map(|unit| host.property(unit, "MainPID").expect("a process")), pids, "nothing was restarted");

    host.reboot().expect("it boots");
    host.wait_status("the controller to answer", PATIENCE, |_| Some(())).expect("it runs after a boot, too");

    // A mistake in a file that is there: it says what is wrong, and starts nothing anew.
    host.write("/etc/pinion/controller.toml", 0o644, b"advertise = 7\n").expect("written");
    let wrong = host.run(&["pinion", "setup"]).expect("it runs");
    assert!(wrong.code() == 2 && wrong.stderr.contains("controller.toml:1:"), "{wrong}");
}
