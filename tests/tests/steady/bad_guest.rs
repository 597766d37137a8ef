//! Files of a guest's that went bad, and hooks that may not be run: told with file and remedy, never replaced,
//! and nothing that is served is disturbed for them.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use pinion_tests::{
    damage::{Damage, Damaged},
    look, process,
    site::{Site, manifest},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

#[test]
fn an_agent_with_a_bad_configuration_says_what_to_mend() {
    let mut site = Site::served().expect("the certificate is served");
    site.guest.stop().expect("the agent stops");
    let path = site.guest.path("/etc/pinion/agent.toml");
    for damage in [Damage::Empty, Damage::CutOff, Damage::NotUtf8, Damage::Enormous] {
        let damaged = Damaged::new(&path, damage).expect("damaged");
        let mut run = site.guest.command(&["run"]).expect("pinion-agent is built");
        let refused = process::run(&mut run, b"", PATIENCE).unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        let words = &refused.stderr;
        assert!(refused.code() == 2 && words.contains(&path.display().to_string()), "{damage:?}: {refused}");
        assert!(words.contains("shipped defaults"), "{damage:?}: no remedy: {refused}");
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        damaged.repair().expect("it is repaired");
    }
    goes_on(&mut site);
}

#[test]
fn an_agent_without_a_readable_identity_keeps_what_it_has_and_says_so() {
    let mut site = Site::served().expect("the certificate is served");
    let path = site.guest.path("/var/lib/pinion-agent/identity.json");
    for damage in Damage::ALL {
        site.guest.stop().expect("the agent stops");
        let damaged = Damaged::new(&path, damage).expect("damaged");
        site.guest.start().expect("the agent starts");
        let told = told(&site, &path.display().to_string()).unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        assert!(told.contains("join again") || told.contains("install the agent"), "{damage:?}: no remedy: {told}");
        let waited = site.guest.pinion_agent(&["await", "web", "--until", "served", "--timeout", "20s"]);
        let waited = waited.expect("pinion-agent runs");
        assert_eq!(waited.code(), 0, "{damage:?}: it looks after what is there: {waited}");
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        damaged.repair().expect("it is repaired");
    }
    site.guest.stop().expect("the agent stops");
    site.guest.start().expect("the agent starts");
    goes_on(&mut site);
}

#[test]
fn a_placement_whose_record_is_bad_is_blocked_alone() {
    let mut site = Site::served().expect("the certificate is served");
    let serial = site.serial().expect("all agree");
    let other = json!({ "name": "other", "common_name": "other.internal.example", "placements": [{
        "guest": 1001,
        "files": { "cert": { "path": "/etc/ssl/other.crt" }, "key": { "path": "/etc/ssl/other.key" } },
    }] });
    site.host.write_manifest(&manifest(json!([site.certificate(), other]))).expect("the manifest is written");
    site.host.ensure(&[], "served").expect("both are there");
    let path = site.guest.path("/var/lib/pinion-agent/placements/web.json");
    for damage in Damage::ALL {
        site.guest.stop().expect("the agent stops");
        let damaged = Damaged::new(&path, damage).expect("damaged");
        site.guest.start().expect("the agent starts");
        site.guest.wait_linked(&site.host).expect("linked");
        let blocked = site.host.wait_placement(Site::PLACEMENT, |placement| placement.trouble.is_some());
        let trouble = blocked.expect("it is told").trouble.expect("it was looked for").to_string();
        assert!(trouble.starts_with("blocked") && trouble.contains("placements/web.json"), "{damage:?}: {trouble}");
        let remedy = trouble.contains("restore") || trouble.contains("install the agent");
        assert!(remedy, "{damage:?}: no remedy: {trouble}");
        let asked = site.host.pinion(&["ensure", "web", "--timeout", "20s"]).expect("pinion runs");
        assert_eq!(asked.code(), 4, "{damage:?}: {asked}");
        site.host.renew(&["other"], "served").expect("the other one goes on");
        let shown = look::served(site.server.address(), Site::NAME, &site.root()).expect("it is served");
        assert_eq!(shown.serial(), serial, "{damage:?}");
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        damaged.repair().expect("it is repaired");
        site.host.ensure(&["web"], "served").expect("it goes on with what it had");
        assert_eq!(site.serial().expect("all agree"), serial, "{damage:?}");
    }
    assert_eq!(site.issued().expect("the events are there"), 1);
}

