//! A guest that was restored under another number and kept its network card: the original stays what it is, whoever
//! dials first.

use std::{fs, path::Path};

use pinion_controller::events::Kind;
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::Host,
    journal,
    process::Finished,
};

use crate::{
    proxmox_files::{NODE, Pve, host, wait_status},
    root_process::Tools,
};

const CARD: &str = "BC:24:11:00:01:01";
const KERNEL: &str = "7f2c1d3e-0b5f-4a6b-9c8d-0123456789ab";

/// Which start of a container runs: the kernel's boot id, and when its first process began.
fn boot(tools: &Tools, vmid: u32, guest: &Guest, ticks: u32) {
    let stat = format!("1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {ticks} 1 2\n");
    fs::write(tools.guest(vmid).join("boot"), format!("{KERNEL}\n{stat}")).expect("written");
    guest.write("proc/sys/kernel/random/boot_id", &format!("{KERNEL}\n")).expect("written");
    guest.write("proc/1/stat", &stat).expect("written");
}

/// The files of container 101, which has the card.
fn original() -> Guest {
    let guest = Guest::prepare("101", &GuestOptions::default()).expect("a guest's directory");
    guest.write("sys/class/net/eth0/address", &format!("{}\n", CARD.to_lowercase())).expect("written");
    guest
}

/// What was restored from its backup.
fn copy(original: &Guest) -> Guest {
    let copy = self::original();
    copy_files(&original.root().join("var/lib/pinion-agent"), &copy.root().join("var/lib/pinion-agent"));
    copy
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let (path, place) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("a kind") {
            kind if kind.is_dir() => copy_files(&path, &place),
            kind if kind.is_file() => drop(fs::copy(&path, &place).expect("copied")),
            _ => {}
        }
    }
}

/// Container 101, and its copy 120, which does not run yet.
fn restored(host: &Host) -> Pve {
    let mut pve = Pve::prepare(host, "never");
    for vmid in [101, 120] {
        let conf = format!("hostname: guest-{vmid}\nnet0: name=eth0,bridge=vmbr0,hwaddr={CARD},type=veth\n");
        pve.write(vmid, NODE, "lxc", &conf);
    }
    let tools = Tools::for_host(host);
    for vmid in [101, 120] {
        tools.add(vmid, env!("CARGO_PKG_VERSION"));
    }
    // As pct says of what is off, whatever was known a moment ago.
    fs::write(tools.guest(120).join("mood"), "stopped").expect("written");
    pve.tools = Some(tools);
    pve
}

#[test]
fn a_restored_copy_with_the_same_card_is_told_apart_before_either_is_believed() {
    let mut host = host(&[("web", 101)]);
    let mut pve = restored(&host);
    host.start_again().expect("the controller starts");
    let mut guest = original();
    boot(pve.tools.as_ref().expect("tools"), 101, &guest, 7100);
    guest.join_with(&host.token("101").expect("a token")).and_then(Finished::succeeded).expect("joined");
    guest.start().expect("started");
    guest.wait_linked(&host).expect("the copy is off");
    host.ensure(&["web"], "installed").expect("installed");
    guest.stop().expect("stopped");

    // The copy is started, and dials first.
    let mut copy = copy(&guest);
    boot(pve.tools.as_ref().expect("tools"), 120, &copy, 9300);
    fs::remove_file(pve.tools.as_ref().expect("tools").guest(120).join("mood")).expect("started");
    pve.power(120, true);
    wait_status(&host, "nobody to be linked", |status| !status.is_linked("101"));
    copy.start().expect("started");
    let refused = journal::wait_event(&host, Kind::Refused, &["guest 120 used the identity of guest 101"]);
    refused.expect("it is known for what it is");
    assert!(!host.status().expect("it answers").is_linked("101"), "it is not let in as the original");
    guest.start().expect("started");
    guest.wait_linked(&host).expect("the original is let in beside it");
    assert_eq!(host.status().expect("it answers").troubles, []);
    host.renew(&["web"], "installed").expect("it goes on as before");

    // One of the two cannot be looked into any more: both are started anew, and nobody knows which is which.
    let tools = pve.tools.as_ref().expect("tools");
    fs::write(tools.guest(120).join("mood"), "locked").expect("written");
    let mut both = [(101, &mut guest, 17_100), (120, &mut copy, 19_300)];
    for (vmid, agent, ticks) in &mut both {
        agent.stop().expect("stopped");
        boot(tools, *vmid, agent, *ticks);
    }
    wait_status(&host, "nobody to be linked any more", |status| !status.is_linked("101"));
    for (_, agent, _) in &mut both {
        agent.start().expect("started");
    }
    let status = wait_status(&host, "what stands in the way", |status| !status.troubles.is_empty());
    let trouble = &status.troubles[0];
    assert!(trouble.attempt.contains("guests 101 and 120") && trouble.cause.contains("CT is locked"), "{trouble}");
    assert!(trouble.remedy.contains("pct set 120 --net0"), "{trouble}");
    assert!(!status.is_linked("101"), "neither is let in");
    let shown = host.pinion(&["status"]).and_then(Finished::succeeded).expect("a status").stdout;
    assert!(shown.contains("tell guests 101 and 120 apart"), "{shown}");

    // Another card, as the remedy says.
    let conf = "hostname: guest-120\nnet0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:20,type=veth\n";
    pve.write(120, NODE, "lxc", conf);
    copy.stop().expect("stopped");
    copy.write("sys/class/net/eth0/address", "bc:24:11:00:01:20\n").expect("written");
    copy.start().expect("started");
    wait_status(&host, "no trouble, and the original linked", |status| {
        status.troubles.is_empty() && status.is_linked("101")
    });
    let events = host.pinion(&["events"]).and_then(Finished::succeeded).expect("events").stdout;
    assert!(!events.contains("locked;") && !events.contains("is now locked"), "{events}");
}
