//! From nothing: the manifest is written, Pinion is started, and every guest it names is served.

use std::{fs, path::Path, time::Instant};

use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{Installation, LONG, wait_for},
    },
    status::PlacementJson,
};
use serde_json::{Value, json};

use crate::transcript::Transcript;

pub(crate) fn manifest() -> Value {
    json!({
        "version": 1,
        "defaults": { "issuer": "step-ca", "duration": "24h" },
        "certificates": [
            { "name": "gateway", "common_name": "nginx.internal.example", "sans": ["*.internal.example"],
              "placements": [{ "guest": 101, "recipe": "nginx" }] },
            { "name": "docker", "common_name": "docker.internal.example", "sans": ["10.0.0.111", "127.0.0.1"],
              "placements": [
                { "guest": "docker", "recipe": "docker" },
                { "guest": 1002, "recipe": "docker", "sans": ["10.0.0.102", "127.0.0.1"] } ] },
            { "name": "docker-client", "common_name": "client.internal.example",
              "placements": [{ "guest": 1002, "files": {
                "fullchain": { "path": "/etc/ssl/docker-client/cert.pem" },
                "key": { "path": "/etc/ssl/docker-client/key.pem", "mode": "0600" },
                "ca": { "path": "/etc/ssl/docker-client/ca.pem" } } }] },
            { "name": "ca-host", "common_name": "step-ca.internal.example",
              "placements": [{ "guest": 103, "files": {
                "fullchain": { "path": "/etc/ssl/step-ca-host/fullchain.pem" },
                "key": { "path": "/etc/ssl/step-ca-host/key.pem", "mode": "0600" } } }] },
        ],
    })
}

#[test]
fn from_nothing_every_guest_is_enrolled_and_served_without_another_command() {
    let lab = Lab::up(Spec::all()).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &manifest(), "").expect("installed");
    let began = Instant::now();
    installation.start(&lab).expect("started");
    wait_for(&lab, &installation, "everything to be reached", LONG, |status| {
        let reached = |placement: &PlacementJson| placement.goal == Some(placement.stage);
        (status.placements.len() == 5 && status.placements.iter().all(reached)).then_some(())
    })
    .expect("everything is reached");
    let took = began.elapsed();
    println!(
        "lab up after {:.1} s; from an empty controller to all served: {:.1} s",
        lab.took().as_secs_f64(),
        took.as_secs_f64()
    );

    let mut told = Transcript::new(&lab);
    let status = told.on_host("pinion status --wide");
    told.on_host("pinion guest list");
    let look = "openssl s_client -connect 10.0.0.101:443 -servername nginx.internal.example </dev/null 2>/dev/null \
                | openssl x509 -noout -serial -subject";
    let serial = told.on_host(look);
    let serial = serial.lines().find_map(|line| line.strip_prefix("serial=")).expect("a serial number");
    assert!(status.contains(serial), "what openssl sees is what status says: {status}");
    let docker = "docker --tlsverify --tlscacert /etc/ssl/docker-client/ca.pem --tlscert /etc/ssl/docker-client/cert.pem \
                  --tlskey /etc/ssl/docker-client/key.pem -H tcp://10.0.0.111:2376 version --format {{.Server.Version}}";
    let version = told.in_guest(1002, docker);
    assert!(version.starts_with(|first: char| first.is_ascii_digit()), "dockerd answers: {version}");
    told.on_host("pinion events");

    let text = format!(
        "Up from its cache, the lab took {:.0} s; from an empty controller to everything served, {:.0} s.\n\n{}",
        lab.took().as_secs_f64(),
        took.as_secs_f64(),
        told.block()
    );
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab-transcript.md");
    fs::write(&target, text).unwrap_or_else(|error| panic!("write {}: {error}", target.display()));
}
