//! A real VM: QEMU with a kernel of its own, the guest agent on its virtio port, and dockerd in it.

use std::{fs, time::Instant};

use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{Installation, wait_for},
    },
    process::Finished,
    status::PlacementJson,
    wait,
};
use serde_json::{Value, json};

use crate::small_guests::container;

/// An emulated processor on a busy machine.
const EMULATED: std::time::Duration = std::time::Duration::from_secs(900);

/// What a command in the VM says. `qm` gives a guest agent five seconds to answer, which an emulated one does not always do.
fn of_guest(lab: &Lab, command: &str) -> Value {
    let ask = format!("qm guest exec 1001 --timeout 120 -- {command}");
    wait::until(&ask, EMULATED, || {
        let told = lab.run(&["sh", "-c", &ask]).and_then(Finished::succeeded).map_err(|error| format!("{error:#}"))?;
        let told: Value = serde_json::from_str(&told.stdout).map_err(|error| error.to_string())?;
        if told["exited"] == 1 { Ok(told) } else { Err(told.to_string()) }
    })
    .expect("it answers")
}

#[test]
fn a_real_vm_is_enrolled_and_its_dockerd_served() {
    let lab = Lab::up(vec![Spec::first_docker().in_qemu(), container(104)]).expect("the lab comes up");
    let on_host = |line: &str| lab.run(&["sh", "-c", line]).expect("it runs").succeeded().expect(line).stdout;
    // It is one: of another kernel, and told by what it sees of its machine.
    assert_eq!(of_guest(&lab, "systemd-detect-virt")["out-data"], "qemu\n");
    let kernel = of_guest(&lab, "uname -r");
    assert_ne!(kernel["out-data"].as_str(), Some(on_host("uname -r").as_str()));

    let manifest = json!({ "version": 1, "defaults": { "issuer": "embedded", "duration": "24h" }, "certificates": [
        { "name": "docker", "common_name": "docker.internal.example", "sans": ["10.0.0.111", "127.0.0.1"],
          "placements": [{ "guest": 1001, "recipe": "docker" }] },
        { "name": "client", "common_name": "client.internal.example", "placements": [{ "guest": 104, "files": {
            "fullchain": { "path": "/etc/ssl/client/cert.pem" },
            "key": { "path": "/etc/ssl/client/key.pem", "mode": "0600" },
            "ca": { "path": "/etc/ssl/client/ca.pem" } } }] },
    ] });
    let mut installation = Installation::install(&lab, &manifest, "").expect("installed");
    let began = Instant::now();
    installation.start(&lab).expect("started");
    let status = wait_for(&lab, &installation, "everything to be reached", EMULATED, |status| {
        let reached = |placement: &PlacementJson| placement.goal == Some(placement.stage);
        (status.placements.len() == 2 && status.placements.iter().all(reached)).then(|| status.clone())
    })
    .expect("everything is reached");
    println!(
        "a real VM: up after {:.1} s; from an empty controller to its dockerd served: {:.1} s",
        lab.took().as_secs_f64(),
        began.elapsed().as_secs_f64()
    );

    let serial = status.placement("docker@1001").and_then(|placement| placement.serial.clone()).expect("a serial");
    let shown =
        on_host("openssl s_client -connect 10.0.0.111:2376 </dev/null 2>/dev/null | openssl x509 -noout -serial");
    assert_eq!(shown.trim(), format!("serial={serial}"), "what openssl sees is what status says");
    let pair = "/etc/ssl/client";
    fs::create_dir_all(lab.path(pair)).expect("made");
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        let path = format!("{pair}/{name}");
        fs::write(lab.path(&path), lab.read(104, &path).expect("placed")).expect("written");
    }
    let version = on_host(
        "docker --tlsverify --tlscacert /etc/ssl/client/ca.pem --tlscert /etc/ssl/client/cert.pem \
         --tlskey /etc/ssl/client/key.pem -H tcp://10.0.0.111:2376 version --format '{{.Server.KernelVersion}}'",
    );
    assert_eq!(Some(version.trim()), kernel["out-data"].as_str().map(str::trim), "dockerd answers, and is in the VM");
    println!("{shown}{version}{}", on_host("pinion status && pinion events"));
}
