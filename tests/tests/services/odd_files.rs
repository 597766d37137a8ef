//! Files that the kernel lets nobody replace: what that is, and what to do about it, is told at once.

use std::{path::PathBuf, process::Command};

use pinion_tests::{
    outage::{Before, Client},
    process,
    site::Site,
    wait::PATIENCE,
};

use super::several::counted;

/// Undoes what a test did to a file, whatever becomes of the test.
struct Undone {
    program: &'static str,
    arguments: Vec<String>,
}

impl Drop for Undone {
    fn drop(&mut self) {
        run(self.program, &self.arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

fn run(program: &str, arguments: &[&str]) {
    let finished = process::run(Command::new(program).args(arguments), b"", PATIENCE);
    finished.and_then(process::Finished::succeeded).expect("it is done");
}

#[test]
fn a_file_that_is_a_mount_or_may_not_change_is_told_as_such_and_renewed_when_it_may() {
    let site = Site::served().expect("the certificate is served");
    let key: PathBuf = site.guest.path(Site::KEY);
    let path = key.to_str().expect("a path in UTF-8");
    let cases: [(&str, &[&str], &str, &[&str], &str); 2] = [
        ("mount", &["--bind", path, path], "umount", &[path], "web.key is a mount of its own"),
        ("chattr", &["+i", path], "chattr", &["-i", path], "see whether an attribute forbids the change"),
    ];
    for (program, arguments, undo, undo_arguments, words) in cases {
        let before = site.serial().expect("all agree");
        let unit = site.server.unit();
        let reloads = unit.reloads();
        let client = Client::start(site.server.address(), Site::NAME, Before::Nothing).expect("a client");
        run(program, arguments);
        let undone = Undone { program: undo, arguments: undo_arguments.iter().map(ToString::to_string).collect() };
        let asked = site.host.pinion(&["ensure", "web", "--renew", "--until", "served", "--timeout", "30s"]);
        let asked = asked.expect("pinion runs");
        assert!(asked.code() == 4 && asked.stderr.contains(words), "{program}: {asked}");
        assert_eq!(site.serial().expect("all agree"), before, "what was there is served");
        drop(undone);
        site.host.ensure(&["web"], "served").expect("it goes on");
        let told = counted((unit.reloads() - reloads, unit.restarts()));
        client.end(&format!("a key file with {program}"), told).expect("measured");
        assert_ne!(site.serial().expect("all agree"), before);
    }
}
