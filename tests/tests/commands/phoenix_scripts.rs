//! The scripts that take the place of the Phoenix scripts' own: how they end. What they do is seen in the lab
//! (`feature_scripts`, `taken_over`).

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use pinion_tests::{
    process::{Finished, run},
    program,
    site::{Site, manifest},
    wait::PATIENCE,
};
use serde_json::json;

/// Runs certificate-renewal-manager.sh on the site's host.
fn manager(site: &Site, arguments: &[&str]) -> Finished {
    let programs = site.host.root().join("usr/bin");
    fs::create_dir_all(&programs).expect("a directory");
    symlink(program::own("pinion").expect("pinion is built"), programs.join("pinion")).ok();
    let mut command = Command::new("bash");
    command.arg(packaging().join("phoenix/certificate-renewal-manager.sh")).args(arguments);
    command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    command.env("ROOT", site.host.root()).env("TIMEOUT", "20s");
    run(&mut command, b"", PATIENCE).expect("it ends")
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the project's root").join("packaging")
}

#[test]
fn it_ends_with_the_code_that_tells_how_it_went() {
    let mut site = Site::served().expect("the certificate is served");
    assert_eq!(manager(&site, &[]).code(), 0);
    for wrong in [&["--renew"][..], &["--force", "--reissue"], &["web"]] {
        let finished = manager(&site, wrong);
        assert!(finished.code() == 2 && finished.stderr.contains("usage:"), "{finished}");
    }
    let mut refused = site.certificate();
    refused["placements"][0]["files"]["ca"]["path"] = "/srv/nobody/allows/this.pem".into();
    site.host.write_manifest(&manifest(json!([refused]))).expect("written");
    let blocked = manager(&site, &["--force"]);
    assert!(blocked.code() == 4 && blocked.stderr.contains("/srv/nobody/allows"), "{blocked}");
    assert_eq!(manager(&site, &[]).code(), 4);
    site.host.write_manifest(&manifest(json!([]))).expect("written");
    site.host.wait_placement(Site::PLACEMENT, |found| found.retired).expect("it is asked for no more");
    let nothing = manager(&site, &["--force"]);
    assert!(nothing.code() == 0 && nothing.stderr.contains("nothing to wait for"), "{nothing}");
    site.host.stop().expect("the controller stops");
    for arguments in [&[][..], &["--force"], &["--reissue"]] {
        assert_eq!(manager(&site, arguments).code(), 5, "{arguments:?}");
    }
}

#[test]
fn every_script_that_is_shipped_is_clean() {
    let mut scripts = Vec::new();
    for directory in ["agent", "examples", "phoenix", "proxmox"] {
        for entry in fs::read_dir(packaging().join(directory)).expect("a directory") {
            let path = entry.expect("an entry").path();
            if fs::read_to_string(&path).is_ok_and(|text| text.starts_with("#!")) {
                scripts.push(path);
            }
        }
    }
    assert!(scripts.len() >= 4, "{scripts:?}");
    let mut command = Command::new(program::found("shellcheck").expect("shellcheck is installed"));
    let openrc = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "openrc");
    command.args(scripts.iter().filter(|path| !openrc(path)));
    run(&mut command, b"", PATIENCE).and_then(Finished::succeeded).expect("shellcheck finds nothing");
}
