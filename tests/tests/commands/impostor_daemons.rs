//! Whoever answers on a daemon's socket is believed only if it is that daemon's user, or root.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use pinion_controller::channel::client::Client;
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    process::{Finished, Process},
    wait::{self, PATIENCE},
};
use rustix::process::geteuid;
use serde_json::json;

/// A user without any rights.
const NOBODY: u32 = 65534;

/// Where [`answers_as_another_user`] listens, and with what it answers.
const SOCKET: &str = "PINION_TEST_IMPOSTOR";
const ANSWER: &str = "PINION_TEST_ANSWER";

/// Run by the others as another user; by itself it does nothing.
#[test]
fn answers_as_another_user() {
    let Some(socket) = env::var_os(SOCKET) else { return };
    let answer = env::var(ANSWER).expect("what to answer");
    let listener = UnixListener::bind(PathBuf::from(socket)).expect("the directory lets everyone in");
    for stream in listener.incoming() {
        let mut stream = BufReader::new(stream.expect("a caller"));
        let mut question = String::new();
        stream.read_line(&mut question).ok();
        // The caller may have gone.
        writeln!(stream.get_mut(), "{answer}").ok();
        stream.read_line(&mut question).ok();
    }
}

/// A process of this user that answers on the socket, in place of what was there.
fn impostor(root: &Path, socket: &Path, user: u32, answer: &str) -> Process {
    let directory = socket.parent().expect("a directory");
    fs::create_dir_all(directory).expect("made");
    for path in [root, directory] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("opened");
    }
    drop(fs::remove_file(socket));
    let mut command = Command::new(env::current_exe().expect("this test"));
    command.args(["--exact", "impostor_daemons::answers_as_another_user", "--nocapture"]);
    command.env(SOCKET, socket).env(ANSWER, answer).uid(user).gid(user);
    let mut process = Process::spawn("an impostor", &mut command, &root.join("impostor.log")).expect("it starts");
    let up = wait::until("the impostor's socket", PATIENCE, || {
        process.check_running().map_err(|error| error.to_string())?;
        // It is there a moment before it takes connections.
        UnixStream::connect(socket).map(drop).map_err(|error| error.to_string())
    });
    up.expect("it listens");
    process
}

fn is_refused(finished: &Finished) {
    assert_eq!(finished.code(), 5, "{finished}");
    let words = "a process of user nobody (uid 65534) listens";
    assert!(finished.stderr.contains(words) && finished.stderr.contains("not trusted"), "{finished}");
}

#[test]
fn an_agent_that_another_user_plays_is_not_believed() {
    if !geteuid().is_root() {
        // Nobody else can be become.
        return;
    }
    let certificates = json!([{ "name": "web", "common_name": "web.internal.example",
                                "placements": [{ "guest": 1001, "recipe": "files" }] }]);
    let host = Host::start(&HostOptions::embedded(&certificates)).expect("a host");
    let mut guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&["web"], "reloaded").expect("it is there");
    let answer = guest.pinion_agent(&["status", "--json"]).and_then(Finished::succeeded).expect("a status").stdout;
    let answer = answer.trim();
    guest.stop().expect("it stops");
    let awaited = || guest.pinion_agent(&["await", "web", "--timeout", "5s"]).expect("it runs");

    let socket = guest.path("/run/pinion-agent/agent.sock");
    let eve = impostor(guest.root(), &socket, NOBODY, answer);
    is_refused(&awaited());
    is_refused(&guest.pinion_agent(&["status"]).expect("it runs"));
    drop(eve);
    let root = impostor(guest.root(), &socket, 0, answer);
    awaited().succeeded().expect("the same answer of root is believed: it was the user that was wrong");
    drop(root);
    fs::remove_file(&socket).expect("it was left");

    // Where daemons of version 0.1 had their socket, others than root can make one.
    let earlier = guest.path("/run/pinion/agent.sock");
    let eve = impostor(guest.root(), &earlier, NOBODY, answer);
    let refused = awaited();
    assert!(refused.code() == 5 && refused.stderr.contains("/run/pinion-agent/agent.sock"), "{refused}");
    drop(eve);
    let root = impostor(guest.root(), &earlier, 0, answer);
    awaited().succeeded().expect("a daemon of version 0.1 goes on until it is restarted");
    // A link in a directory of others could lead anywhere.
    let elsewhere = guest.path("/run/elsewhere.sock");
    fs::rename(&earlier, &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &earlier).expect("a link");
    assert_eq!(awaited().code(), 5);
    drop(root);
}

#[test]
fn an_await_of_an_earlier_version_finds_the_new_daemon() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let mut guest = Guest::prepare("1001", &pinion_tests::guest::GuestOptions::default()).expect("a guest");
    // As a daemon of version 0.1 left it.
    let earlier = guest.path("/run/pinion/agent.sock");
    fs::create_dir_all(earlier.parent().expect("a directory")).expect("made");
    drop(UnixListener::bind(&earlier).expect("a socket"));
    guest.start().expect("it starts");
    // The new socket answers before the old place leads to it.
    let connect = || UnixStream::connect(&earlier).map(drop);
    wait::until("the old place to lead to the new socket", PATIENCE, connect).expect("it leads there");
    drop(host);
}

#[test]
fn a_controller_or_root_process_that_another_user_plays_is_not_believed() {
    if !geteuid().is_root() {
        return;
    }
    let host = Host::prepare(&HostOptions::default()).expect("a host's directory");
    fs::write(host.root().join("etc/passwd"), format!("nobody:x:{NOBODY}:{NOBODY}::/:\n")).expect("written");
    let socket = host.root().join("run/pinion/controller.sock");
    let eve = impostor(host.root(), &socket, NOBODY, "{\"guests\":[]}");
    is_refused(&host.pinion(&["guest", "list"]).expect("it runs"));
    // The user that the configuration says `pinion serve` runs as.
    fs::write(host.root().join("etc/passwd"), format!("pinion:x:{NOBODY}:{NOBODY}::/:\n")).expect("written");
    host.pinion(&["guest", "list"]).and_then(Finished::succeeded).expect("it is believed");
    drop(eve);

    let socket = host.root().join("run/pinion-channel/channel.sock");
    let _eve = impostor(host.root(), &socket, NOBODY, "{\"states\":\"[]\"}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let failure = runtime.block_on(Client::new(&socket).guests(None)).expect_err("it is somebody else's");
    assert!(failure.text.contains("uid 65534") && failure.text.contains("channel.sock"), "{failure}");
}
