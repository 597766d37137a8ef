//! `pinion doctor`: on a good host, with things broken one after the other, and without a controller.

use std::{fs, os::unix::fs::PermissionsExt as _};

use pinion_tests::{
    process::Finished,
    site::Site,
    wait::{self, PATIENCE},
};
use serde_json::Value;

/// What it says, whatever its lines; none of them is too wide for a terminal.
fn doctor(site: &Site, code: i32) -> String {
    let told = site.host.pinion(&["doctor"]).expect("it runs");
    assert_eq!(told.code(), code, "{told}");
    for line in told.stdout.lines() {
        // A path of a test's directory is one long word.
        assert!(line.chars().count() <= 80 || line.contains("/tmp"), "{line:?}");
    }
    told.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_good_host_needs_nobody_and_each_fault_is_told_with_its_remedy() {
    let mut site = Site::served().expect("the certificate is served");
    let said = doctor(&site, 0);
    for part in [
        "controller.toml has no mistakes and fits this host.",
        "The manifest on disk is in force.",
        "which agents dial, takes connections from this host.",
        "embedded can sign",
        "embedded's root and intermediates are valid until",
        "The controller answers.",
        "1 of 1 placement good.",
        "Linked: 1001.",
        "nothing needs you",
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }

    let path = |path: &str| site.host.root().join(path);
    let mode = |file: &str, mode| fs::set_permissions(path(file), fs::Permissions::from_mode(mode)).expect("set");
    mode("run/pinion/controller.sock", 0o666);
    mode("etc/pinion/controller.toml", 0o662);
    let said = doctor(&site, 4);
    for part in ["run `systemctl restart pinion`", "controller.sock has mode 0666", "chmod 0644", "2 problems need you"]
    {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    mode("run/pinion/controller.sock", 0o660);
    mode("etc/pinion/controller.toml", 0o644);

    let manifest = path("etc/pinion/certificate-manifest.json");
    let good = fs::read(&manifest).expect("read");
    fs::write(&manifest, "{\n").expect("written");
    let said = doctor(&site, 4);
    assert!(
        said.contains("The manifest on disk is not in force") && said.contains("`pinion manifest check`"),
        "{said}"
    );
    fs::write(&manifest, good).expect("written");

    site.guest.stop().expect("it stops");
    wait::until("a guest that is away", PATIENCE, || {
        let told = site.host.pinion(&["doctor"]).map_err(|error| error.to_string())?;
        // It has not been away for long.
        let is_told = told.stdout.contains("note     Guest 1001 is away");
        if told.code() == 0 && is_told { Ok(()) } else { Err(told.to_string()) }
    })
    .expect("it is told");
    site.guest.start().expect("it starts");
    site.guest.wait_linked(&site.host).expect("linked");
    doctor(&site, 0);
}

#[test]
fn without_a_controller_it_looks_at_what_it_can() {
    let mut site = Site::served().expect("the certificate is served");
    site.host.stop().expect("it stops");
    let said = doctor(&site, 4);
    for part in [
        "controller.toml has no mistakes",
        "There is room on the file systems",
        "the controller can't be reached",
        "its addresses are not dialled",
        "embedded is part of the controller, which does not answer.",
        "1 problem needs you",
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let json = site.host.pinion(&["doctor", "--json"]).expect("it runs");
    let document: Value = serde_json::from_str(&json.stdout).expect("a document");
    assert_eq!((document["ok"].as_bool(), document["error"]["exit_code"].as_i64()), (Some(false), Some(4)), "{json}");

    site.host.configure("\n[nothing]\nx = 1\n").expect("written");
    let said = doctor(&site, 4);
    assert!(said.contains("there is no field `nothing`") && said.contains("cannot be asked while"), "{said}");
    site.host.pinion(&["status"]).map(Finished::succeeded).expect("it runs").expect_err("the configuration is wrong");
}
