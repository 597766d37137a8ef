//! Channels that fail: each ends in `waiting` or `blocked` with its reason, and recovers when its cause goes.

use pinion_proto::stage::Halt;
use pinion_tests::lab::{
    Lab, Spec,
    installation::{Installation, pinion, status},
    tools::Mischief,
};

use crate::small_guests::{container, is_well, numbered, wait_held_up, wait_well};

/// What `qm guest exec` prints past its timeout, beside its complaint: no exit code, and success.
const A_PID: &str = "{\n   \"pid\" : 4711\n}\n";

#[test]
fn each_failing_container_is_reported_and_recovers_and_the_others_continue() {
    let mut lab = Lab::up([104, 105, 106, 107, 108, 109].map(container).into()).expect("the lab comes up");
    let mut installation =
        Installation::install(&lab, &numbered(&[104, 105, 106, 107, 108, 109]), "").expect("installed");
    lab.stop(104).expect("stopped");
    lab.migrate_away(105).expect("migrated");
    lab.lock(106, Some("backup")).expect("locked");
    lab.make_mischief("pct.107", &Mischief::Hang).expect("made");
    lab.make_mischief("pct.108", &Mischief::Garbage).expect("made");
    installation.start(&lab).expect("started");

    // The one that nothing ails is served while a tool hangs for its neighbour.
    wait_well(&lab, &installation, &[109]);
    wait_held_up(&lab, &installation, 104, Halt::Waiting, &["guest 104 is stopped", "start it"]);
    wait_held_up(&lab, &installation, 105, Halt::Waiting, &["guest 105 is on node pve2"]);
    wait_held_up(&lab, &installation, 106, Halt::Waiting, &["guest 106 locked: backup", "pct unlock 106"]);
    wait_held_up(&lab, &installation, 108, Halt::Blocked, &["container 108"]);
    wait_held_up(&lab, &installation, 107, Halt::Waiting, &["pct exec 107", "did not end within"]);

    lab.start(104).expect("started");
    lab.migrate_back(105).expect("migrated back");
    lab.lock(106, None).expect("unlocked");
    lab.end_mischief("pct.107").expect("ended");
    lab.end_mischief("pct.108").expect("ended");
    wait_well(&lab, &installation, &[104, 105, 106, 107, 108, 109]);
}

#[test]
fn a_vm_without_its_guest_agent_waits_and_a_pid_is_no_success() {
    let lab = Lab::up(vec![Spec::first_docker()]).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &numbered(&[1001]), "").expect("installed");
    let systemctl = |verb: &str| lab.exec(1001, &["systemctl", verb, "qemu-guest-agent"]).expect("it runs").succeeded();
    systemctl("stop").expect("stopped");
    installation.start(&lab).expect("started");
    wait_held_up(&lab, &installation, 1001, Halt::Waiting, &["VM 1001", "guest agent", "qm set VMID --agent 1"]);

    lab.make_mischief("qm.1001", &Mischief::Say(0, A_PID.to_owned())).expect("made");
    systemctl("start").expect("started");
    wait_held_up(&lab, &installation, 1001, Halt::Waiting, &["VM 1001", "4711"]);

    lab.end_mischief("qm.1001").expect("ended");
    wait_well(&lab, &installation, &[1001]);
}

#[test]
fn without_pct_or_the_root_helper_guests_are_blocked_until_they_are_back() {
    let lab = Lab::up([104, 105, 106].map(container).into()).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &numbered(&[104]), "").expect("installed");
    assert_eq!(lab.run(&["mv", "/usr/sbin/pct", "/run/pct"]).map(|done| done.code()).ok(), Some(0));
    installation.start(&lab).expect("started");
    wait_held_up(
        &lab,
        &installation,
        104,
        Halt::Blocked,
        &["no `pct` in /usr/sbin or /usr/bin", "check that pct and qm are installed"],
    );
    let asked = pinion(&lab, "guest enroll 104").expect("it runs");
    assert_eq!(asked.code(), 4, "{asked}");
    assert!(asked.stderr.contains("no `pct` in"), "{asked}");

    installation.channel().expect("it runs").stop().expect("stopped");
    pinion(&lab, "guest wake 104").expect("it runs").succeeded().expect("woken");
    wait_held_up(&lab, &installation, 104, Halt::Blocked, &["root process cannot be reached", "pinion-channel"]);
    let asked = pinion(&lab, "guest enroll 104").expect("it runs");
    assert_eq!(asked.code(), 4, "{asked}");

    lab.run(&["mv", "/run/pct", "/usr/sbin/pct"]).expect("it runs").succeeded().expect("it is back");
    installation.start_channel(&lab).expect("started");
    wait_well(&lab, &installation, &[104]);

    // By hand: what is stopped is waited for, what runs is enrolled step by step, what is linked is left alone.
    // Who asks hears what is done from then on: the stopped guest is not the one whose steps are counted.
    lab.stop(106).expect("stopped");
    let asked = pinion(&lab, "guest enroll 106 --timeout 5s").expect("it runs");
    assert_eq!(asked.code(), 3, "{asked}");
    assert!(asked.stderr.contains("start the guest") && asked.stderr.contains("timed out"), "{asked}");
    let asked = pinion(&lab, "guest enroll 105 --timeout 90s").expect("it runs");
    assert_eq!(asked.code(), 0, "{asked}");
    for step in ["it answers", "installing the agent", "is installed and runs", "joining", "it has joined", "linked"] {
        assert!(asked.stderr.contains(step), "no `{step}`: {asked}");
    }
    let again = pinion(&lab, "guest enroll 105").expect("it runs");
    assert!(again.code() == 0 && again.stderr.contains("linked already"), "{again}");
    assert!(is_well(&status(&lab).expect("it answers"), 104));
}
