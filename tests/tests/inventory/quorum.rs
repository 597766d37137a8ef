//! Shared state that cannot be written: renewals go on, what would have to be written there waits, and it is told.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use pinion_controller::events::Kind;
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    journal, openssl,
    status::StatusJson,
};
use serde_json::json;

use crate::proxmox_files::{host, wait_status};

/// As pmxcfs shows its directories with quorum and without.
fn set_quorum(host: &Host, quorate: bool) {
    let mode = if quorate { 0o700 } else { 0o555 };
    let shared = host.root().join("var/lib/pinion/shared");
    fs::set_permissions(shared, fs::Permissions::from_mode(mode)).expect("set");
}

fn cannot_be_written(status: &StatusJson) -> bool {
    status.troubles.iter().any(|trouble| trouble.attempt == "write the shared state")
}

#[test]
fn without_quorum_renewals_continue_and_it_is_reported_until_quorum_is_back() {
    let mut host = host(&[("web", 1001)]);
    host.start_again().expect("the controller starts");
    let mut guest = Guest::join(&host, 1001).expect("a guest joins");
    host.ensure(&["web"], "installed").expect("installed");
    let issued = || journal::issued(&host, "web@1001").expect("events");
    let before = issued();

    set_quorum(&host, false);
    let status = wait_status(&host, "the host's trouble", cannot_be_written);
    let trouble = &status.troubles[0];
    assert!(trouble.cause.contains("no quorum?") && trouble.remedy.contains("pvecm status"), "{trouble}");
    let words = host.pinion(&["status"]).expect("it answers").stdout;
    assert!(words.starts_with("host: ") && words.contains("renewals continue"), "in the first lines: {words}");
    host.renew(&["web"], "installed").expect("renewals go on");
    assert_eq!(issued().len(), before.len() + 1);
    // What is linked stays, and comes back.
    guest.restart().expect("the agent restarts");
    guest.wait_linked(&host).expect("it links");

    set_quorum(&host, true);
    wait_status(&host, "no trouble", |status| status.troubles.is_empty());
    let told = journal::events(&host).expect("events");
    let told: Vec<_> = told.iter().filter(|event| event.kind == Kind::Failed).collect();
    assert!(matches!(told.as_slice(), [one] if one.text.contains("renewals continue")), "{told:?}");
}

/// A small disk in memory over the shared state of a host whose controller does not run.
struct Disk<'h>(&'h Path);

impl<'h> Disk<'h> {
    fn over(shared: &'h Path) -> Self {
        let aside = tempfile::tempdir().expect("a directory");
        let run = |program: &str, arguments: &[&str], paths: &[&Path]| {
            let done = Command::new(program).args(arguments).args(paths).status();
            assert!(done.expect("it runs").success(), "{program} {arguments:?}");
        };
        let kept = aside.path().join("kept");
        run("cp", &["-a"], &[shared, &kept]);
        run("mount", &["-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs"], &[shared]);
        run("cp", &["-aT"], &[&kept, shared]);
        Self(shared)
    }

    fn fill(&self) {
        let mut name = 0;
        // In small files, so that none of the last bytes stays free.
        while fs::write(self.0.join(format!(".ballast-{name}")), [0; 2048]).is_ok() {
            name += 1;
        }
    }

    fn make_room(&self) {
        for entry in fs::read_dir(self.0).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".ballast-")) {
                fs::remove_file(path).expect("removed");
            }
        }
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // The directory below it could not be removed otherwise.
        Command::new("umount").arg("--lazy").arg(self.0).status().ok();
    }
}

#[test]
fn on_a_full_disk_renewals_continue_and_what_has_to_be_written_there_waits() {
    let shared = json!({ "name": "both", "common_name": "both.internal.example", "shared": true, "placements": [{
        "guest": 1001,
        "files": { "cert": { "path": "/etc/ssl/both/both.crt" }, "key": { "path": "/etc/ssl/both/both.key" } },
    }] });
    let own = json!({ "name": "own", "common_name": "own.internal.example", "placements": [{
        "guest": 1001,
        "files": { "cert": { "path": "/etc/ssl/own/own.crt" }, "key": { "path": "/etc/ssl/own/own.key" } },
    }] });
    let first = json!({ "name": "first", "common_name": "first.internal.example", "shared": true, "placements": [{
        "guest": 1001,
        "files": { "cert": { "path": "/etc/ssl/first/first.crt" }, "key": { "path": "/etc/ssl/first/first.key" } },
    }] });
    let mut host = Host::start(&HostOptions::embedded(&json!([shared, own]))).expect("a host");
    let mut guest = Guest::join(&host, 1001).expect("a guest joins");
    host.ensure(&[], "installed").expect("installed");
    host.stop().expect("it stops");
    let path = host.root().join("var/lib/pinion/shared");
    let disk = Disk::over(&path);
    host.start_again().expect("it starts");
    guest.wait_linked(&host).expect("linked");
    let serial = |name: &str| openssl::serial(&guest.read(&format!("/etc/ssl/{name}/{name}.crt")).expect("a file"));
    let before = [serial("both").expect("a leaf"), serial("own").expect("a leaf")];

    disk.fill();
    let status = wait_status(&host, "the host's trouble", cannot_be_written);
    assert!(status.troubles[0].cause.contains("its disk is full"), "{:?}", status.troubles);
    host.renew(&["own", "both"], "installed").expect("renewals go on, of a shared key too");
    let renewed = [serial("both").expect("a leaf"), serial("own").expect("a leaf")];
    assert!(renewed[0] != before[0] && renewed[1] != before[1], "{before:?} {renewed:?}");
    let token = host.pinion(&["token", "create", "--guest", "1002"]).expect("it runs");
    assert!(token.code() != 0 && token.stderr.contains("its disk is full"), "no token: {token}");
    // A new shared key waits, and takes nobody for blocked.
    host.write_manifest(&pinion_tests::site::manifest(json!([shared, own, first]))).expect("written");
    let waits = host.wait_placement("first@1001", |placement| placement.trouble.is_some()).expect("it waits");
    let trouble = waits.trouble.expect("just seen");
    assert!(trouble.cause.contains("its disk is full") && trouble.to_string().contains("waiting"), "{trouble}");
    // Also over a restart.
    host.restart().expect("it starts on a full disk");
    guest.wait_linked(&host).expect("linked");
    wait_status(&host, "the host's trouble", cannot_be_written);
    host.renew(&["own"], "installed").expect("renewals go on");

    disk.make_room();
    host.ensure(&["first"], "installed").expect("it continues by itself");
    wait_status(&host, "no trouble", |status| status.troubles.is_empty());
    Guest::join(&host, 1002).expect("guests join");
    let left: Vec<_> = fs::read_dir(&path).expect("listed").filter_map(Result::ok).collect();
    assert!(!left.iter().any(|entry| entry.file_name().to_string_lossy().starts_with(".tmp")), "{left:?}");
    drop(guest);
    host.stop().expect("it stops");
}
