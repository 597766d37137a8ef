//! A share that is really mounted, unmounted, and mounted again from another device.

use std::{fs, path::Path, process::Command, time::Duration};

use pinion_proto::stage::{Halt, Stage};
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    program,
    site::manifest,
};
use serde_json::json;

const SHARE: &str = "/srv/share";
const CERT: &str = "/srv/share/certs/cert.pem";

/// Set where the test runs in a mount namespace of its own.
const INSIDE: &str = "PINION_TEST_IN_A_MOUNT_NAMESPACE";

#[test]
fn nothing_is_made_below_a_mount_point_while_nothing_is_mounted() {
    const NAME: &str = "unmounted_share::nothing_is_made_below_a_mount_point_while_nothing_is_mounted";
    if std::env::var_os(INSIDE).is_some() {
        return story();
    }
    // What is mounted goes with the namespace, however the test ends.
    let mut own = Command::new(program::found("unshare").expect("util-linux is there"));
    own.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().expect("a program"));
    own.args(["--exact", NAME, "--nocapture"]).env(INSIDE, "1");
    assert!(own.status().expect("unshare runs, as root").success(), "it failed in the namespace");
}

fn story() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let options = GuestOptions {
        directories: vec![SHARE.into()],
        check_every: Some(Duration::from_millis(300)),
        ..GuestOptions::default()
    };
    let mut guest = Guest::prepare("1001", &options).expect("a guest");
    guest.join_with(&host.token("1001").expect("a token")).expect("it runs").succeeded().expect("joined");
    let share = guest.path(SHARE);
    mount(&share);
    guest.start().expect("started");
    guest.wait_linked(&host).expect("linked");
    let files = json!({ "cert": { "path": CERT }, "key": { "path": "/srv/share/certs/key.pem" } });
    let web = json!([{ "name": "web", "common_name": "web.internal.example", "placements": [{ "guest": 1001, "files": files }] }]);
    host.write_manifest(&manifest(web)).expect("written");
    host.ensure(&["web"], "reloaded").expect("in place");
    let first = fs::read(guest.path(CERT)).expect("on the share");

    umount(&share);
    let waits = || {
        let placement = host.wait_placement("web@1001", |placement| {
            placement.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("is not mounted"))
        });
        placement.expect("it waits for the mount").trouble.expect("just seen")
    };
    let trouble = waits();
    assert!(trouble.halt == Halt::Waiting && trouble.remedy.contains("continues by itself"), "{trouble}");
    assert!(trouble.cause.contains(SHARE) && trouble.retry_at.is_some(), "{trouble}");
    // Neither a renewal nor a restart of the agent makes anything there.
    let asked = host.pinion(&["ensure", "web", "--renew", "--timeout", "2s"]).expect("it runs");
    assert_eq!(asked.code(), 3, "{asked}");
    assert!(format!("{asked}").contains("is not mounted"), "{asked}");
    guest.restart().expect("restarted");
    guest.wait_linked(&host).expect("linked");
    waits();
    assert_eq!(fs::read_dir(&share).expect("listed").count(), 0, "hidden by the next mount");

    mount(&share);
    let renewed = host.wait_placement("web@1001", |placement| {
        placement.stage == Stage::Reloaded && placement.trouble.is_none() && placement.generation == Some(2)
    });
    renewed.expect("it continues by itself, on another device");
    assert_ne!(fs::read(guest.path(CERT)).expect("on the new share"), first);
    umount(&share);
    assert_eq!(fs::read_dir(&share).expect("listed").count(), 0);
    guest.stop().expect("stopped");
}

fn mount(at: &Path) {
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=0755", "tmpfs"]).arg(at));
}

fn umount(at: &Path) {
    run(Command::new("umount").arg("--lazy").arg(at));
}

fn run(command: &mut Command) {
    assert!(command.status().expect("it runs").success(), "{command:?}");
}
