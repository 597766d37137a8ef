//! What is shipped as an example works as it stands.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use pinion_tests::{
    guest::Guest,
    guest::GuestOptions,
    host::Host,
    host::HostOptions,
    process::{self, Finished},
    program,
    wait::PATIENCE,
};
use tempfile::TempDir;

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
    let checked = guest.pinion_agent(&["config", "check"]).expect("pinion-agent is built");
    assert!(checked.code() == 0 && checked.stdout.contains("no mistakes"), "{checked}");
}

#[test]
fn config_check_reports_all_mistakes_in_agent_toml_as_the_daemon_does() {
    let guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest's directory");
    let wrong =
        "check_evry = \"5s\"\n\n[allow]\nextra_units = [\n  \"nginx\",\n  \"sshd.service\",\n]\nprobe = [\"host:1\"]\n";
    guest.write("etc/pinion/agent.toml", wrong).expect("written");
    let checked = guest.pinion_agent(&["config", "check"]).expect("pinion-agent is built");
    assert_eq!(checked.code(), 2, "{checked}");
    let started = guest.pinion_agent(&["run"]).expect("pinion-agent is built");
    assert_eq!(started.code(), 2, "{started}");
    for part in ["agent.toml:1:1: unknown field `check_evry`", "agent.toml:5:3: `nginx`", "agent.toml:8:10: `host:1`"] {
        assert!(checked.stdout.contains(part), "{part}: {checked}");
        assert!(started.stderr.contains(part), "{part}: {started}");
    }
    assert_eq!(checked.stdout.lines().count(), 3, "{checked}");
    let document = guest.pinion_agent(&["--json", "config", "check"]).expect("pinion-agent is built");
    let document: serde_json::Value = serde_json::from_str(&document.stdout).expect("JSON");
    assert_eq!((document["ok"].as_bool(), document["mistakes"].as_array().map(Vec::len)), (Some(false), Some(3)));
    fs::remove_file(guest.path("/etc/pinion/agent.toml")).expect("removed");
    let none = guest.pinion_agent(&["config", "check"]).expect("pinion-agent is built");
    assert!(none.code() == 0 && none.stdout.contains("the defaults apply"), "{none}");
}

#[test]
fn all_that_the_root_helper_brings_into_guests_is_there() {
    for name in ["pinion-agent.service", "pinion-agent.openrc", "start-agent", "agent.toml"] {
        let text = fs::read_to_string(packaged("agent").join(name)).expect(name);
        assert!(name == "agent.toml" || text.contains("/usr/bin/pinion-agent"), "{name}");
        if text.starts_with("#!") {
            is_shell(&packaged("agent").join(name));
        }
    }
}

