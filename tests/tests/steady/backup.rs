//! A backup has what is needed and nothing more, and is put back wholly or not at all.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use pinion_tests::{process::Finished, site::Site};
use serde_json::Value;

/// Every file below these directories, with what is in it.
fn files(site: &Site) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(directory: &Path, all: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(directory).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, all);
            } else {
                all.insert(path.clone(), fs::read(&path).expect("read"));
            }
        }
    }
    let mut all = BTreeMap::new();
    for directory in ["var/lib/pinion/shared", "etc/pinion"] {
        walk(&site.host.root().join(directory), &mut all);
    }
    all
}

fn restore(site: &Site, file: &Path, more: &[&str]) -> Finished {
    let file = file.to_str().expect("text");
    site.host.pinion(&[&["restore", file], more].concat()).expect("pinion runs")
}

#[test]
fn what_was_backed_up_is_there_again_after_everything_was_lost() {
    let mut site = Site::served().expect("the certificate is served");
    let serial = site.serial().expect("all agree");
    site.host.token("1002").expect("a token");
    site.host.pinion(&["guest", "evict", "1003"]).and_then(Finished::succeeded).expect("evicted");
    let more = site.host.root().join("etc/pinion/certificate-manifest.d");
    fs::create_dir(&more).expect("made");
    fs::write(more.join("more.json"), "{ \"version\": 1, \"certificates\": [] }\n").expect("written");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("pinion.backup");
    let backup = |site: &Site| site.host.pinion(&["backup", file.to_str().expect("text")]).expect("pinion runs");
    let taken = backup(&site);
    assert_eq!(taken.code(), 0, "while the controller runs: {taken}");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o7777, 0o600);
    let again = backup(&site);
    assert!(again.code() == 2 && again.stderr.contains("exists already"), "{again}");

    let text = fs::read_to_string(&file).expect("text");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let paths: Vec<_> =
        document["entries"].as_array().expect("a list").iter().filter_map(|entry| entry["path"].as_str()).collect();
    for needed in [
        "shared/identity-ca.json",
        "shared/issuer-embedded.json",
        "shared/guests/1001.json",
        "local/evictions.json",
        "etc/controller.toml",
        "etc/certificate-manifest.json",
        "etc/certificate-manifest.d/more.json",
    ] {
        assert!(paths.contains(&needed), "{needed} in {paths:?}");
    }
    for more in ["join-tokens", "events", "reports", "undelivered", ".lock"] {
        assert!(!paths.iter().any(|path| path.contains(more)), "{more} in {paths:?}");
    }

    // Never under a running controller, and never over what is there without a word.
    let before = files(&site);
    let refused = restore(&site, &file, &["--yes"]);
    assert!(refused.code() == 4 && refused.stderr.contains("systemctl stop pinion"), "{refused}");
    site.host.stop().expect("the controller stops");
    let refused = restore(&site, &file, &[]);
    assert!(refused.code() == 2 && refused.stderr.contains("--yes"), "{refused}");
    assert_eq!(files(&site), before);

    // A file that is not whole changes nothing.
    let bad = directory.path().join("bad.backup");
    for (what, content) in [
        ("cut off", text[..text.len() / 2].to_owned()),
        ("another mode", text.replacen("\"mode\": 384", "\"mode\": 420", 1)),
        ("another place", text.replacen("shared/guests/1001.json", "shared/../../x.json", 1)),
        ("no backup", "{}".to_owned()),
        ("empty", String::new()),
    ] {
        fs::write(&bad, content).expect("written");
        let refused = restore(&site, &bad, &["--yes"]);
        assert!(refused.code() == 2 && refused.stderr.contains("nothing was changed"), "{what}: {refused}");
        assert_eq!(files(&site), before, "{what}");
    }

    // What fails at the last file is undone from the first.
    let held = site.host.root().join("etc/pinion/controller.toml");
    let run = |program: &str, arguments: &[&Path]| {
        let done = Command::new(program).args(arguments).status().expect("it runs");
        assert!(done.success(), "{program}");
    };
    run("mount", &[Path::new("--bind"), &held, &held]);
    let failed = restore(&site, &file, &["--yes"]);
    run("umount", &[&held]);
    assert!(failed.code() == 1 && failed.stderr.contains("controller.toml"), "{failed}");
    assert_eq!(files(&site), before);

    // Over what is there, which is kept beside it.
    let restored = restore(&site, &file, &["--yes"]);
    assert!(restored.code() == 0 && restored.stdout.contains("shared.before-restore-"), "{restored}");
    site.host.start_again().expect("the controller starts");
    site.guest.wait_linked(&site.host).expect("linked");
    site.host.stop().expect("the controller stops");

    // Everything is lost.
    fs::remove_dir_all(site.host.root().join("var/lib/pinion")).expect("removed");
    fs::remove_dir_all(site.host.root().join("etc/pinion")).expect("removed");
    let restored = restore(&site, &file, &[]);
    assert_eq!(restored.code(), 0, "where nothing is, nothing has to be confirmed: {restored}");
    site.host.start_again().expect("the controller starts");
    site.guest.wait_linked(&site.host).expect("its identity is as good as before");
    let evictions = fs::read_to_string(site.host.root().join("var/lib/pinion/local/evictions.json")).expect("there");
    assert!(evictions.contains("1003"), "whoever was evicted stays so: {evictions}");
    site.host.ensure(&[], "served").expect("served");
    assert_eq!(site.serial().expect("all agree"), serial);
    site.host.renew(&[], "served").expect("and it signs");
}
