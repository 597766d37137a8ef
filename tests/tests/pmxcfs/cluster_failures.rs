//! A cluster that is not well: changes hang, fail once, and are refused; reading goes on.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use pinion_tests::{
    lab::pmxcfs::mounted::Mounted,
    wait::{self, PATIENCE},
};
use rustix::{io::Errno, thread::gettid};

fn said(done: io::Result<()>) -> Option<Errno> {
    done.err().and_then(|error| Errno::from_io_error(&error))
}

/// A name that no other call has used: what the kernel knows of one is a second old.
fn write(mounted: &Mounted, name: &str) -> Option<Errno> {
    said(fs::write(mounted.path(name), "x"))
}

#[test]
fn a_node_that_is_cut_off_hangs_fails_once_and_refuses_until_it_is_healed() {
    let mounted = Mounted::begin().expect("mounted");
    let hang = Duration::from_secs(3);
    assert_eq!(write(&mounted, "before"), None);
    assert_eq!(write(&mounted, "nodes/pve2/lxc/old"), None);
    // The hang is counted from the cut.
    let began = Instant::now();
    mounted.switch().cut(hang).expect("cut");
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| said(fs::create_dir(mounted.path("nodes/pve2/first"))));
        let second = scope.spawn(|| said(fs::remove_file(mounted.path("nodes/pve2/lxc/old"))));
        // Not in their directories, which the kernel itself holds while they are changed.
        fs::read(mounted.path(".version")).expect("read");
        fs::read_dir(mounted.path("priv")).expect("listed");
        assert!(began.elapsed() < hang, "reading does not wait");
        (first.join().expect("it ends"), second.join().expect("it ends"))
    });
    assert!(began.elapsed() >= hang);
    assert_eq!((first, second), (Some(Errno::PERM), Some(Errno::PERM)));
    assert_eq!(write(&mounted, "after"), Some(Errno::ACCESS));
    assert_eq!(said(fs::rename(mounted.path("before"), mounted.path("behind"))), Some(Errno::ACCESS));
    assert_eq!(fs::read_to_string(mounted.path("before")).expect("read"), "x");
    wait::until("the modes to show it", PATIENCE, || {
        let mode = |name: &str| fs::metadata(mounted.path(name)).map_or(0, |found| found.mode() & 0o777);
        let now = (mode("nodes"), mode("priv"), mode("before"));
        if now == (0o555, 0o500, 0o440) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .expect("within a second");
    let members = fs::read_to_string(mounted.path(".members")).expect("read");
    assert!(members.contains("\"quorate\": 0"), "{members}");
    mounted.switch().heal(Duration::from_millis(100)).expect("healed");
    wait::until("the files to be written again", PATIENCE, || match write(&mounted, "healed") {
        None => Ok(()),
        Some(error) => Err(error.to_string()),
    })
    .expect("written");
}

#[test]
fn when_another_node_dies_changes_hang_and_are_made() {
    let mut mounted = Mounted::begin().expect("mounted");
    let hang = Duration::from_secs(1);
    let began = Instant::now();
    mounted.switch().stall(hang).expect("stalled");
    assert_eq!(write(&mounted, "one"), None);
    assert!(began.elapsed() >= hang);
    let began = Instant::now();
    assert_eq!(write(&mounted, "two"), None);
    assert!(began.elapsed() < hang);
    mounted.switch().cut(Duration::ZERO).expect("cut");
    mounted.stop().expect("stopped");
    mounted.start().expect("it starts without quorum, too");
    assert_eq!(write(&mounted, "three"), Some(Errno::ACCESS), "and has none still");
    assert_eq!(fs::read_to_string(mounted.path("two")).expect("read"), "x");
}

#[test]
fn a_hanging_change_does_not_keep_the_server_from_stopping() {
    let mut mounted = Mounted::begin().expect("mounted");
    mounted.switch().cut(Duration::from_secs(600)).expect("cut");
    let place = mounted.path("one");
    let (tell, told) = mpsc::channel();
    let hanging = thread::spawn(move || {
        tell.send(gettid().as_raw_nonzero()).ok();
        said(fs::write(place, "x"))
    });
    let log = mounted.data().join("operations.jsonl");
    let before = fs::read(&log).expect("read");
    let thread = told.recv().expect("it runs");
    wait::until("the change to hang", PATIENCE, || {
        let asleep = fs::read_to_string(format!("/proc/self/task/{thread}/wchan")).unwrap_or_default();
        if asleep.contains("request_wait_answer") || asleep.contains("fuse") { Ok(()) } else { Err(asleep) }
    })
    .expect("it hangs");
    mounted.stop().expect("stopped in order");
    assert!(hanging.join().expect("it ends").is_some(), "with an error");
    mounted.switch().heal(Duration::ZERO).expect("healed");
    assert_eq!(fs::read(&log).expect("read"), before, "and was never made");
}
