//! Pinion killed in the middle of an enrolment: started again it finishes, with one identity and one agent.

use pinion_tests::{
    lab::{
        Lab,
        installation::{Installation, LONG, pinion},
    },
    process::Process,
    wait,
};
use serde_json::Value;

use crate::small_guests::{container, numbered, wait_well};

/// The steps of an enrolment, by the words that whoever asked for it reads.
const STEPS: [(u32, &str); 6] = [
    (104, "it answers"),
    (105, "installing the agent"),
    (106, "is installed and runs"),
    (107, "joining"),
    (108, "it has joined"),
    (109, "is enrolled and linked"),
];

/// Names that a file has while it is not complete.
const UNFINISHED: [&str; 3] = ["*.pinion-new", "*.pinion-copy", "*.tmp"];

/// Asks for the enrolment, and waits until it has come to `step`.
fn enroll_until(lab: &Lab, logs: &tempfile::TempDir, vmid: u32, step: &str) {
    let mut command = lab.command("pinion");
    command.args(["guest", "enroll", &vmid.to_string()]);
    let log = logs.path().join(vmid.to_string());
    let asking = Process::spawn("pinion guest enroll", &mut command, &log).expect("started");
    wait::until(&format!("`{step}` in guest {vmid}"), LONG, || {
        let log = asking.log();
        if log.contains(step) { Ok(()) } else { Err(log) }
    })
    .expect("it comes so far");
}

/// One identity, one agent, and nothing unfinished.
fn assert_whole(lab: &Lab, vmid: u32) {
    let listed = pinion(lab, "guest list --json").expect("it runs").succeeded().expect("it answers").stdout;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let number = vmid.to_string();
    let rows: Vec<&Value> =
        listed.as_array().expect("a list").iter().filter(|row| row["guest"].as_str() == Some(&*number)).collect();
    assert!(rows.len() == 1 && rows[0]["generation"].as_u64() >= Some(1) && rows[0]["locked"].is_null(), "{listed}");

    let agents = lab.exec(vmid, &["sh", "-c", "grep -lx pinion-agent /proc/[0-9]*/comm"]).expect("it runs").stdout;
    assert_eq!(agents.lines().count(), 1, "agents in guest {vmid}: {agents}");

    let mut find = vec!["find", "/", "-xdev", "("];
    for (index, name) in UNFINISHED.iter().enumerate() {
        find.extend_from_slice(if index == 0 { &["-name"] } else { &["-o", "-name"] });
        find.push(name);
    }
    find.extend([")", "-not", "-path", "/proc/*"]);
    let left = lab.exec(vmid, &find).expect("it runs").stdout;
    assert_eq!(left.trim(), "", "left in guest {vmid}");
}

#[test]
fn serve_killed_at_any_step_finishes_when_it_is_started_again() {
    let lab = Lab::up(STEPS.map(|(vmid, _)| container(vmid)).into()).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &numbered(&[]), "").expect("installed");
    let logs = tempfile::tempdir().expect("a directory");
    installation.start(&lab).expect("started");
    let mut named = Vec::new();
    for (vmid, step) in STEPS {
        enroll_until(&lab, &logs, vmid, step);
        installation.serve().expect("it runs").kill9().expect("killed");
        // From here on it is the manifest that wants the guest; nobody asks any more.
        named.push(vmid);
        installation.write_manifest(&lab, &numbered(&named)).expect("written");
        installation.start_serve(&lab).expect("started again");
        wait_well(&lab, &installation, &named);
        assert_whole(&lab, vmid);
    }
}

#[test]
fn the_root_helper_killed_in_mid_install_is_asked_again() {
    let lab = Lab::up(vec![container(104)]).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &numbered(&[104]), "").expect("installed");
    let logs = tempfile::tempdir().expect("a directory");
    installation.start(&lab).expect("started");
    enroll_until(&lab, &logs, 104, "installing the agent");
    // Something of it has arrived, and not the whole of it.
    let look = ["sh", "-c", "ls /usr/bin/*.pinion-new /etc/pinion/*.pinion-new /etc/systemd/system/*.pinion-new"];
    wait::until("an unfinished file in the guest", LONG, || {
        let seen = lab.exec(104, &look).map_err(|error| error.to_string())?;
        if seen.stdout.contains(".pinion-new") { Ok(()) } else { Err(seen.to_string()) }
    })
    .expect("it arrives");
    installation.channel().expect("it runs").kill9().expect("killed");
    installation.start_channel(&lab).expect("started again");
    wait_well(&lab, &installation, &[104]);
    assert_whole(&lab, 104);
}