#[test]
fn a_hook_that_may_not_be_run_blocks_until_it_may() {
    let site = Site::served().expect("the certificate is served");
    let path = site.guest.hook_path("tell");
    let script = "#!/bin/sh\necho told >>\"$PINION_ROOT/told\"\n";
    let elsewhere = site.guest.path("/elsewhere");
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("the mode is changed");
    type Spoil<'a> = Box<dyn Fn() + 'a>;
    let above = ["/etc/pinion/hooks.d", "/etc/pinion"].map(|directory| site.guest.path(directory));
    let directory =
        |at: &Path, mode| fs::set_permissions(at, fs::Permissions::from_mode(mode)).expect("the mode is changed");
    let open = "its group or everybody can write to";
    let cases: [(&str, i32, &str, Spoil<'_>); 7] = [
        ("in a directory of its group's", 4, open, Box::new(|| directory(&above[0], 0o775))),
        ("below a directory of everybody's", 4, open, Box::new(|| directory(&above[1], 0o757))),
        ("missing", 3, "is not there", Box::new(|| ())),
        ("not executable", 4, "is not executable", Box::new(|| mode(0o644))),
        ("world-writable", 4, "its group or everybody can write to", Box::new(|| mode(0o757))),
        ("group-writable", 4, "its group or everybody can write to", Box::new(|| mode(0o775))),
        (
            "a symlink",
            4,
            "is not a regular file",
            Box::new(|| {
                fs::rename(&path, &elsewhere).expect("it is moved");
                symlink(&elsewhere, &path).expect("a link");
            }),
        ),
    ];
    for (number, (what, code, words, spoil)) in cases.into_iter().enumerate() {
        let name = format!("hooked{number}");
        if what != "missing" {
            site.guest.write_hook("tell", script).expect("a hook");
            spoil();
        }
        site.host.write_manifest(&manifest(json!([site.certificate(), hooked(&name)]))).expect("the manifest");
        let asked = site.host.pinion(&["ensure", &name, "--timeout", "5s"]).expect("pinion runs");
        assert_eq!(asked.code(), code, "{what}: {asked}");
        assert!(asked.stderr.contains(words) && asked.stderr.contains("hooks.d/tell"), "{what}: {asked}");
        assert!(!site.guest.path("/told").exists(), "{what}: it was run");
        fs::remove_file(&path).or_else(|error| if what == "missing" { Ok(()) } else { Err(error) }).expect("removed");
        above.iter().for_each(|at| directory(at, 0o755));
        site.guest.write_hook("tell", script).expect("a hook");
        site.host.ensure(&[&name], "reloaded").expect("mended, it goes on");
        fs::remove_file(site.guest.path("/told")).expect("it was run");
        fs::remove_file(&path).expect("the hook is removed");
        site.serial().expect("the service in the same guest is as it was");
    }
}

#[test]
fn a_damaged_hook_is_reported_with_its_file_and_affects_nothing_else() {
    let site = Site::served().expect("the certificate is served");
    let path = site.guest.hook_path("tell");
    let script = "#!/bin/sh\necho told >>\"$PINION_ROOT/told\"\n";
    // One that is enormous is a program like another, and has its time.
    for (number, damage) in [Damage::Empty, Damage::CutOff, Damage::NotUtf8, Damage::Newer].into_iter().enumerate() {
        let name = format!("hooked{number}");
        site.guest.write_hook("tell", script).expect("a hook");
        let damaged = match damage {
            // A script says nothing of its version; its interpreter may not be here any more.
            Damage::Newer => {
                site.guest.write_hook("tell", &script.replace("/bin/sh", "/bin/of-a-later-release")).expect("a hook");
                None
            }
            damage => Some(Damaged::new(&path, damage).expect("damaged")),
        };
        site.host.write_manifest(&manifest(json!([site.certificate(), hooked(&name)]))).expect("the manifest");
        let asked = site.host.pinion(&["ensure", &name, "--timeout", "5s"]).expect("pinion runs");
        assert!([3, 4].contains(&asked.code()), "{damage:?}: {asked}");
        assert!(asked.stderr.contains("hooks.d/tell"), "{damage:?}: the file is not named: {asked}");
        // What stands before the bytes that are no text was run.
        let told = site.guest.path("/told");
        assert_eq!(told.exists(), damage == Damage::NotUtf8, "{damage:?}");
        if told.exists() {
            fs::remove_file(&told).expect("it is forgotten");
        }
        match damaged {
            Some(damaged) => {
                assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
                damaged.repair().expect("it is repaired");
            }
            None => site.guest.write_hook("tell", script).map(drop).expect("a hook"),
        }
        site.host.ensure(&[&name], "reloaded").expect("mended, it goes on");
        fs::remove_file(&told).expect("it was run");
        site.serial().expect("the service in the same guest is as it was");
    }
}

fn hooked(name: &str) -> Value {
    json!({ "name": name, "common_name": "hooked.internal.example", "placements": [{
        "guest": 1001,
        "files": { "cert": { "path": format!("/etc/ssl/{name}.crt") }, "key": { "path": format!("/etc/ssl/{name}.key") } },
        "reload": { "hook": "tell" },
    }] })
}

/// Waits until `pinion-agent status` has these words, and returns what it says.
fn told(site: &Site, words: &str) -> anyhow::Result<String> {
    wait::until(words, PATIENCE, || {
        let told = site.guest.pinion_agent(&["status"]).map_err(|error| format!("{error:#}"))?;
        let told = told.stdout + &told.stderr;
        if told.contains(words) { Ok(told) } else { Err(told) }
    })
}

/// Everything is as if nothing had been.
fn goes_on(site: &mut Site) {
    if site.guest.agent().is_none() {
        site.guest.start().expect("the agent starts");
    }
    site.guest.wait_linked(&site.host).expect("linked");
    site.host.ensure(&[], "served").expect("served");
    site.serial().expect("all agree");
    assert_eq!(site.issued().expect("the events are there"), 1);
}
