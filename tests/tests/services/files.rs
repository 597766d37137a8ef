//! File parts: each contains what the documentation says, for the owner and with the mode that were asked for.

use std::{fs, os::unix::fs::MetadataExt};

use pinion_tests::{
    ca::StepCa,
    guest::Guest,
    host::{Host, HostOptions},
    openssl,
};
use rustix::process::{getgid, getuid};
use serde_json::json;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// What is in a PEM file, block by block.
fn blocks(pem: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in pem.lines() {
        if line.starts_with("-----BEGIN ") {
            blocks.push(String::new());
        }
        let block = blocks.last_mut().expect("a PEM file begins with a block, and nothing is between blocks");
        block.push_str(line);
        block.push('\n');
    }
    blocks
}

#[test]
fn each_part_contains_what_its_name_says_and_belongs_to_whom_the_manifest_says() {
    let ca = StepCa::start().expect("step-ca is installed");
    let host = Host::start(&HostOptions::step_ca(ca.issuer().expect("a root"), &json!([]))).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    let files = json!({
        "cert": { "path": "/etc/ssl/a/cert.pem" },
        "chain": { "path": "/etc/ssl/a/chain.pem", "mode": "0444" },
        "fullchain": { "path": "/etc/ssl/a/fullchain.pem", "mode": "0640", "owner": "root", "group": "www-data" },
        "key": { "path": "/etc/ssl/a/key.pem", "mode": "0600", "owner": "vllm", "group": "vllm" },
        "ca": { "path": "/etc/ssl/a/ca.pem", "owner": "33", "group": "33" },
        "combined": { "path": "/etc/ssl/a/combined.pem", "group": "vllm" },
    });
    let certificate = json!({ "name": "a", "common_name": "a.internal.example",
                              "placements": [{ "guest": 1001, "files": files }] });
    let manifest = json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": [certificate] });
    host.write_manifest(&manifest).expect("written");

    let mut keys = Vec::new();
    for _ in 0..2 {
        host.renew(&["a"], "installed").expect("installed");
        let read = |part: &str| guest.read(&format!("/etc/ssl/a/{part}.pem")).expect("the file is there");
        let parts = ["cert", "chain", "fullchain", "key", "ca", "combined"].map(|part| blocks(&read(part)));
        let [cert, chain, fullchain, key, root, combined] = parts;
        let status = host.status().expect("a status");
        let serial = status.placement("a@1001").and_then(|placement| placement.serial.clone());
        assert_eq!(cert.len(), 1);
        assert_eq!(openssl::serial(&cert[0]).ok(), serial);
        // step-ca signs with one intermediate under its root.
        assert_eq!(chain.len(), 1);
        assert!(openssl::text(&chain[0]).expect("a certificate").contains("CA:TRUE"));
        assert_eq!(fullchain, [cert.clone(), chain].concat());
        assert!(key.len() == 1 && key[0].starts_with("-----BEGIN PRIVATE KEY-----\n"), "PKCS #8");
        let roots = blocks(&fs::read_to_string(ca.root_file()).expect("step-ca's root"));
        assert_eq!(root, roots);
        assert!(!fullchain.contains(&root[0]), "clients have the root, and servers do not send it");
        assert_eq!(combined, [fullchain, key.clone()].concat());
        let path = |part: &str| guest.path(&format!("/etc/ssl/a/{part}.pem"));
        for part in ["cert", "fullchain", "combined"] {
            assert!(openssl::is_pair(&path(part), &path("key")).expect("openssl reads both"), "{part}");
        }
        assert!(openssl::is_pair(&path("combined"), &path("combined")).expect("openssl reads both"));
        openssl::verify(&path("ca"), &path("fullchain")).and_then(|v| v.succeeded()).expect("openssl verifies");
        assert!(!read("cert").contains("PRIVATE KEY") && read("fullchain").starts_with(BEGIN));
        keys.push(key);

        // Only root may give files away; for anyone else every account of the guest is the one who runs the test.
        let mine =
            |uid: u32, gid: u32| if getuid().is_root() { (uid, gid) } else { (getuid().as_raw(), getgid().as_raw()) };
        for (part, mode, owner) in [
            ("cert", 0o644, mine(0, 0)),
            ("chain", 0o444, mine(0, 0)),
            ("fullchain", 0o640, mine(0, 33)),
            ("key", 0o600, mine(990, 990)),
            ("ca", 0o644, mine(33, 33)),
            ("combined", 0o600, mine(0, 990)),
        ] {
            let found = fs::metadata(path(part)).expect("the file is there");
            assert_eq!(format!("{:o}", found.mode() & 0o7777), format!("{mode:o}"), "{part}");
            assert_eq!((found.uid(), found.gid()), owner, "{part}");
        }
    }
    assert_ne!(keys[0], keys[1]);
    // What was swapped leaves nothing beside it.
    let left = fs::read_dir(guest.path("/etc/ssl/a")).expect("a directory").count();
    assert_eq!(left, 6);
}
