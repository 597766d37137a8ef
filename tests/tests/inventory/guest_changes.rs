//! Each thing that Proxmox says of a guest is told, and what is broken harms no other.

use std::fs;

use pinion_controller::events::{Event, Kind};
use pinion_proto::stage::Halt;
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::Host,
    journal,
    process::Finished,
    status::StatusJson,
};
use serde_json::Value;

use crate::{
    proxmox_files::{NODE, Pve, host, wait_status},
    root_process::Tools,
};

/// Whether a placement is held up for a cause with these words.
fn held_up(status: &StatusJson, placement: &str, halt: Halt, cause: &str) -> bool {
    let trouble = status.placement(placement).and_then(|placement| placement.trouble.as_ref());
    trouble.is_some_and(|trouble| trouble.halt == halt && trouble.cause.contains(cause) && !trouble.remedy.is_empty())
}

/// Whether the host has a trouble with these words, and a remedy for it.
fn is_told(status: &StatusJson, words: &str) -> bool {
    status.troubles.iter().any(|trouble| trouble.to_string().contains(words) && !trouble.remedy.is_empty())
}

/// Waits until guest 101's placement is held up so.
fn wait_held_up(host: &Host, halt: Halt, cause: &str) -> StatusJson {
    wait_status(host, cause, |status| held_up(status, "web@101", halt, cause))
}

#[test]
fn each_change_of_a_guest_is_reported() {
    let mut host = host(&[("web", 101), ("docker", 1001), ("none", 4711)]);
    let mut pve = Pve::for_host(&host);
    host.start_again().expect("the controller starts");
    let status = host.status().expect("it answers");
    let gateway = status.guest("101").expect("a guest");
    assert_eq!((gateway.name.as_deref(), gateway.kind.as_deref()), (Some("gateway"), Some("lxc")));
    assert_eq!((gateway.node.as_deref(), gateway.running, gateway.missing), (None, Some(true), false));
    assert_eq!(status.guest("1001").and_then(|guest| guest.kind.as_deref()), Some("qemu"));
    assert!(held_up(&status, "web@101", Halt::Waiting, "no agent of guest 101 has linked yet"), "{status:?}");
    assert!(held_up(&status, "none@4711", Halt::Blocked, "no guest 4711 on this cluster"), "{status:?}");
    assert!(status.guest("4711").is_some_and(|guest| guest.missing));

    pve.write(101, NODE, "lxc", "hostname: renamed\n[snap]\nhostname: old\nlock: backup\n");
    let renamed =
        |status: &StatusJson| status.guest("101").and_then(|guest| guest.name.clone()).as_deref() == Some("renamed");
    wait_status(&host, "the new name", renamed);
    pve.write(101, NODE, "lxc", "hostname: renamed\nlock: snapshot\n");
    let status = wait_held_up(&host, Halt::Waiting, "locked: snapshot");
    assert_eq!(status.guest("101").and_then(|guest| guest.lock.as_deref()), Some("snapshot"));
    pve.write(101, "pve2", "lxc", "hostname: renamed\n");
    let status = wait_held_up(&host, Halt::Waiting, "on node pve2");
    assert_eq!(status.guest("101").and_then(|guest| guest.node.as_deref()), Some("pve2"));
    pve.write(101, NODE, "lxc", "hostname: renamed\ntemplate: 1\n");
    assert!(wait_held_up(&host, Halt::Blocked, "is a template").guest("101").is_some_and(|guest| guest.template));
    pve.write(101, NODE, "lxc", "hostname: renamed\n");
    wait_held_up(&host, Halt::Waiting, "has linked yet");
    pve.destroy(101);
    wait_held_up(&host, Halt::Blocked, "no guest 101 on this cluster");

    let listed = host.pinion(&["guest", "list", "--json"]).expect("it runs").succeeded().expect("it answers");
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).expect("JSON");
    let numbers: Vec<_> = listed.iter().map(|guest| guest["guest"].as_str().unwrap_or_default()).collect();
    assert_eq!(numbers, ["101", "1001", "4711"]);
    assert_eq!((&listed[1]["name"], &listed[1]["kind"]), (&"docker".into(), &"qemu".into()));
    let words = host.pinion(&["guest", "list"]).expect("it runs").stdout;
    assert!(words.contains("no such guest") && words.contains("docker"), "{words}");
}

#[test]
fn a_damaged_file_of_a_guest_is_reported_and_affects_no_other_guest() {
    let mut host = host(&[("web", 101), ("docker", 1001)]);
    let mut pve = Pve::for_host(&host);
    host.start_again().expect("the controller starts");
    fs::write(pve.conf(101), "").expect("broken");
    let noted = |words: &'static str| move |status: &StatusJson| is_told(status, words);
    let status = wait_status(&host, "the broken file", noted("101.conf says nothing of a guest"));
    assert_eq!(status.guest("101").and_then(|guest| guest.name.as_deref()), Some("gateway"), "as it was known");
    pve.write(1001, NODE, "qemu-server", "name: other\n");
    let other =
        |status: &StatusJson| status.guest("1001").and_then(|guest| guest.name.clone()).as_deref() == Some("other");
    wait_status(&host, "another guest's new name", other);
    pve.write(101, NODE, "lxc", "hostname: mended\n");
    wait_status(&host, "no trouble", |status| status.troubles.is_empty());

    fs::remove_file(pve.list()).expect("removed");
    let status = wait_status(&host, "the missing list", noted("cannot read"));
    assert_eq!(status.guest("101").and_then(|guest| guest.name.as_deref()), Some("mended"));
    let told = journal::wait_event(&host, Kind::Failed, &[".vmlist", "pve-cluster"]).expect("an event");
    assert!(told.text.contains("Pinion keeps the last list of guests"), "{}", told.text);
    pve.write_list();
    wait_status(&host, "no trouble", |status| status.troubles.is_empty());
}

