//! How commands fail: with `--json` as one object, in words once, and each cause with its own remedy.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener, process::CommandExt},
    path::Path,
};

use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    process::{self, Finished},
    site::Site,
    terminal,
    wait::PATIENCE,
};
use rustix::process::geteuid;
use serde_json::{Value, json};

/// A user without any rights.
const NOBODY: u32 = 65534;

/// The one document of standard output, whose `error` has a message and this exit code; and what standard error says.
fn error(finished: &Finished, exit: i32) -> (Value, String) {
    assert_eq!(finished.code(), exit, "{finished}");
    let document: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"));
    let error = document["error"].clone();
    assert_eq!(error["exit_code"], exit, "{finished}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{finished}");
    is_said_once(&error, finished);
    (error, finished.stderr.clone())
}

/// No part of a chain of causes is there twice.
fn is_said_once(error: &Value, finished: &Finished) {
    let whole: Vec<_> = ["message", "cause"].iter().filter_map(|part| error[part].as_str()).collect();
    let whole = whole.join(": ");
    let parts: Vec<_> = whole.split(": ").collect();
    assert!(parts.windows(2).all(|pair| pair[0] != pair[1]), "{finished}");
    let lines: Vec<_> = finished.stderr.lines().collect();
    assert!(lines.windows(2).all(|pair| pair[0] != pair[1]), "{finished}");
}

