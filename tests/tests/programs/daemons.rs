//! The daemons' manners towards their service manager: they say when they are ready, alive and stopping, reload
//! on SIGHUP, and end at once on SIGTERM.

use std::{
    fs::File,
    os::unix::{
        fs::MetadataExt,
        net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    process::Process,
    tls_server::TlsServer,
    wait::{self, PATIENCE},
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// The socket at which a service manager hears its services (sd_notify(3)).
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Manager {
    fn in_directory(directory: &Path) -> Self {
        let path = directory.join("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_nonblocking(true).expect("a socket that can be looked at");
        Self { socket, path, heard: Vec::new() }
    }

    /// Tells a command whom to notify, and to say that it lives twice in each 200 ms.
    fn adopt(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "200000").env_remove("WATCHDOG_PID");
    }

    /// Waits until it has been told `word` so many times.
    fn hear(&mut self, word: &str, times: usize) {
        let heard = wait::until(&format!("{times} times {word}"), PATIENCE, || {
            let mut buffer = [0; 4096];
            while let Ok(length) = self.socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                self.heard.extend(text.lines().map(str::to_owned));
            }
            let count = self.heard.iter().filter(|line| *line == word).count();
            if count >= times { Ok(()) } else { Err(format!("{:?}", self.heard)) }
        });
        heard.expect("a service tells its manager");
    }
}

/// A daemon's whole life as its manager sees it; how often it has said how it is.
fn lives(mut command: Command, manager: &mut Manager, log: &Path) -> usize {
    manager.adopt(&mut command);
    let mut daemon = Process::spawn("a daemon", &mut command, log).expect("it starts");
    manager.hear("READY=1", 1);
    manager.hear("WATCHDOG=1", 3);
    assert!(!manager.heard.iter().any(|line| line == "STOPPING=1"), "{:?}", manager.heard);
    daemon.signal(Signal::TERM).expect("it is there");
    manager.hear("STOPPING=1", 1);
    assert_eq!(daemon.wait_end(PATIENCE).expect("it ends").code(), Some(0), "{}", daemon.log_tail());
    let (status, others): (Vec<&String>, Vec<_>) = manager.heard.iter().partition(|line| line.starts_with("STATUS="));
    assert_eq!(others.first().map(|line| line.as_str()), Some("READY=1"));
    assert!(status.last().is_none_or(|line| line.contains("0 of 0 placements good")), "{status:?}");
    status.len()
}

#[test]
fn an_agent_waits_for_the_socket_of_one_that_was_killed() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let mut guest = Guest::join(&host, 1001).expect("a guest");
    guest.kill9().expect("it is killed");
    // A program that the killed one was starting has its socket still.
    let socket = guest.path("/run/pinion-agent/agent.sock");
    std::fs::remove_file(&socket).expect("the dead one left it");
    let left = UnixListener::bind(&socket).expect("a socket");
    let mut run = guest.command(&["run"]).expect("it is built");
    let mut agent = Process::spawn("pinion-agent", &mut run, &guest.path("/var/log/x.log")).expect("it starts");
    drop((left.accept().expect("the new agent looks whether somebody answers"), left));
    let up = wait::until("the agent to answer", PATIENCE, || match agent.check_running() {
        Err(ended) => Ok(Err(ended)),
        Ok(()) => UnixStream::connect(&socket).map(|_| Ok(())),
    });
    up.and_then(|up| up).expect("it takes the socket over");
}

#[test]
fn the_controller_tells_its_manager_when_it_is_ready_alive_and_stopping() {
    let host = Host::prepare(&HostOptions::default()).expect("a host's directory");
    let mut manager = Manager::in_directory(host.root());
    let log = host.root().join("var/log/x.log");
    assert_ne!(lives(host.command(&["serve"]).expect("pinion is built"), &mut manager, &log), 0);
}

#[test]
fn the_root_process_tells_its_manager_when_it_is_ready_alive_and_stopping() {
    let host = Host::prepare(&HostOptions::default()).expect("a host's directory");
    std::fs::write(
        host.root().join("etc/passwd"),
        format!("pinion:x:{}:0::/:/bin/false\n", rustix::process::geteuid().as_raw()),
    )
    .expect("written");
    let mut manager = Manager::in_directory(host.root());
    lives(host.command(&["channel"]).expect("pinion is built"), &mut manager, &host.root().join("var/log/x.log"));
}

#[test]
fn the_agent_tells_its_manager_when_it_is_ready_alive_and_stopping() {
    let guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest's directory");
    let mut manager = Manager::in_directory(guest.root());
    let log = guest.path("/var/log/x.log");
    assert_ne!(lives(guest.command(&["run"]).expect("pinion-agent is built"), &mut manager, &log), 0);
}

/// A file that stands for the journal: what a command's environment says of it (systemd.exec(5)).
fn as_journal(command: &mut Command, log: &Path) {
    let file = File::create(log).expect("a file").metadata().expect("it is there");
    command.env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()));
}

