//! From nothing: the manifest is written, Pinion is started, and every guest it names is served.

use std::time::Instant;

use pinion_tests::lab::{
    Lab, Spec,
    installation::{Installation, LONG, pinion, wait_for},
};
use serde_json::{Value, json};

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
    println!("lab up after {:.1} s", lab.took().as_secs_f64());
    let mut installation = Installation::install(&lab, &manifest(), "").expect("installed");
    let began = Instant::now();
    installation.start(&lab).expect("started");
    wait_for(&lab, &installation, "everything to be reached", LONG, |status| {
        let reached = |placement: &pinion_tests::status::PlacementStatus| placement.goal == Some(placement.stage);
        (status.placements.len() == 4 && status.placements.iter().all(reached)).then_some(())
    })
    .expect("everything is reached");
    println!("from an empty controller to all served: {:.1} s", began.elapsed().as_secs_f64());
    println!("{}", pinion(&lab, "status").expect("it runs").stdout);
    println!("{}", pinion(&lab, "guest list").expect("it runs").stdout);
    println!("{}", pinion(&lab, "events").expect("it runs").stdout);
}
