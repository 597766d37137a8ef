//! What the Phoenix scripts' `sync_all` does, with what takes the place of their scripts: its first step on the host, and the
//! scripts with which it builds a guest. Everything gets what it needs by waiting, and a second round changes nothing.

use std::{collections::BTreeMap, fs, path::Path};

use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{Installation, LONG, pinion, status},
        whole,
    },
    process::{self, Finished},
    wait::{self, PATIENCE},
};
use serde_json::{Map, Value, json};

const GUEST: u32 = 1001;

/// It is in the manifest, and will be built later.
const LATER: u32 = 1002;

fn manifest() -> Value {
    json!({ "version": 1, "defaults": { "issuer": "step-ca", "duration": "24h" }, "certificates": [
        { "name": "docker", "common_name": "docker.internal.example", "placements": [
            { "guest": GUEST, "recipe": "docker", "sans": ["10.0.0.111", "127.0.0.1"] },
            { "guest": LATER, "recipe": "docker", "sans": ["10.0.0.102", "127.0.0.1"] } ] },
        { "name": "phoenix", "common_name": "phoenix.internal.example",
          "placements": [{ "guest": GUEST, "recipe": "docker-context" }] },
        { "name": "portainer", "common_name": "portainer.internal.example",
          "placements": [{ "guest": GUEST, "recipe": "portainer-swarm" }] },
    ]})
}

fn shipped(path: &str) -> Vec<u8> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(path);
    fs::read(&shipped).unwrap_or_else(|error| panic!("{}: {error}", shipped.display()))
}

/// Runs certificate-renewal-manager.sh on the lab's host.
pub(super) fn manager(lab: &Lab, flag: &str) -> Finished {
    let place = "/usr/local/sbin/certificate-renewal-manager.sh";
    let inside = lab.path(place);
    fs::create_dir_all(inside.parent().expect("a directory")).expect("made");
    fs::write(&inside, shipped("phoenix/certificate-renewal-manager.sh")).expect("written");
    lab.run(&["bash", place, flag]).expect("it ends")
}

/// Runs a shipped script in the guest, as its build does.
fn script(lab: &Lab, path: &str, arguments: &[&str]) -> Finished {
    lab.write(GUEST, "/root/feature.sh", 0o755, &shipped(path)).expect("written");
    let mut command = lab.guest_command(GUEST, "/root/feature.sh").expect("a guest");
    process::run(command.args(arguments), b"", LONG).expect("it ends")
}

/// Portainer's stack, with the small TLS server in its place.
fn stack() -> Value {
    let secrets = ["cert", "key", "ca"].map(|part| format!("portainer_tls_{part}.pem"));
    let external: Map<String, Value> = secrets.iter().map(|name| (name.clone(), json!({ "external": true }))).collect();
    json!({ "version": "3.8",
        "services": { "portainer": { "image": "pinion-lab:1", "secrets": secrets, "networks": ["machine"],
            "stop_grace_period": "1s", "volumes": ["/usr:/usr:ro"],
            "deploy": { "restart_policy": { "delay": "1s" }, "update_config": { "monitor": "1s" } },
            "command": ["/usr/local/bin/tls-server", "--listen", "0.0.0.0:9443", "--fullchain",
                "/run/secrets/portainer_tls_cert.pem", "--key", "/run/secrets/portainer_tls_key.pem"] } },
        "networks": { "machine": { "external": true, "name": "host" } },
        "secrets": external })
}

fn deploy(lab: &Lab, stack: &str) -> Finished {
    lab.write(GUEST, "/root/stack.yml", 0o644, stack.as_bytes()).expect("written");
    script(lab, "phoenix/portainer_stack.sh", &["portainer.internal.example", "/root/stack.yml"])
}

/// The serial number that each placement has.
fn serials(lab: &Lab) -> BTreeMap<String, String> {
    let placements = status(lab).expect("a status").placements.into_iter();
    placements.filter_map(|placement| Some((placement.placement, placement.serial?))).collect()
}

/// That Portainer shows its placement's certificate, and docker's client that of the context's own placement.
fn is_in_use(lab: &Lab) {
    let serials = serials(lab);
    let served = "openssl s_client -connect 127.0.0.1:9443 </dev/null 2>/dev/null | openssl x509 -noout -serial";
    let own = "openssl x509 -noout -serial -in /root/.docker/contexts/tls/*/docker/cert.pem";
    for (placement, line) in [("portainer@1001", served), ("phoenix@1001", own)] {
        let wanted = format!("serial={}", serials[placement]);
        // A dockerd that was restarted for its own certificate starts Portainer again after it answers.
        wait::until(placement, PATIENCE, || match lab.sh(GUEST, line) {
            Ok(seen) if seen.trim() == wanted => Ok(()),
            Ok(seen) => Err(seen),
            Err(error) => Err(error.to_string()),
        })
        .expect("it is in use");
    }
    lab.sh(GUEST, "HOME=/root docker version").expect("docker is let in with the context's pair");
}

#[test]
fn a_guest_is_built_with_dockerd_a_context_and_portainer_that_outlive_their_certificates() {
    let lab = Lab::up(vec![Spec::authority(), Spec::first_docker()]).expect("the lab comes up");
    whole::import_image(&lab, GUEST).expect("an image");
    // Not built yet: dockerd has no certificate that anybody trusts, and does not run.
    lab.sh(GUEST, "systemctl stop docker.service docker.socket && rm -rf /etc/docker/tls").expect("stopped");
    let mut installation = Installation::install(&lab, &manifest(), "").expect("installed");
    installation.start(&lab).expect("started");

    let first = manager(&lab, "--force").succeeded().expect("everything is installed");
    assert!(first.stderr.contains("guest 1002 is not built yet"), "{first}");
    let installed = serials(&lab);
    assert_eq!(installed.len(), 3, "{installed:?}");

    script(&lab, "examples/feature_install_docker.sh", &[]).succeeded().expect("dockerd serves its certificate");
    let made = script(&lab, "phoenix/feature_install_docker_proxy.sh", &[]).succeeded().expect("the context works");
    assert!(made.stdout.contains("answers through the context phoenix"), "{made}");
    lab.sh(GUEST, "HOME=/root docker swarm init --advertise-addr 10.0.0.111").expect("a Swarm");
    let stack = stack().to_string();
    deploy(&lab, &stack).succeeded().expect("Portainer serves its certificate");
    is_in_use(&lab);
    assert_eq!(serials(&lab), installed, "what was there first is good");

    let renewed = pinion(&lab, "ensure --guest 1001 --renew --until served --timeout 2m");
    renewed.and_then(Finished::succeeded).expect("all are renewed");
    let second = serials(&lab);
    assert!(installed.iter().all(|(placement, serial)| second[placement] != *serial), "{second:?}");
    is_in_use(&lab);

    // Called again, as sync_all does, they change nothing. A deployment names the first secrets, and the service has those of
    // the current pair when the script ends.
    manager(&lab, "--force").succeeded().expect("everything is installed");
    script(&lab, "phoenix/feature_install_docker_proxy.sh", &[]).succeeded().expect("again");
    deploy(&lab, &stack).succeeded().expect("again");
    is_in_use(&lab);
    assert_eq!(serials(&lab), second, "nothing was issued for it");

    let wrong = deploy(&lab, "services: [");
    assert!(wrong.code() != 0, "{wrong}");
}