#[test]
fn lines_in_the_journal_have_a_priority_and_no_time_of_their_own() {
    let mut host = Host::prepare(&HostOptions::embedded(&json!([files("web")]))).expect("a host's directory");
    let log = host.root().join("var/log/journal.log");
    let mut command = host.command(&["serve"]).expect("pinion is built");
    as_journal(&mut command, &log);
    let mut daemon = Process::spawn("pinion serve", &mut command, &log).expect("it starts");
    let contains = |words: &str| {
        let found = wait::until(words, PATIENCE, || match std::fs::read_to_string(&log) {
            Ok(text) if text.contains(words) => Ok(text),
            other => Err(format!("{other:?}")),
        });
        found.expect("it is logged")
    };
    contains("<6>");
    std::fs::write(host.root().join("etc/pinion/certificate-manifest.json"), "{").expect("written");
    let text = contains("The manifest on disk cannot be used");
    let line =
        |words: &str| text.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{words}: {text}"));
    assert!(line("The manifest on disk cannot be used").starts_with("<4>"), "{text}");
    assert!(line("Controller").starts_with("<6>"), "{text}");
    for line in text.lines() {
        let (priority, rest) = line.split_at(3);
        assert!(["<3>", "<4>", "<6>"].contains(&priority) && !rest.trim_start().starts_with("20"), "{line}");
    }
    daemon.stop().expect("it ends");

    // What keeps it from starting is an error, in all its lines.
    let config = host.root().join("etc/pinion/controller.toml");
    std::fs::write(&config, "lisen = 1\n").expect("written");
    let mut command = host.command(&["serve"]).expect("pinion is built");
    as_journal(&mut command, &log);
    let mut daemon = Process::spawn("pinion serve", &mut command, &log).expect("it starts");
    assert_eq!(daemon.wait_end(PATIENCE).expect("it ends").code(), Some(2));
    let text = daemon.log();
    assert!(text.contains("lisen") && text.lines().all(|line| line.starts_with("<3>")), "{text}");

    // Elsewhere, lines are for people.
    std::fs::remove_file(&config).expect("removed");
    let mut guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest's directory");
    guest.start().expect("it starts");
    let text = wait::until("its first line", PATIENCE, || match guest.agent().map(|agent| agent.log()) {
        Some(text) if text.contains('\n') => Ok(text),
        other => Err(format!("{other:?}")),
    });
    let text = text.expect("it says that it has started");
    assert!(text.starts_with("20") && !text.contains("<6>"), "{text}");
    host.stop().expect("nothing runs");
}

fn files(name: &str) -> Value {
    json!({ "name": name, "common_name": format!("{name}.internal.example"),
            "placements": [{ "guest": 1001, "recipe": "files" }] })
}

#[test]
fn sighup_makes_the_controller_look_at_the_manifest() {
    let mut host = Host::start(&HostOptions::default()).expect("a host");
    let events = host.root().join("var/log/follow.log");
    let mut command = host.command(&["events", "--follow"]).expect("pinion is built");
    let follow = Process::spawn("pinion events", &mut command, &events).expect("it starts");
    let tells = |words: &str| {
        let told = wait::until(words, PATIENCE, || match follow.log() {
            log if log.contains(words) => Ok(()),
            log => Err(log),
        });
        told.expect("the event comes");
    };
    tells("Controller");
    host.write_manifest(&json!({ "version": 1, "certificates": [files("web"), files("mail")] })).expect("written");
    host.controller().expect("it runs").signal(Signal::HUP).expect("it is there");
    tells("A manifest with 2 certificates in 2 places is in force");
    let controller = host.controller().expect("it runs");
    assert!(controller.is_running() && controller.log().contains("Looking at the manifest"), "{}", controller.log());
}

#[test]
fn both_daemons_end_quickly_on_sigterm_whatever_they_are_at() {
    let mut host = Host::start(&HostOptions::default()).expect("a host");
    let mut guest = Guest::join(&host, 1001).expect("a guest");
    let server = TlsServer::install(&guest, "/etc/ssl/web.crt", "/etc/ssl/web.key").expect("tls-server is built");
    // A service that never comes: the agent looks for it, and both are asked about it.
    let mut placement = server.placement(&guest, "reload");
    placement["reload"] = json!("nothing");
    let web = json!({ "name": "web", "common_name": "web.internal.example", "placements": [placement] });
    host.write_manifest(&json!({ "version": 1, "certificates": [web, files("mail")] })).expect("written");
    host.ensure(&[], "installed").expect("installed");
    let log = host.root().join("var/log/ask.log");
    let mut asked = host.command(&["ensure", "--timeout", "60s"]).expect("pinion is built");
    let mut asked = Process::spawn("pinion ensure", &mut asked, &log).expect("it starts");
    let mut waiting = guest.command(&["await", "web", "--until", "served", "--timeout", "2s"]).expect("built");
    let mut waiting = Process::spawn("await", &mut waiting, &guest.path("/var/log/await.log")).expect("it starts");
    for process in [&asked, &waiting] {
        let says = wait::until("a waiting command to say so", PATIENCE, || {
            if process.log().contains("web") { Ok(()) } else { Err(process.log()) }
        });
        says.expect("it waits");
    }

    for daemon in [guest.agent().expect("it runs"), host.controller().expect("it runs")] {
        let told = Instant::now();
        daemon.signal(Signal::TERM).expect("it is there");
        assert_eq!(daemon.wait_end(PATIENCE).expect("it ends").code(), Some(0), "{}", daemon.log_tail());
        assert!(told.elapsed() < Duration::from_secs(3), "{:?}: {}", told.elapsed(), daemon.log_tail());
    }
    // Whoever waited is told, and not left hanging.
    assert_eq!(asked.wait_end(PATIENCE).expect("it ends").code(), Some(5));
    assert_eq!(waiting.wait_end(PATIENCE).expect("it ends").code(), Some(5));
}
