//! The scripts with which the Phoenix scripts build a guest, run in one: dockerd and its client get what they need, by waiting.

use std::{fs, path::Path};

use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{Installation, pinion},
    },
    process::Finished,
};
use serde_json::{Value, json};

const GUEST: u32 = 1001;

fn manifest() -> Value {
    json!({ "version": 1, "defaults": { "issuer": "step-ca", "duration": "24h" }, "certificates": [
        { "name": "docker", "common_name": "docker.internal.example", "sans": ["10.0.0.111", "127.0.0.1"],
          "placements": [{ "guest": GUEST, "recipe": "docker" }] },
        { "name": "phoenix", "common_name": "phoenix.internal.example",
          "placements": [{ "guest": GUEST, "recipe": "docker-context" }] },
    ]})
}

/// Runs a shipped script in the guest, as its build does.
fn script(lab: &Lab, path: &str) -> Finished {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(path);
    let text = fs::read(&shipped).unwrap_or_else(|error| panic!("{}: {error}", shipped.display()));
    lab.write(GUEST, "/root/feature.sh", 0o755, &text).expect("written");
    lab.exec(GUEST, &["/root/feature.sh"]).expect("it runs")
}

#[test]
fn a_guest_is_built_with_dockerd_and_a_context_that_outlives_its_certificates() {
    let lab = Lab::up(vec![Spec::authority(), Spec::first_docker()]).expect("the lab comes up");
    // Not built yet: dockerd has no certificate that anybody trusts, and does not run.
    lab.sh(GUEST, "systemctl stop docker.service docker.socket && rm -rf /etc/docker/tls").expect("stopped");
    let mut installation = Installation::install(&lab, &manifest(), "").expect("installed");
    installation.start(&lab).expect("started");
    pinion(&lab, "ensure --until installed --timeout 2m").and_then(Finished::succeeded).expect("both are installed");

    script(&lab, "examples/feature_install_docker.sh").succeeded().expect("dockerd serves its certificate");
    let made = script(&lab, "phoenix/feature_install_docker_proxy.sh").succeeded().expect("the context works");
    assert!(made.stdout.contains("answers through the context phoenix"), "{made}");

    // What docker shows to dockerd is the certificate of the context's own placement, and the next one after a renewal.
    let own = "openssl x509 -noout -serial -in /root/.docker/contexts/tls/*/docker/cert.pem";
    let (asks, first) =
        ("HOME=/root docker version --format '{{.Server.Version}}'", lab.sh(GUEST, own).expect("a pair"));
    let renewed = pinion(&lab, "ensure --renew --until served --timeout 2m").and_then(Finished::succeeded);
    renewed.expect("both are renewed");
    lab.sh(GUEST, asks).expect("docker is let in with the renewed pair");
    assert_ne!(lab.sh(GUEST, own).expect("a pair"), first);

    // Called again, as sync_all does, it changes nothing.
    let second = lab.sh(GUEST, own).expect("a pair");
    script(&lab, "phoenix/feature_install_docker_proxy.sh").succeeded().expect("again");
    assert_eq!(lab.sh(GUEST, own).expect("a pair"), second);
    lab.sh(GUEST, asks).expect("docker is let in");
}
