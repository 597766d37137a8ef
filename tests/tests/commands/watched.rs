//! `pinion status --watch`: on a terminal and in a pipe, over a restart of the controller, and to its end.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    thread,
};

use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    process::Process,
    terminal,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

fn files(names: &[&str]) -> Value {
    let files = |name: &&str| {
        json!({ "name": name, "common_name": format!("{name}.internal.example"),
                "placements": [{ "guest": 1001, "recipe": "files" }] })
    };
    json!(names.iter().map(files).collect::<Vec<_>>())
}

fn manifest(names: &[&str]) -> Value {
    json!({ "version": 1, "certificates": files(names) })
}

/// A host whose guest has one certificate.
fn site() -> (Host, Guest) {
    let host = Host::start(&HostOptions::embedded(&files(&["web"]))).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&[], "reloaded").expect("it is there");
    (host, guest)
}

/// Waits until the output has these words.
fn has(process: &Process, words: &str) -> String {
    let seen = wait::until(&format!("{words:?} in the output"), PATIENCE, || {
        let log = process.log();
        if log.contains(words) { Ok(log) } else { Err(log) }
    });
    seen.expect("it is printed")
}

#[test]
fn a_block_is_printed_at_each_change_also_after_a_restart_of_the_controller() {
    let (mut host, _guest) = site();
    let output = host.root().join("var/log/watch.log");
    let mut watch =
        Process::spawn("watch", &mut host.command(&["status", "--watch", "--json"]).expect("it is built"), &output)
            .expect("it starts");
    has(&watch, "\"web@1001\"");
    host.stop().expect("it stops");
    has(&watch, "\"error\"");
    host.start_again().expect("it starts");
    host.write_manifest(&manifest(&["web", "mail"])).expect("written");
    host.ensure(&[], "reloaded").expect("both are there");
    wait::until("the second placement at its goal", PATIENCE, || {
        let log = watch.log();
        let last: Value = log.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        if last["placements"][1]["stage"] == "reloaded" { Ok(()) } else { Err(log) }
    })
    .expect("it is seen");
    let log = watch.log();
    let blocks: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a document")).collect();
    assert!(blocks.windows(2).all(|pair| pair[0] != pair[1]), "a block without a change: {log}");
    assert_eq!(blocks.iter().filter(|block| !block["error"].is_null()).count(), 1, "{log}");
    let ended = watch.stop().expect("it ends on SIGTERM");
    assert_eq!(ended.code(), Some(0));
    assert!(fs::read_to_string(&output).is_ok_and(|text| !text.contains('\x1b')));
}

#[test]
fn without_a_reader_a_watch_ends_although_nothing_changes() {
    let (host, _guest) = site();
    let mut command = host.command(&["status", "--watch"]).expect("it is built");
    let mut watch = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().expect("it starts");
    let mut reader = BufReader::new(watch.stdout.take().expect("a pipe"));
    let mut first = String::new();
    while !first.contains("web@1001") {
        assert!(reader.read_line(&mut first).expect("it is read") > 0, "{first}");
    }
    assert!(first.starts_with("20") && first.contains("\n\nVALIDITY"), "{first}");
    drop(reader);
    let ended = wait::until("its end", PATIENCE, || match watch.try_wait() {
        Ok(Some(status)) => Ok(status),
        other => Err(format!("{other:?}")),
    });
    assert_eq!(ended.expect("it ends").code(), Some(141));
}

#[test]
fn a_terminal_is_drawn_over_and_left_as_it_was() {
    let (host, _guest) = site();
    let pinion = host.command(&["status", "--watch"]).expect("it is built");
    // A shell of its own presses Ctrl-C as soon as the second placement is seen: somebody answers that with a line.
    let script = "\"$0\" \"$@\" & watch=$!; read -r seen; kill -INT $watch; wait $watch";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(pinion.get_program()).args(pinion.get_args());
    let ended = thread::scope(|scope| {
        scope.spawn(|| host.write_manifest(&manifest(&["web", "mail"])).expect("written"));
        terminal::converse(&mut shell, &[("mail@1001", "seen")], PATIENCE).expect("it ends")
    });
    assert_eq!(ended.code(), 0, "{ended}");
    let seen = &ended.stdout;
    assert!(seen.contains("web@1001"), "{seen}");
    let (enter, leave) =
        (seen.find("\x1b[?1049h").expect("another screen"), seen.rfind("\x1b[?1049l").expect("the first"));
    assert!(enter < leave && seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l"), "{seen:?}");
    assert!(!seen.contains("\x1b[2J"), "it is drawn over, not cleared: {seen:?}");
}

#[test]
fn a_watch_that_can_never_be_answered_does_not_begin() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    assert_eq!(host.pinion(&["status", "--watch", "wbe"]).expect("it runs").code(), 6);
    assert_eq!(host.pinion(&["status", "--watch", "--check"]).expect("it runs").code(), 2);
}
