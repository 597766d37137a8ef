//! The host's own agent with the web interface's certificate, which lies on the cluster file system.

use std::fs;

use pinion_proto::stage::Stage;
use pinion_tests::{
    lab::booted::Booted,
    process::Finished,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

fn manifest() -> Value {
    json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": [
        { "name": "pve", "common_name": "pve1.internal.example", "placements": [{ "host": true, "recipe": "pveproxy" }] }] })
}

/// A host whose web interface shows Pinion's certificate.
fn served() -> Booted {
    let host = Booted::install(&manifest()).expect("installed");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    // As Proxmox has it before anybody brings another.
    host.make_pair("/etc/pve/local/pveproxy-ssl.pem", "/etc/pve/local/pveproxy-ssl.key").expect("a pair");
    host.well(&["systemctl", "enable", "--now", "pveproxy.service"]).expect("the web interface");
    host.join().expect("the host's agent joins");
    wait_served(&host, "at first");
    host
}

fn wait_served(host: &Booted, what: &str) -> String {
    let served = host.wait_status("the web interface to show it", PATIENCE * 2, |status| {
        let placement = status.placement("pve@host")?;
        (placement.stage == Stage::Served && placement.trouble.is_none()).then(|| placement.serial.clone())?
    });
    served.unwrap_or_else(|error| panic!("{what}: {error:#}"))
}

/// What lies in the directory under the mount.
fn under_the_mount(host: &Booted) -> Vec<String> {
    let entries = fs::read_dir(host.path("/etc/pve")).expect("the mount point");
    entries.flatten().map(|entry| entry.path().display().to_string()).collect()
}

/// Waits until the agent has looked, and says that it waits for the mount.
fn wait_waiting(host: &Booted, what: &str) {
    let waiting = wait::until("the agent to say that it waits", PATIENCE, || {
        let told = host.run(&["pinion-agent", "status"]).map_err(|error| format!("{error:#}"))?;
        // Also when it has noted that something was mounted there: `mount /etc/pve` would be no remedy.
        if told.stdout.contains("pmxcfs, Proxmox's cluster file system, is not running; start it") {
            Ok(())
        } else {
            Err(told.to_string())
        }
    });
    waiting.unwrap_or_else(|error| panic!("{what}: {error:#}\n{}", host.journal()));
    assert_eq!(under_the_mount(host), Vec::<String>::new(), "{what}");
}

#[test]
fn the_hosts_agent_makes_nothing_below_an_unmounted_cluster_file_system() {
    let host = served();
    for end in ["stop", "kill"] {
        let signal: &[&str] = if end == "kill" { &["--signal=KILL"] } else { &[] };
        host.well(&[&["systemctl", end], signal, &["pve-cluster.service"]].concat()).expect("ended");
        if end == "kill" {
            // Dead, and then unmounted by hand: the moment in which a file would lie in the way.
            host.well(&["umount", "--lazy", "/etc/pve"]).expect("unmounted");
        }
        wait_waiting(&host, end);
        // A start of its own, and a renewal that comes in between.
        host.well(&["systemctl", "restart", "pinion-agent.service"]).expect("restarted");
        wait_waiting(&host, &format!("{end}, restarted"));
        let asked = host.run(&["pinion", "ensure", "pve", "--renew", "--timeout", "3s"]).expect("it runs");
        assert_ne!(asked.code(), 0, "{asked}");
        wait_waiting(&host, &format!("{end}, renewed"));
        host.well(&["systemctl", "start", "pve-cluster.service"]).expect("pmxcfs mounts over an empty directory");
        wait_served(&host, end);
    }
    host.reboot().expect("it boots");
    wait_served(&host, "after a boot");
    assert_eq!(under_the_mount(&host), Vec::<String>::new());
    // What was asked for while it was away is there.
    let shown = host.well(&["openssl", "x509", "-noout", "-subject", "-in", "/etc/pve/local/pveproxy-ssl.pem"]);
    shown.and_then(Finished::succeeded).expect("a certificate");
}

#[test]
fn an_agent_that_starts_before_the_cluster_file_system_waits_for_it() {
    let host = served();
    // At each boot the agent comes first and is given time to do harm.
    let unit = host.path("/usr/lib/systemd/system/pinion-agent.service");
    let text = fs::read_to_string(&unit).expect("the shipped unit");
    let early = text.replacen("[Unit]", "[Unit]\nDefaultDependencies=no\nBefore=pve-cluster.service", 1);
    let early: Vec<_> =
        early.lines().filter(|line| !line.starts_with("After=") && !line.starts_with("Wants=")).collect();
    host.write("/etc/systemd/system/pinion-agent.service", 0o644, (early.join("\n") + "\n").as_bytes())
        .expect("written");
    let cluster = fs::read_to_string(host.path("/etc/systemd/system/pve-cluster.service")).expect("the unit");
    let late = cluster.replacen("[Service]", "[Service]\nExecStartPre=/usr/bin/sleep 3", 1);
    host.write("/etc/systemd/system/pve-cluster.service", 0o644, late.as_bytes()).expect("written");
    host.reboot().expect("it boots");
    wait_served(&host, "the agent first");
    assert_eq!(host.property("pve-cluster.service", "NRestarts").expect("a number"), "0");
    assert_eq!(under_the_mount(&host), Vec::<String>::new());
}