#[test]
fn each_daemon_has_a_runtime_directory_of_its_own() {
    // systemd gives a RuntimeDirectory, and all that is in it, to the unit's user at each start: two units that share
    // one take it from each other.
    for (unit, directory) in [
        ("controller/pinion.service", "pinion"),
        ("controller/pinion-channel.service", "pinion-channel"),
        ("agent/pinion-agent.service", "pinion-agent"),
    ] {
        let text = fs::read_to_string(packaged(unit)).expect(unit);
        let values = |key: &str| {
            let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            lines.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(values("RuntimeDirectory"), [directory], "{unit}");
        // Only its owner writes there, and everybody gets through to the socket, whose own mode says who may open it.
        assert_eq!(values("RuntimeDirectoryMode"), ["0755"], "{unit}");
    }
    let tmpfiles = fs::read_to_string(packaged("controller/tmpfiles.conf")).expect("there");
    assert!(!tmpfiles.lines().any(|line| line.starts_with("d /run")), "{tmpfiles}");
}

#[test]
fn each_unit_has_limits_and_a_reason_beside_each() {
    for unit in ["controller/pinion.service", "controller/pinion-channel.service", "agent/pinion-agent.service"] {
        let text = fs::read_to_string(packaged(unit)).expect(unit);
        for key in ["MemoryMax", "TasksMax", "LimitCORE", "MemorySwapMax", "OOMPolicy"] {
            let before = text.lines().take_while(|line| !line.starts_with(&format!("{key}="))).collect::<Vec<_>>();
            assert!(before.len() < text.lines().count(), "{unit} has no {key}");
            let mut above = before.iter().rev().skip_while(|line| line.contains('=') && !line.starts_with('#'));
            assert!(above.next().is_some_and(|line| line.starts_with('#')), "{unit} does not say why {key}");
        }
        for line in ["LimitCORE=0", "MemorySwapMax=0", "OOMPolicy=continue", "StartLimitIntervalSec=0"] {
            assert!(text.lines().any(|found| found == line), "{unit} has no {line}");
        }
        // What is bound to or hidden below another daemon's file system keeps it when it has gone.
        let setting = text.lines().find(|line| !line.starts_with('#') && line.contains("/etc/pve"));
        assert_eq!(setting, None, "{unit}");
    }
}

#[test]
fn the_hookscript_wakes_pinion_and_never_fails() {
    let hookscript = packaged("proxmox/pinion-wake");
    is_shell(&hookscript);
    let directory = tempfile::tempdir().expect("a directory");
    let called = directory.path().join("called");
    let call = |phase: &str, path: &OsStr| {
        let mut command = Command::new(&hookscript);
        let finished = process::run(command.args(["101", phase]).env("PATH", path), b"", PATIENCE).expect("it ends");
        let told = fs::read_to_string(&called).unwrap_or_default();
        drop(fs::remove_file(&called));
        assert_eq!((finished.code(), finished.stdout.as_str(), finished.stderr.as_str()), (0, "", ""), "{phase}");
        told
    };
    let path = std::env::join_paths([directory.path(), Path::new("/usr/bin"), Path::new("/bin")]).expect("a PATH");
    assert_eq!(call("post-start", &path), "", "without Pinion nothing happens");
    let fake = format!("#!/bin/sh\necho \"$@\" >{}\necho trouble >&2\nexit 5\n", called.display());
    executable(&directory.path().join("pinion"), &fake);
    assert_eq!(call("post-start", &path), "guest wake 101\n");
    for phase in ["pre-start", "pre-stop", "post-stop", ""] {
        assert_eq!(call(phase, &path), "", "{phase}");
    }
}

#[test]
fn the_agent_is_baked_into_a_template() {
    let (from, script) = brought();
    is_shell(&script);
    let root = tempfile::tempdir().expect("a guest's root");
    write(&root.path().join("usr/lib/systemd/systemd"), "");
    write(&root.path().join("var/log/pinion-agent.log"), "serial 1234 installed\n");
    let baked = bake(&script, root.path()).succeeded().expect("baked in");
    assert!(baked.stderr.contains("sealed"), "{baked}");
    for (name, to, mode) in [
        ("amd64/pinion-agent", "usr/bin/pinion-agent", 0o755),
        ("agent.toml", "etc/pinion/agent.toml", 0o644),
        ("pinion-agent.service", "etc/systemd/system/pinion-agent.service", 0o644),
    ] {
        let there = root.path().join(to);
        assert!(fs::read(&there).expect(to) == fs::read(from.path().join(name)).expect(name), "{to}");
        assert_eq!(fs::metadata(&there).expect(to).permissions().mode() & 0o777, mode, "{to}");
    }
    let enabled = root.path().join("etc/systemd/system/multi-user.target.wants/pinion-agent.service");
    assert_eq!(fs::read_link(enabled).expect("enabled"), Path::new("/etc/systemd/system/pinion-agent.service"));
    assert!(!root.path().join("var/log/pinion-agent.log").exists());

    write(&root.path().join("etc/pinion/agent.toml"), "[allow]\nhooks = false\n");
    bake(&script, root.path()).succeeded().expect("it can be repeated");
    let kept = fs::read_to_string(root.path().join("etc/pinion/agent.toml")).expect("it is there");
    assert!(kept.contains("hooks = false"), "the guest's own word is not replaced");

    write(&root.path().join("var/lib/pinion-agent/identity.json.bak"), "a key");
    let refused = bake(&script, root.path());
    assert!(refused.code() == 4 && !refused.stderr.contains("baked in"), "{refused}");
}

#[test]
fn the_agent_is_baked_into_guests_without_systemd() {
    let (_from, script) = brought();
    let openrc = tempfile::tempdir().expect("a guest's root");
    write(&openrc.path().join("sbin/openrc-run"), "");
    bake(&script, openrc.path()).succeeded().expect("baked in");
    assert!(openrc.path().join("etc/init.d/pinion-agent").exists());
    let enabled = fs::read_link(openrc.path().join("etc/runlevels/default/pinion-agent")).expect("enabled");
    assert_eq!(enabled, Path::new("/etc/init.d/pinion-agent"));

    let bare = tempfile::tempdir().expect("a guest's root");
    let baked = bake(&script, bare.path()).succeeded().expect("baked in");
    assert!(bare.path().join("etc/pinion/start-agent").exists() && baked.stderr.contains("at each boot"), "{baked}");

    let (from, script) = brought();
    fs::remove_file(from.path().join("agent.toml")).expect("removed");
    let refused = bake(&script, tempfile::tempdir().expect("a guest's root").path());
    assert!(refused.code() == 2 && refused.stderr.contains("agent.toml is not there"), "{refused}");
}

/// What an operator copies into a guest that is to become a template, and the script in it.
fn brought() -> (TempDir, PathBuf) {
    let from = tempfile::tempdir().expect("a directory");
    for name in ["pinion-agent.service", "pinion-agent.openrc", "start-agent", "agent.toml"] {
        fs::copy(packaged("agent").join(name), from.path().join(name)).expect(name);
    }
    // A stand-in that starts the real one: a debug build is a hundred megabytes.
    let agent = program::own("pinion-agent").expect("pinion-agent is built");
    for processor in ["amd64", "arm64"] {
        let stand_in = format!("#!/bin/sh\nexec {} \"$@\"\n", agent.display());
        executable(&from.path().join(processor).join("pinion-agent"), &stand_in);
    }
    let script = from.path().join("bake-agent");
    fs::copy(packaged("proxmox/bake-agent"), &script).expect("the script is copied");
    (from, script)
}

fn bake(script: &Path, root: &Path) -> Finished {
    process::run(Command::new("sh").arg(script).arg("--root").arg(root), b"", PATIENCE).expect("it ends")
}

fn is_shell(script: &Path) {
    let parsed = process::run(Command::new("sh").arg("-n").arg(script), b"", PATIENCE).expect("sh runs");
    parsed.succeeded().expect("it is a shell script");
}

fn executable(path: &Path, script: &str) {
    write(path, script);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("made executable");
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    fs::write(path, content).expect("written");
}

fn packaged(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the project's root")
        .join("packaging")
        .join(path)
}

fn copy(from: &str, to: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project's root");
    fs::copy(root.join(from), to).expect("an example is copied");
}
