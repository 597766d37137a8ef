//! A manifest of several files: one is added, broken, mended and removed while the controller runs.

use std::{fs, path::PathBuf};

use pinion_proto::stage::Stage;
use pinion_tests::{
    site::Site,
    status::PlacementJson,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

/// A certificate in the guest of the site, in files of its own.
fn certificate(name: &str) -> Value {
    json!({ "name": name, "common_name": format!("{name}.internal.example"), "placements": [{
        "guest": 1001,
        "files": {
            "fullchain": { "path": format!("/etc/ssl/{name}.crt") },
            "key": { "path": format!("/etc/ssl/{name}.key") },
        },
    }] })
}

/// A file that leaves the defaults to the main file.
fn document(certificate: &Value) -> String {
    json!({ "version": 1, "certificates": [certificate] }).to_string()
}

/// The manifest's directory on the host of the site.
struct Directory<'s>(&'s Site);

impl Directory<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.0.host.root().join("etc/pinion/certificate-manifest.d").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path("")).expect("made");
        fs::write(self.path(name), text).expect("written");
    }

    fn problem(&self) -> Option<String> {
        let status = self.0.host.pinion(&["status", "--json"]).expect("pinion runs");
        let status: Value = serde_json::from_str(&status.stdout).expect("a status");
        status["manifest"]["problem"].as_str().map(ToOwned::to_owned)
    }
}

/// The manifest in force has both certificates, and they are there.
fn both_are_asked_for(site: &Site) {
    for name in ["web@1001", "mail@1001"] {
        let is_there = |placement: &PlacementJson| !placement.retired && placement.stage >= Stage::Reloaded;
        site.host.wait_placement(name, is_there).expect("the last good manifest has it");
    }
}

#[test]
fn a_file_of_the_directory_is_in_force_while_all_files_are_good() {
    let site = Site::served().expect("the certificate is served");
    let directory = Directory(&site);
    let pinion = |line: &[&str]| site.host.pinion(line).expect("pinion runs");
    directory.write("mail.json", &document(&certificate("mail")));
    site.host.ensure(&["web", "mail"], "installed").expect("both are there");
    let issued = site.issued().expect("the events are there");
    let serial = site.serial().expect("it is served");

    // What is wrong in one of them leaves all as they are.
    directory.write("ftp.json", "{ \"version\": 1,\n  \"certificates\": [ { \"name\": \"mail\" } ] }\n");
    let broken = directory.path("ftp.json").display().to_string();
    let told = directory.problem().expect("a problem");
    assert!(told.contains(&format!("{broken}:2:")), "{told}");
    let twice = format!("`mail` is already the name of the certificate on line 2 of {broken}");
    assert!(told.contains("mail.json:1:") && told.contains(&twice), "{told}");
    fs::remove_file(site.host.root().join("etc/pinion/certificate-manifest.d/mail.json")).expect("removed");
    both_are_asked_for(&site);
    let checked = pinion(&["manifest", "check"]);
    assert!(checked.code() == 2 && checked.stderr.contains(&format!("{broken}:2:")), "{checked}");
    let checked = pinion(&["manifest", "check", "--json"]);
    let told: Value = serde_json::from_str(&checked.stdout).expect("a document");
    assert_eq!(told["problems"][0]["file"], json!(broken), "{checked}");
    let alarm = pinion(&["status", "--check"]);
    assert!(alarm.code() == 2 && alarm.stdout.contains("certificate-manifest.d/ftp.json:2:"), "{alarm}");

    // Mended, and the other is there again.
    directory.write("mail.json", &document(&certificate("mail")));
    directory.write("ftp.json", &document(&certificate("ftp")));
    site.host.ensure(&["web", "mail", "ftp"], "installed").expect("all are there");
    assert_eq!(directory.problem(), None);
    let checked = pinion(&["manifest", "check"]).succeeded().expect("good");
    assert!(checked.stdout.contains("3 certificates in 3 places, from 3 files"), "{checked}");
    let planned = pinion(&["plan", &directory.path("").display().to_string()]).succeeded().expect("a plan");
    assert!(planned.stdout.contains("web@1001") && planned.stdout.contains("retired"), "{planned}");

    // Removed as from the main file: the files stay, and are nobody's.
    fs::remove_file(directory.path("mail.json")).expect("removed");
    let plan = pinion(&["plan"]).succeeded().expect("a plan").stdout;
    let retired = plan.lines().find(|line| line.starts_with("mail@1001")).unwrap_or_default();
    assert!(retired.contains("retired") && plan.contains("keep"), "{plan}");
    assert!(site.guest.read("/etc/ssl/mail.crt").is_ok(), "its files stay");
    assert_eq!(site.serial().expect("it is served"), serial);
    assert_eq!(site.issued().expect("the events are there"), issued, "nothing was signed for it");
}

#[test]
fn the_directory_alone_is_a_manifest_and_its_last_good_form_outlives_a_restart() {
    let mut site = Site::served().expect("the certificate is served");
    let main = site.host.root().join("etc/pinion/certificate-manifest.json");
    let directory = Directory(&site);
    directory.write("web.json", &fs::read_to_string(&main).expect("read"));
    directory.write("more.json", &document(&certificate("mail")));
    fs::remove_file(&main).expect("removed");
    site.host.ensure(&["web", "mail"], "installed").expect("both are there");
    let path = directory.path("web.json");
    wait::until("the manifest to be stored", PATIENCE, || {
        let kept = fs::read_to_string(site.host.root().join("var/lib/pinion/local/last-good-manifest.json"));
        if kept.is_ok_and(|kept| kept.contains("/etc/ssl/mail.crt")) { Ok(()) } else { Err("an earlier one") }
    })
    .expect("it is stored");
    fs::write(&path, "{").expect("written");
    site.host.restart().expect("it starts again");
    both_are_asked_for(&site);
    let told = Directory(&site).problem().expect("a problem");
    assert!(told.contains("certificate-manifest.d/web.json:1:2 "), "{told}");
}
