//! What is shipped as an example works as it stands.

use std::{fs, path::Path, process::Command};

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

#[test]
fn all_that_the_root_helper_brings_into_guests_is_there() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project's root");
    for name in ["pinion-agent.service", "pinion-agent.openrc", "start-agent", "agent.toml"] {
        let text = fs::read_to_string(directory.join("packaging/agent").join(name)).expect(name);
        assert!(name == "agent.toml" || text.contains("/usr/bin/pinion-agent"), "{name}");
        if text.starts_with("#!") {
            let parsed = Command::new("sh").arg("-n").arg(directory.join("packaging/agent").join(name)).status();
            assert!(parsed.expect("sh runs").success(), "{name}");
        }
    }
}

fn copy(from: &str, to: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project's root");
    fs::copy(root.join(from), to).expect("an example is copied");
}
