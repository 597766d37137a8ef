//! The agent in a root file system that holds nothing else: no C library, no shell, no /etc, no /dev, no /proc.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use pinion_tests::{
    host::{Host, HostOptions},
    openssl,
    process::{self, Finished, Process},
    program,
    site::manifest,
    wait::PATIENCE,
};
use rustix::process::getuid;
use serde_json::json;

#[test]
fn the_agent_needs_nothing_around_it() {
    assert!(getuid().is_root(), "chroot(2) is root's: run the tests as root");
    let root = tempfile::tempdir().expect("a directory");
    let agent = program::static_agent().expect("the static agent is built");
    process::copy_program(&agent, &root.path().join("pinion-agent")).expect("it is copied");

    let version = inside(root.path(), &["--version"], "").and_then(Finished::succeeded).expect("it runs");
    assert!(version.stdout.starts_with("pinion-agent "), "{version}");

    let host = Host::start(&HostOptions::default()).expect("a host");
    let token = host.token("1001").expect("a token");
    inside(root.path(), &["join"], &format!("{token}\n")).and_then(Finished::succeeded).expect("it joins");
    let log = tempfile::NamedTempFile::new().expect("a log");
    let mut running =
        Process::spawn("pinion-agent", &mut chroot(root.path(), &["run"]), log.path()).expect("it starts");
    let certificate = json!({ "name": "web", "common_name": "web.internal.example", "placements": [{
        "guest": 1001,
        "files": {
            "fullchain": { "path": "/etc/ssl/web/web.crt" },
            "key": { "path": "/etc/ssl/web/web.key" },
            "ca": { "path": "/etc/ssl/web/ca.crt" },
        },
    }] });
    host.write_manifest(&manifest(json!([certificate]))).expect("the manifest is written");
    let ensured = host.ensure(&[], "served");
    ensured.unwrap_or_else(|error| panic!("{error:#}\nthe agent's log ends:\n{}", running.log_tail()));
    let awaited = inside(root.path(), &["await", "web", "--timeout", "10s"], "").expect("it runs");
    assert_eq!(awaited.code(), 0, "{awaited}");

    let [chain, key, ca] = ["web.crt", "web.key", "ca.crt"].map(|name| root.path().join("etc/ssl/web").join(name));
    assert!(openssl::is_pair(&chain, &key).expect("both can be read"));
    assert_eq!(openssl::verify(&ca, &chain).expect("openssl runs").code(), 0);
    let renewed = host.renew(&[], "served");
    renewed.unwrap_or_else(|error| panic!("{error:#}\nthe agent's log ends:\n{}", running.log_tail()));
    running.stop().expect("it stops in order");
}

fn inside(root: &Path, arguments: &[&str], input: &str) -> Result<Finished> {
    process::run(&mut chroot(root, arguments), input.as_bytes(), PATIENCE).context("run the agent in an empty root")
}

fn chroot(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root).arg("/pinion-agent").args(arguments);
    command
}
