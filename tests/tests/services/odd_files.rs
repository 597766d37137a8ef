//! Files that the kernel lets nobody replace: what that is, and what to do about it, is told at once.

use std::{path::PathBuf, process::Command};

use pinion_proto::stage::Halt;
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    outage::{Before, Client},
    process::{self, Finished, Process},
    site::Site,
    wait::PATIENCE,
};
use serde_json::json;

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
    finished.and_then(Finished::succeeded).expect("it is done");
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

#[test]
fn an_owner_beyond_the_numbers_of_a_user_namespace_is_told_with_its_remedy() {
    let certificate = |name: &str, owner: &str| {
        let file = |kind: &str| json!({ "path": format!("/etc/ssl/{name}.{kind}"), "owner": owner, "group": owner });
        json!({ "name": name, "common_name": format!("{name}.internal.example"),
            "placements": [{ "guest": 1001, "files": { "fullchain": file("crt"), "key": file("key") } }] })
    };
    let certificates = json!([certificate("within", "0"), certificate("beyond", "1234")]);
    let host = Host::start(&HostOptions::embedded(&certificates)).expect("a host");
    let mut guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest");
    guest.join_with(&host.token("1001").expect("a token")).and_then(Finished::succeeded).expect("joined");
    // The kernel's own: root alone has a number there.
    let agent = guest.command(&["run"]).expect("it is built");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--"]).arg(agent.get_program()).args(agent.get_args());
    let agent = Process::spawn("an agent in a namespace", &mut command, &guest.path("/var/log/pinion-agent.log"));
    let agent = agent.expect("it starts");
    guest.wait_linked(&host).expect("linked");
    host.ensure(&["within"], "installed").expect("root is within");
    let held = host.wait_placement("beyond@1001", |found| found.trouble.is_some()).expect("it is reported");
    let trouble = held.trouble.expect("a trouble");
    assert!(trouble.halt == Halt::Blocked && trouble.cause.contains("(os error 22)"), "the kernel's EINVAL: {trouble}");
    let words = "user 1234 or group 1234 is outside of the numbers that this container has";
    assert!(trouble.remedy.contains(words) && trouble.remedy.contains("lxc.idmap"), "{trouble}");
    assert!(!guest.path("/etc/ssl/beyond.key").exists() && !guest.path("/etc/ssl/beyond.crt").exists());
    drop(agent);
}
