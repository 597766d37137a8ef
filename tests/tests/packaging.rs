//! What is shipped as an example works as it stands.

use std::{fs, path::Path};

use pinion_tests::{guest::Guest, guest::GuestOptions, host::Host, host::HostOptions};

#[test]
fn the_example_manifest_is_one() {
    let host = Host::prepare(&HostOptions::default()).expect("a host's directory");
    copy("packaging/controller/certificate-manifest.json", &host.root().join("etc/pinion/certificate-manifest.json"));
    copy("packaging/controller/controller.toml", &host.root().join("etc/pinion/controller.toml"));
    let checked = host.pinion(&["manifest", "check"]).expect("pinion is built");
    checked.succeeded().expect("the example is right");
}

#[test]
fn the_example_agent_configuration_is_one() {
    let guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest's directory");
    copy("packaging/agent/agent.toml", &guest.path("/etc/pinion/agent.toml"));
    // No daemon runs, which is told only after the configuration has been read.
    let status = guest.pinion_agent(&["status"]).expect("pinion-agent is built");
    assert_eq!(status.code(), 5, "{status}");
}

fn copy(from: &str, to: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project's root");
    fs::copy(root.join(from), to).expect("an example is copied");
}
