//! Whoever reads a command's output may go away at any time, as `head` does: the command then ends quietly.

use std::{io, os::unix::process::ExitStatusExt, process::Command};

use pinion_tests::site::Site;

/// What a shell makes of a program that SIGPIPE ended.
const CUT_OFF: i32 = 141;

/// Runs a command whose readers have gone, of its output or of everything it says: its exit code, and what it still said.
fn cut_off(mut command: Command, both: bool) -> (Option<i32>, String) {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    if both {
        command.stderr(writer.try_clone().expect("a second end"));
    }
    let finished = command.stdout(writer).output().expect("it runs");
    assert_eq!(finished.status.signal(), None);
    (finished.status.code(), String::from_utf8_lossy(&finished.stderr).into_owned())
}

#[test]
fn a_command_whose_reader_has_gone_ends_quietly_and_not_with_success() {
    let site = Site::served().expect("the certificate is served");
    let host = |arguments: &[&str]| site.host.command(arguments).expect("it is built");
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["plan"],
        &["events"],
        &["show", "web"],
        &["guest", "list"],
        &["manifest", "schema"],
    ] {
        assert_eq!(cut_off(host(arguments), false), (Some(CUT_OFF), String::new()), "{arguments:?}");
    }
    // What is said beside the output, too.
    assert_eq!(cut_off(host(&["purge", "nothing"]), true).0, Some(CUT_OFF));
    let guest = |arguments: &[&str]| site.guest.command(arguments).expect("it is built");
    for arguments in [&["status"][..], &["recipe", "list"], &["recipe", "show", "nginx"]] {
        assert_eq!(cut_off(guest(arguments), false), (Some(CUT_OFF), String::new()), "{arguments:?}");
    }
}
