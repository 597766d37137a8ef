//! A host that is not in order: `status` names the thing and the remedy, and the other guests go on.

use std::{fs, os::unix::fs::PermissionsExt as _};

use pinion_proto::stage::{Halt, Trouble};
use pinion_tests::{
    lab::{
        Lab, Role, Spec,
        installation::{Installation, LONG, pinion, status, wait_for},
    },
    status::StatusJson,
};
use serde_json::json;

use crate::small_guests::{container, is_well, manifest, numbered, wait_held_up, wait_well};

/// `e_machine` in an ELF header (elf(5)), and the number of arm64.
const MACHINE: usize = 18;
const ARM64: u8 = 183;

const BINARY: &str = "/usr/lib/pinion/agent/amd64/pinion-agent";

fn trouble(status: &StatusJson, placement: &str) -> Option<Trouble> {
    status.placement(placement)?.trouble.clone()
}

/// What is wrong on the host, with these words in it.
fn host_trouble(status: &StatusJson, words: &str) -> Option<String> {
    status.troubles.iter().map(ToString::to_string).find(|trouble| trouble.contains(words))
}

#[test]
fn what_is_wrong_is_named_with_its_remedy_and_the_others_go_on() {
    let twin = |vmid| Spec::container(vmid, "twin", Role::Empty);
    let lab = Lab::up(vec![container(104), container(105), twin(106), twin(107)]).expect("the lab comes up");
    let named = manifest(&[json!(104), json!(105), json!("twin"), json!(4711), json!("nobody")]);
    let mut installation = Installation::install(&lab, &named, "").expect("installed");
    // Broken from the beginning: Pinion has never seen it whole.
    let conf = "/etc/pve/nodes/pve1/lxc/105.conf";
    let whole = fs::read(lab.path(conf)).expect("read");
    fs::write(lab.path(conf), b"\x00\xff\xfe not a guest \x00").expect("written");
    installation.start(&lab).expect("started");

    wait_well(&lab, &installation, &[104]);
    let noted =
        wait_for(&lab, &installation, "the broken file to be noted", LONG, |status| host_trouble(status, "105.conf"))
            .expect("it is noted");
    assert!(noted.contains("/etc/pve/nodes/pve1/lxc/105.conf") && noted.contains("restore it"), "{noted}");
    for (placement, words) in [
        ("for-4711@4711", &["no guest 4711 on this cluster", "correct the manifest"][..]),
        ("for-twin@twin", &["2 guests are named twin: 106, 107", "write the VMID"]),
        ("for-nobody@nobody", &["no guest named nobody", "write its VMID"]),
    ] {
        let trouble = wait_for(&lab, &installation, placement, LONG, |status| trouble(status, placement));
        let trouble = trouble.expect("it has its trouble");
        assert_eq!(trouble.halt, Halt::Blocked, "{trouble}");
        assert!(words.iter().all(|word| trouble.to_string().contains(word)), "{trouble}");
    }

    fs::write(lab.path(conf), whole).expect("written");
    wait_for(&lab, &installation, "the note to go", LONG, |status| {
        host_trouble(status, "105.conf").is_none().then_some(())
    })
    .expect("it goes");
    lab.configure(107, "hostname", Some("other")).expect("renamed");
    wait_well(&lab, &installation, &[104, 105]);
    wait_for(&lab, &installation, "the twin to be served", LONG, |status| {
        let placement = status.placements.iter().find(|placement| placement.placement.starts_with("for-twin@"))?;
        (status.is_linked("106") && placement.goal == Some(placement.stage)).then_some(())
    })
    .expect("it is served");
}

#[test]
fn without_etc_pve_nothing_changes_and_it_is_reported() {
    let mut lab = Lab::up(vec![container(104), container(105)]).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &numbered(&[104]), "").expect("installed");
    installation.start(&lab).expect("started");
    wait_well(&lab, &installation, &[104]);

    lab.stop_pve_cluster().expect("stopped");
    let noted = wait_for(&lab, &installation, "the missing files to be noted", LONG, |status| {
        host_trouble(status, "/etc/pve/.vmlist").map(|trouble| (trouble, status.clone()))
    });
    let (note, then) = noted.expect("it is noted");
    assert!(note.contains("pve-cluster"), "{note}");
    assert!(is_well(&then, 104), "{then:?}");
    assert!(then.guest("104").is_some_and(|guest| !guest.missing), "{then:?}");
    pinion(&lab, "ensure --guest 104 --renew --until served --timeout 60s")
        .expect("it runs")
        .succeeded()
        .expect("what is linked is renewed as always");

    lab.start_pve_cluster().expect("started");
    installation.write_manifest(&lab, &numbered(&[104, 105])).expect("written");
    wait_well(&lab, &installation, &[104, 105]);
    let after = status(&lab).expect("it answers");
    assert_eq!(host_trouble(&after, "/etc/pve"), None);
}

#[test]
fn an_agent_of_the_wrong_architecture_is_never_brought_in() {
    let lab = Lab::up(vec![container(104)]).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &numbered(&[104]), "").expect("installed");
    let binary = lab.path(BINARY);
    let right = fs::read(&binary).expect("read");
    let mut wrong = right.clone();
    *wrong.get_mut(MACHINE).expect("a header") = ARM64;
    fs::write(&binary, wrong).expect("written");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("set");
    installation.start(&lab).expect("started");
    let words = ["agent binary of the wrong architecture", BINARY, "for arm64, not for amd64", "install the agent"];
    wait_held_up(&lab, &installation, 104, Halt::Blocked, &words);
    let there = lab.exec(104, &["test", "-e", "/usr/bin/pinion-agent"]).expect("it runs");
    assert_eq!(there.code(), 1, "{there}");
    fs::write(&binary, right).expect("written");
    wait_well(&lab, &installation, &[104]);
}