#[test]
fn every_failing_command_prints_one_object_with_its_error() {
    let mut host = Host::start(&HostOptions::default()).expect("a host");
    let pinion =
        |host: &Host, line: &str| host.pinion(&line.split(' ').chain(["--json"]).collect::<Vec<_>>()).expect("it runs");
    fs::write(host.root().join("bad.json"), "{\"version\":1,\"certificates\":[{}]}").expect("written");
    let bad = host.root().join("bad.json").display().to_string();
    // Of the command line, of the controller's answers, and of files.
    for (line, exit) in [
        ("statsu", 2),
        ("guest", 2),
        ("ensure --until later", 2),
        ("freeze --until 2020-01-01T00:00Z", 2),
        ("status nobody", 6),
        ("ensure nobody", 6),
        ("show nobody", 6),
        ("token create --guest nobody", 6),
        ("restore /nonexistent --yes", 1),
        ("identity new-root", 2),
        (&*format!("plan {bad}"), 2),
        (&*format!("manifest check {bad}"), 2),
        ("manifest check /nonexistent.json", 2),
    ] {
        error(&pinion(&host, line), exit);
    }
    let (wrong, words) = error(&pinion(&host, "statsu"), 2);
    assert!(wrong["remedy"].as_str().is_some_and(|remedy| remedy.contains("'status'")), "{wrong}");
    assert!(words.contains("'status'"), "{words}");
    let check = pinion(&host, &format!("manifest check {bad}"));
    let check: Value = serde_json::from_str(&check.stdout).expect("JSON");
    assert!(check["ok"] == json!(false) && check["problems"][0]["line"] == 1, "the answer is there too: {check}");

    // One that cannot be had yet, and is there with the error in it.
    let manifest = json!([{ "name": "web", "common_name": "web.internal.example",
                            "placements": [{ "guest": 1001, "recipe": "files" }] }]);
    host.write_manifest(&json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": manifest }))
        .expect("written");
    host.wait_placement("web@1001", |_| true).expect("it is known");
    let late = pinion(&host, "ensure web --timeout 1s --wait");
    let (late_error, _) = error(&late, 3);
    assert!(late_error["cause"].as_str().is_some_and(|cause| cause.starts_with("web@1001: ")), "{late}");
    let document: Value = serde_json::from_str(&late.stdout).expect("JSON");
    assert_eq!(document["placements"][0]["placement"], "web@1001", "{late}");

    // Nobody is there.
    host.stop().expect("it stops");
    for line in ["status", "status --check", "ensure", "events", "plan", "guest list", "issuer check", "purge web"] {
        let (gone, words) = error(&pinion(&host, line), 5);
        assert!(gone["remedy"].as_str().is_some_and(|remedy| remedy.contains("systemctl start pinion")), "{gone}");
        assert_eq!(words.matches("can't be reached").count(), 1, "{line}: {words}");
    }
    fs::write(host.root().join("etc/pinion/controller.toml"), "lisen = 1\n").expect("written");
    for line in ["status", "serve", "channel", "config check"] {
        let (wrong, words) = error(&pinion(&host, line), 2);
        assert!(wrong.to_string().contains("lisen"), "{wrong}");
        assert_eq!(words.matches("there is no field `lisen`").count(), 1, "{line}: {words}");
    }
}

#[test]
fn the_agents_commands_print_one_object_too() {
    let guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest's directory");
    let agent =
        |line: &str| guest.pinion_agent(&line.split(' ').chain(["--json"]).collect::<Vec<_>>()).expect("it runs");
    guest.write("bad.toml", "files = \n").expect("written");
    let bad = guest.path("/bad.toml").display().to_string();
    for (line, exit) in [
        ("statsu", 2),
        ("await web --until later", 2),
        ("await ../web", 2),
        ("join", 2),
        ("join --token-file /nonexistent", 2),
        ("recipe show nginxx", 6),
        (&*format!("recipe check {bad}"), 2),
        ("recipe check /nonexistent.toml", 2),
        ("status", 5),
        ("await web", 5),
    ] {
        error(&agent(line), exit);
    }
    guest.write("etc/pinion/agent.toml", "check_evry = \"5s\"\n").expect("written");
    for line in ["status", "run", "config check"] {
        let (wrong, words) = error(&agent(line), 2);
        assert!(wrong.to_string().contains("check_evry"), "{wrong}");
        assert!(words.matches("unknown field").count() <= 1, "{line}: {words}");
    }
}

/// As another user, who may enter the directories above.
fn as_nobody(mut command: std::process::Command) -> Finished {
    process::run(command.uid(NOBODY).gid(NOBODY), b"", PATIENCE).expect("it runs")
}

fn open(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

#[test]
fn a_socket_that_may_not_be_opened_is_told_from_a_daemon_that_is_not_there() {
    if !geteuid().is_root() {
        // Nobody else can be become.
        return;
    }
    let mut site = Site::served().expect("the certificate is served");
    for path in [site.host.root(), &site.host.root().join("etc/pinion"), site.guest.root()] {
        open(path, 0o755);
    }
    open(&site.host.root().join("etc/pinion/controller.toml"), 0o644);
    let pinion = |site: &Site, line: &[&str]| as_nobody(site.host.command(line).expect("it is built"));
    let agent = |site: &Site, line: &[&str]| as_nobody(site.guest.command(line).expect("it is built"));
    let denied = |finished: &Finished, remedy: &str| {
        assert_eq!(finished.code(), 5, "{finished}");
        assert!(finished.stderr.contains("this user may not use") && finished.stderr.contains(remedy), "{finished}");
        assert!(!finished.stderr.contains("systemctl"), "the daemon runs: {finished}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished}");
    };
    for line in [
        &["status"][..],
        &["status", "--check"],
        &["ensure", "web"],
        &["plan"],
        &["show", "web"],
        &["events"],
        &["guest", "list"],
        &["guest", "wake", "1001"],
        &["guest", "enroll", "1001"],
        &["token", "create", "--guest", "1001"],
        &["issuer", "check"],
        &["issuer", "root"],
        &["freeze", "web"],
        &["purge", "web"],
    ] {
        denied(&pinion(&site, line), "usermod -aG pinion");
    }
    for line in [&["status"][..], &["await", "web"]] {
        denied(&agent(&site, line), "run this command as root");
    }
    let (json, _) = error(&agent(&site, &["status", "--json"]), 5);
    assert!(json["cause"].as_str().is_some_and(|cause| cause.contains("Permission denied")), "{json}");

    // Killed ones leave their sockets behind: nobody listens there. Stopped ones leave none.
    site.host.kill9().expect("killed");
    site.guest.kill9().expect("killed");
    let gone = |finished: &Finished, words: &str| {
        assert_eq!(finished.code(), 5, "{finished}");
        assert!(finished.stderr.contains(words) && finished.stderr.contains("systemctl start"), "{finished}");
    };
    gone(&site.host.pinion(&["status"]).expect("it runs"), "nobody listens on");
    gone(&site.guest.pinion_agent(&["status"]).expect("it runs"), "nobody listens on");
    for socket in [site.host.root().join("run/pinion/controller.sock"), site.guest.path("/run/pinion-agent/agent.sock")]
    {
        fs::remove_file(&socket).expect("it was left");
    }
    gone(&pinion(&site, &["status"]), "there is no socket");
    gone(&agent(&site, &["status"]), "there is no socket");
    let socket = site.host.root().join("run/pinion/controller.sock");
    fs::write(&socket, "").expect("written");
    let file = site.host.pinion(&["status"]).expect("it runs");
    assert!(file.code() == 5 && file.stderr.contains("is not a socket; remove it"), "{file}");
    fs::remove_file(&socket).expect("removed");
    drop(UnixListener::bind(&socket).expect("bound"));
    gone(&site.host.pinion(&["plan"]).expect("it runs"), "nobody listens on");
}

#[test]
fn what_is_mistyped_is_guessed_and_colours_are_for_terminals() {
    let host = Host::prepare(&HostOptions::default()).expect("a host's directory");
    let guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest's directory");
    for (line, meant) in [
        (&["statsu"][..], "'status'"),
        (&["guest", "enrol", "1001"], "'enroll'"),
        (&["status", "--chek"], "'--check'"),
        (&["ensure", "--until", "instaled"], "'installed'"),
    ] {
        let wrong = host.pinion(line).expect("it runs");
        assert!(wrong.code() == 2 && wrong.stderr.contains(meant) && wrong.stderr.contains("similar"), "{wrong}");
        assert!(!wrong.stderr.contains('\x1b'), "{wrong}");
    }
    for (line, meant) in [(&["awiat", "web"][..], "'await'"), (&["await", "web", "--timout", "1s"], "'--timeout'")] {
        let wrong = guest.pinion_agent(line).expect("it runs");
        assert!(wrong.code() == 2 && wrong.stderr.contains(meant), "{wrong}");
    }
    for command in
        [|host: &Host, _: &Guest| host.command(&["--help"]), |_: &Host, guest: &Guest| guest.command(&["--help"])]
    {
        let plain = process::run(&mut command(&host, &guest).expect("it is built"), b"", PATIENCE).expect("it runs");
        assert!(plain.code() == 0 && !plain.stdout.contains('\x1b'), "{plain}");
        let mut coloured = command(&host, &guest).expect("it is built");
        let coloured = terminal::run(coloured.env_remove("NO_COLOR"), PATIENCE).expect("it runs");
        assert!(coloured.stdout.contains('\x1b'), "{coloured}");
        let mut without = command(&host, &guest).expect("it is built");
        let without = terminal::run(without.env("NO_COLOR", "1"), PATIENCE).expect("it runs");
        assert!(!without.stdout.contains('\x1b'), "{without}");
    }
}

#[test]
fn nothing_shows_the_programs_own_notation() {
    let mut site = Site::served().expect("the certificate is served");
    let is_plain = |finished: &Finished| {
        for words in ["Some(", "None", "Ok(", "Err(", "\"secs\"", "\"nanos\"", "Duration", "PlacementId", " { ", "::"] {
            for text in [&finished.stdout, &finished.stderr] {
                assert!(!text.contains(words), "{words}: {finished}");
            }
        }
    };
    let host: &[&[&str]] = &[
        &["status"],
        &["status", "--wide"],
        &["status", "--check"],
        &["show", "web"],
        &["show", "1001"],
        &["plan"],
        &["events", "--last", "1000"],
        &["guest", "list"],
        &["issuer", "check"],
        &["issuer", "root"],
        &["ensure", "web"],
        &["freeze", "web", "--until", "8h"],
        &["freeze", "--lift"],
        &["config", "check"],
        &["manifest", "check"],
        &["ensure", "nobody"],
        &["guest", "wake", "7"],
        &["frobnicate"],
    ];
    let guest: &[&[&str]] = &[
        &["status"],
        &["await", "web"],
        &["await", "web@1002"],
        &["recipe", "list"],
        &["recipe", "show", "nginx"],
        &["config", "check"],
        &["await", "x y"],
    ];
    let all = |site: &Site| {
        for line in host {
            for json in [&[][..], &["--json"]] {
                is_plain(&site.host.pinion(&[*line, json].concat()).expect("it runs"));
            }
        }
        for line in guest {
            for json in [&[][..], &["--json"]] {
                is_plain(&site.guest.pinion_agent(&[*line, json].concat()).expect("it runs"));
            }
        }
    };
    all(&site);
    let check = site.host.pinion(&["issuer", "check", "--json"]).and_then(Finished::succeeded).expect("an answer");
    let check: Value = serde_json::from_str(&check.stdout).expect("JSON");
    assert_eq!(check[0]["check"]["durations"]["min"], "1m", "{check}");
    // Also of what is wrong, and of nobody.
    site.host.stop().expect("it stops");
    site.guest.stop().expect("it stops");
    all(&site);
}
