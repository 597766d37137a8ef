//! Pinion where it is meant to run: unprivileged on a Proxmox-like host, its agents in real guests under
//! systemd, certificates from step-ca, served by nginx and dockerd.
#![allow(clippy::print_stdout, reason = "how long it took is something to know")]

use std::time::Instant;

use pinion_tests::{
    lab::{GATEWAY_NAME, Lab, Spec},
    openssl,
    process::Finished,
};
use serde_json::json;

#[test]
fn the_seeds_guests_are_served_by_agents_that_were_joined_by_hand() {
    let lab = Lab::up(Spec::all()).expect("the lab comes up");
    lab.install_controller().expect("installed");
    lab.write_manifest(&json!({
        "version": 1,
        "defaults": { "issuer": "step-ca", "duration": "30d" },
        "certificates": [
            { "name": "gateway", "common_name": GATEWAY_NAME, "sans": ["*.internal.example"],
              "placements": [{ "guest": 101, "recipe": "nginx" }] },
            { "name": "docker", "common_name": "docker.internal.example", "placements": [
                { "guest": 1001, "recipe": "docker", "sans": ["10.0.0.111", "127.0.0.1"] },
                { "guest": 1002, "recipe": "docker", "sans": ["10.0.0.102", "127.0.0.1"] },
            ]},
        ],
    }))
    .expect("written");
    let controller = lab.serve().expect("it serves");
    let began = Instant::now();
    for vmid in [101, 1001, 1002] {
        lab.install_agent(vmid).expect("installed");
        lab.join_by_hand(vmid).expect("joined");
    }
    let ensured = lab.pinion(&["ensure", "--until", "served", "--timeout", "90s"]).expect("it runs");
    assert_eq!(ensured.code(), 0, "{ensured}\n{}", controller.log_tail());
    println!("three guests joined and served after {:.1} s", began.elapsed().as_secs_f64());

    // The host's own view, with nothing but the authority's root.
    let root = lab.read(103, "/etc/step-ca/certs/root_ca.crt").expect("a root");
    std::fs::write(lab.path("/etc/root.pem"), root).expect("written");
    let status = lab.status().expect("a status");
    for (placement, address, name) in
        [("gateway@101", "10.0.0.101:443", GATEWAY_NAME), ("docker@1001", "10.0.0.111:2376", "docker.internal.example")]
    {
        let words = ["openssl", "s_client", "-connect", address, "-servername", name, "-CAfile", "/etc/root.pem"];
        let seen = lab.run(&words).expect("it runs").stdout;
        assert!(seen.contains("Verify return code: 0 (ok)"), "{seen}");
        let told = status.placement(placement).and_then(|found| found.serial.clone()).expect("a serial number");
        assert_eq!(openssl::serial(&seen).expect("a certificate"), told);
    }
    // A client with the guest's own pair, because dockerd asks for one that its authority signed.
    let client = ["docker", "-H", "tcp://10.0.0.111:2376", "--tlsverify", "--tlscacert=/etc/docker/tls/ca.pem"];
    let pair = ["--tlscert=/etc/docker/tls/cert.pem", "--tlskey=/etc/docker/tls/key.pem", "version"];
    lab.exec(1001, &[client.as_slice(), &pair].concat()).and_then(Finished::succeeded).expect("dockerd answers");
    // What listens on the network is not root.
    let seen = std::fs::read_to_string(format!("/proc/{}/status", controller.id())).expect("it runs");
    assert!(!seen.contains("Uid:\t0"), "{seen}");
}
