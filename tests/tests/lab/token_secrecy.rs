//! Where the join token is while guests enrol: in pipes and in memory, and nowhere else.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{Installation, pinion},
        remains,
    },
    wait,
};

use crate::small_guests::{container, numbered, wait_well};

/// What every token's text starts with.
const PREFIX: &[u8] = b"pinion-join-1.";

/// So many letters of base64 after it make a token, or a part of one that says too much.
const MUCH: usize = 24;

/// Nothing that is searched is longer (bytes).
const MAX: u64 = 32 * 1024 * 1024;

/// Whether there is a token in these bytes; the prefix alone, as programs have it, is none.
fn has_token(bytes: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    bytes.windows(PREFIX.len()).enumerate().any(|(at, window)| {
        let after = at + PREFIX.len();
        window == PREFIX && bytes.get(after..after + MUCH).is_some_and(|secret| secret.iter().all(letter))
    })
}

/// Arguments and environments of processes, guests' included, that hold a token now, and are somebody's whom it matters for.
fn in_processes(matters: impl Fn(&str) -> bool, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir("/proc").expect("read").flatten() {
        let Some(pid) =
            entry.file_name().to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).map(str::to_owned)
        else {
            continue;
        };
        for file in ["cmdline", "environ"] {
            // A process that has just ended has neither.
            if fs::read(entry.path().join(file)).is_ok_and(|bytes| has_token(&bytes)) && matters(&pid) {
                let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
                found.insert(format!("{file} of `{}`", name.trim()));
            }
        }
    }
}

/// Files below `directory`, so deep, written since then, that hold a token; with `open_only`, those that others than their
/// owner may read.
fn in_files(directory: &Path, depth: u32, open_only: bool, since: SystemTime, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = path.symlink_metadata() else { continue };
        let kind = metadata.file_type();
        if kind.is_dir() && depth > 0 {
            in_files(&path, depth - 1, open_only, since, found);
        } else if kind.is_file() && metadata.len() <= MAX && metadata.modified().is_ok_and(|at| at >= since) {
            let open = metadata.mode() & 0o044 != 0;
            if (open || !open_only) && fs::read(&path).is_ok_and(|bytes| has_token(&bytes)) {
                found.insert(format!("{} (mode {:o})", path.display(), metadata.mode() & 0o7777));
            }
        }
    }
}

#[test]
fn the_token_is_in_no_argument_environment_file_or_log() {
    let lab = Lab::up(vec![container(104), Spec::first_docker()]).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &numbered(&[104, 1001]), "").expect("installed");
    // Where a file would be for a moment: what hosts and guests have in memory or beside their identities.
    // The machine's `/tmp` is the lab's too, and may be full of other things: only what is right in it.
    let passing = [("/run/pinion", 4), ("/run/pinion-channel", 4), ("/var/lib/pinion", 4), ("/tmp", 0)]
        .map(|(place, depth)| (lab.path(place), depth));
    // What is older is not read: the machine's own files would leave no time to look often.
    let began = SystemTime::now() - Duration::from_secs(2);
    let (ended, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut found = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut found = BTreeSet::new();
            while !ended.load(Ordering::Relaxed) {
                // Other labs may run, and other tests that have tokens; who ended too soon to tell may be of this one.
                in_processes(|pid| remains::is_of(lab.live(), pid) != Some(false), &mut found);
                if rounds.fetch_add(1, Ordering::Relaxed) % 8 == 0 {
                    passing.iter().for_each(|(place, depth)| in_files(place, *depth, true, began, &mut found));
                }
            }
            found
        });
        let enrolled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            installation.start(&lab).expect("started");
            wait_well(&lab, &installation, &[104, 1001]);
        }));
        ended.store(true, Ordering::Relaxed);
        let found = watching.join().expect("it watches");
        enrolled.expect("both enrol");
        found
    });
    let rounds = rounds.load(Ordering::Relaxed);
    println!("looked {rounds} times at every process while two guests enrolled");
    assert!(rounds > 20, "looked {rounds} times only");

    // Afterwards, everything that was written since the lab began: the host's changes and the guests'.
    in_files(lab.live(), 64, false, SystemTime::UNIX_EPOCH, &mut found);
    for (whose, log) in [
        ("Pinion's log", installation.logged()),
        ("the events", pinion(&lab, "events").expect("it runs").stdout),
        ("104's journal", lab.exec(104, &["journalctl", "--no-pager"]).expect("it runs").stdout),
        ("1001's journal", lab.exec(1001, &["journalctl", "--no-pager"]).expect("it runs").stdout),
    ] {
        assert!(log.lines().count() > 1, "{whose} is empty");
        if has_token(log.as_bytes()) {
            found.insert(whose.to_owned());
        }
    }
    assert!(found.is_empty(), "a token was seen in {found:?}");
}

#[test]
fn a_token_is_found_where_it_is() {
    let mut sleeping = std::process::Command::new("sleep")
        .args(["600"])
        .env("TOKEN", "pinion-join-1.eyJndWVzdCI6IjEwNCIsInNlY3JldCI6Il")
        .spawn()
        .expect("started");
    let mine = sleeping.id().to_string();
    // The kernel lets the caller go on a moment before it shows what the new program was given (execve(2)).
    let found = wait::until("the token to be found", Duration::from_secs(10), || {
        let mut found = BTreeSet::new();
        in_processes(|pid| pid == mine, &mut found);
        if found.is_empty() { Err("nothing was found") } else { Ok(found) }
    });
    sleeping.kill().and_then(|()| sleeping.wait()).expect("ended");
    let found: Vec<_> = found.expect("found").into_iter().collect();
    assert_eq!(found, ["environ of `sleep`"]);
    assert!(!has_token(b"pinion-join-1.\0and other words of a program that knows tokens"));
}
