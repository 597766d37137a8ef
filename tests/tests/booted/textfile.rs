//! The file with the metrics, written by the shipped unit in its sandbox, as docs/monitoring.md says.

use std::{fs, os::unix::fs::PermissionsExt as _};

use pinion_tests::{
    lab::booted::Booted,
    wait::{self, PATIENCE},
};
use serde_json::json;

const DIRECTORY: &str = "/var/lib/prometheus/node-exporter";

#[test]
fn the_unit_writes_its_textfile_where_a_drop_in_lets_it() {
    let host = Booted::install(&json!({ "version": 1, "certificates": [] })).expect("installed");
    let config = fs::read_to_string(host.path("/etc/pinion/controller.toml")).expect("there");
    let web = format!("[web]\nenabled = false\ntextfile = \"{DIRECTORY}/pinion.prom\"\n");
    host.write("/etc/pinion/controller.toml", 0o644, (config + &web).as_bytes()).expect("written");
    // As Debian's package has it.
    fs::create_dir_all(host.path(DIRECTORY)).expect("made");
    fs::set_permissions(host.path(DIRECTORY), fs::Permissions::from_mode(0o755)).expect("set");
    host.boot().expect("it boots");
    let failed = "Cannot write the file with the metrics";
    wait::until("the failure to be logged", PATIENCE, || {
        let journal = host.journal();
        if journal.contains(failed) { Ok(()) } else { Err(journal) }
    })
    .expect("logged");
    host.wait_status("the controller to answer", PATIENCE, |_| Some(())).expect("everything else works");

    host.well(&["chgrp", "pinion", DIRECTORY]).expect("given");
    host.well(&["chmod", "g+w", DIRECTORY]).expect("given");
    let drop_in = format!("[Service]\nReadWritePaths=-{DIRECTORY}\n");
    host.write("/etc/systemd/system/pinion.service.d/override.conf", 0o644, drop_in.as_bytes()).expect("written");
    host.well(&["pinion", "config", "check"]).expect("it fits");
    host.well(&["systemctl", "daemon-reload"]).expect("read");
    host.well(&["systemctl", "restart", "pinion"]).expect("restarted");
    let path = host.path(DIRECTORY).join("pinion.prom");
    let text = wait::until("the file", PATIENCE, || fs::read_to_string(&path)).expect("written");
    assert!(text.contains("pinion_build_info{"), "{text}");
    let mode = fs::metadata(&path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o644, "whatever the unit's umask is");
}