#[test]
fn a_pmxcfs_that_is_away_at_the_start_is_waited_for_and_reported() {
    let mut host = host(&[("web", 1001), ("named", 101)]);
    let manifest = fs::read_to_string(host.root().join("etc/pinion/certificate-manifest.json")).expect("a manifest");
    let mut manifest: Value = serde_json::from_str(&manifest).expect("JSON");
    manifest["certificates"][1]["placements"][0]["guest"] = "gateway".into();
    host.write_manifest(&manifest).expect("written");
    let mut pve = Pve::prepare(&host, "never");
    let (pmxcfs, away) = (host.root().join("etc/pve"), host.root().join("etc/pve.away"));
    fs::rename(&pmxcfs, &away).expect("unmounted");
    fs::create_dir(&pmxcfs).expect("an empty directory");
    pve.tools = Some(Tools::for_host(&host));
    host.start_again().expect("the controller starts");
    let status = wait_status(&host, "what is missing", |status| is_told(status, ".vmlist"));
    assert!(is_told(&status, "systemctl start pve-cluster"), "{status:?}");
    // A name leads nowhere yet, which is nobody's mistake.
    let named = status.placement("named@gateway").and_then(|placement| placement.trouble.clone()).expect("a trouble");
    assert!(named.halt == Halt::Waiting && named.cause.contains("does not know its guests yet"), "{named}");

    // The guest itself is let in by the cards that it joined with. What has others is not, whoever it is.
    let mut guest = with_card("BC:24:11:00:10:01");
    let token = host.token("1001").expect("a token");
    guest.join_with(&token).and_then(Finished::succeeded).expect("joined");
    guest.start().expect("started");
    guest.wait_linked(&host).expect("linked");
    host.ensure(&["web"], "installed").expect("installed");
    guest.write("sys/class/net/eth0/address", "bc:24:11:00:99:99\n").expect("written");
    guest.restart().expect("restarted");
    let refused = journal::wait_event(&host, Kind::Refused, &["guest 1001", "has no list of Proxmox's guests yet"]);
    refused.expect("it is sent away");

    guest.write("sys/class/net/eth0/address", "bc:24:11:00:10:01\n").expect("written");
    guest.restart().expect("restarted");
    guest.wait_linked(&host).expect("linked again");

    // pmxcfs is there: nobody restarts anything. What was let in turns out to be another guest.
    fs::remove_dir(&pmxcfs).expect("removed");
    pve.move_to(&away);
    let card = |last: &str| format!("agent: 1\nname: docker\nnet0: virtio=BC:24:11:00:10:{last},bridge=vmbr0\n");
    pve.write(1001, NODE, "qemu-server", &card("77"));
    pve.write(1002, NODE, "qemu-server", &card("01"));
    pve.move_to(&pmxcfs);
    fs::rename(&away, &pmxcfs).expect("mounted");
    journal::wait_event(&host, Kind::Refused, &["linked as guest 1001 may be a copy"]).expect("its link is ended");
    let status = wait_status(&host, "no trouble", |status| status.troubles.is_empty() && !status.is_linked("1001"));
    assert_eq!(status.guest("1001").and_then(|guest| guest.name.as_deref()), Some("docker"));
    wait_held_up_placement(&host, "named@101", "has linked yet");
    pve.write(1002, NODE, "qemu-server", &card("02"));
    pve.write(1001, NODE, "qemu-server", &card("01"));
    guest.wait_linked(&host).expect("linked as what it is");
    drop(guest);
}

/// A guest's files with one network card.
fn with_card(address: &str) -> Guest {
    let guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest's directory");
    guest.write("sys/class/net/eth0/address", &format!("{}\n", address.to_lowercase())).expect("written");
    guest
}

fn wait_held_up_placement(host: &Host, placement: &str, cause: &str) {
    wait_status(host, cause, |status| held_up(status, placement, Halt::Waiting, cause));
}

#[test]
fn nothing_is_pushed_while_a_backup_is_made() {
    let mut host = host(&[("web", 1001)]);
    let mut pve = Pve::for_host(&host);
    host.start_again().expect("the controller starts");
    let guest = Guest::join(&host, 1001).expect("a guest joins");
    host.ensure(&["web"], "installed").expect("installed");
    let before = guest.read("/etc/ssl/web.crt").expect("a certificate");
    // Of guests: that there is no root process here is the host's own trouble.
    let alarms = || {
        let alarming = |event: &Event| event.guest.is_some() && matches!(event.kind, Kind::Trouble | Kind::Failed);
        journal::events(&host).expect("events").into_iter().filter(alarming).collect::<Vec<_>>()
    };
    let earlier = alarms();
    for (text, node) in [("name: docker\nlock: backup\n", NODE), ("name: docker\n", "pve2")] {
        pve.write(1001, node, "qemu-server", text);
        wait_status(&host, "the change", |status| {
            status.guest("1001").is_some_and(|guest| guest.lock.is_some() || guest.node.is_some())
        });
        let asked =
            host.pinion(&["ensure", "web", "--renew", "--until", "installed", "--timeout", "2s"]).expect("it runs");
        assert_eq!(asked.code(), 3, "{asked}");
        assert!(host.status().expect("it answers").is_linked("1001"));
        assert_eq!(guest.read("/etc/ssl/web.crt").expect("a certificate"), before);
        assert_eq!(alarms(), earlier);
    }
    pve.write(1001, NODE, "qemu-server", "name: docker\n");
    host.ensure(&["web"], "installed").expect("it continues by itself");
    assert_ne!(guest.read("/etc/ssl/web.crt").expect("a certificate"), before);
}
