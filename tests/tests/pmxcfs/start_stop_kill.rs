//! The server's coming and going, as `systemctl stop` and worse do it.

use std::{fs, os::unix::net::UnixDatagram, process::Stdio, thread, time::Duration};

use pinion_tests::{
    lab::pmxcfs::mounted::Mounted,
    process, program,
    wait::{self, PATIENCE},
};
use rustix::io::Errno;
use serde_json::Value;

fn started(mounted: &Mounted) -> u64 {
    let text = fs::read_to_string(mounted.path(".version")).expect("read");
    serde_json::from_str::<Value>(&text).expect("JSON")["starttime"].as_u64().expect("a number")
}

#[test]
fn stopped_it_is_unmounted_and_started_it_has_the_same_files() {
    let mut mounted = Mounted::begin().expect("mounted");
    fs::write(mounted.path("lxc/101.conf"), "hostname: gateway\n").expect("written");
    let before = started(&mounted);
    mounted.stop().expect("stopped in order");
    assert!(!mounted.is_mounted().expect("told"));
    assert_eq!(fs::read_dir(mounted.path("")).expect("the bare mount point").count(), 0);
    wait::until("another second", PATIENCE, || {
        mounted.start().map_err(|error| format!("{error:#}"))?;
        let now = started(&mounted);
        if now > before {
            Ok(())
        } else {
            mounted.stop().map_err(|error| format!("{error:#}")).and(Err(now.to_string()))
        }
    })
    .expect("its counters are of another start");
    assert_eq!(fs::read_to_string(mounted.path("lxc/101.conf")).expect("read"), "hostname: gateway\n");
}

#[test]
fn killed_it_leaves_a_dead_mount_which_the_next_start_takes_away() {
    let mut mounted = Mounted::begin().expect("mounted");
    fs::write(mounted.path("user.cfg"), "user\n").expect("written");
    mounted.kill().expect("killed");
    let dead = fs::read(mounted.path("user.cfg")).expect_err("nobody answers");
    assert_eq!(Errno::from_io_error(&dead), Some(Errno::NOTCONN));
    assert!(mounted.is_mounted().expect("told"));
    mounted.start().expect("started");
    assert_eq!(fs::read_to_string(mounted.path("user.cfg")).expect("read"), "user\n");
}

#[test]
fn nothing_is_lost_that_was_answered_before_a_kill() {
    let mut mounted = Mounted::begin().expect("mounted");
    for round in 0..5_u32 {
        let path = mounted.path("");
        let writer = thread::spawn(move || {
            let mut done = 0_u32;
            loop {
                let (fresh, place) = (path.join("count.tmp"), path.join("count"));
                let next = (done + 1).to_string();
                if fs::write(&fresh, &next).and_then(|()| fs::rename(&fresh, &place)).is_err() {
                    return done;
                }
                done += 1;
            }
        });
        let count = mounted.path("count");
        wait::until("some writes", PATIENCE, || match fs::read_to_string(&count) {
            Ok(text) if text.parse::<u32>().is_ok_and(|number| number > 20 + round) => Ok(()),
            found => Err(format!("{found:?}")),
        })
        .expect("it writes");
        mounted.kill().expect("killed");
        let answered = writer.join().expect("it ends by itself");
        mounted.start().expect("started");
        let kept: u32 = fs::read_to_string(&count).expect("read").parse().expect("a number");
        assert!(kept == answered || kept == answered + 1, "{kept} after {answered} were answered");
        fs::remove_file(&count).expect("removed");
    }
}

#[test]
fn it_does_not_mount_over_a_directory_that_is_not_empty() {
    let mut mounted = Mounted::begin().expect("mounted");
    mounted.stop().expect("stopped");
    fs::create_dir(mounted.path("local")).expect("made on the root file system");
    let error = format!("{:#}", mounted.start().expect_err("refused"));
    assert!(error.contains("mountpoint is not empty"), "{error}");
    assert!(!mounted.is_mounted().expect("told"));
    fs::remove_dir(mounted.path("local")).expect("removed by a person");
    mounted.start().expect("started");
}

#[test]
fn systemd_hears_that_it_is_mounted_and_a_second_server_waits_for_the_first() {
    let mut mounted = Mounted::begin().expect("mounted");
    mounted.stop().expect("stopped");
    let socket = mounted.data().join("notify");
    let heard = UnixDatagram::bind(&socket).expect("a socket");
    heard.set_read_timeout(Some(PATIENCE)).expect("set");
    let run = || {
        let mut command = mounted.command(program::own("pmxcfs").expect("built").to_str().expect("text"));
        command.arg("--data").arg(mounted.data()).arg("--mount").arg(mounted.place());
        command.args(["--node", "pve1", "--with-parent"]).env("NOTIFY_SOCKET", &socket);
        command
    };
    let mut first = run().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let mut buffer = [0; 64];
    let length = heard.recv(&mut buffer).expect("told");
    assert_eq!(&buffer[..length], b"READY=1\n");
    assert!(mounted.is_mounted().expect("told"), "before it says so");
    let second = process::run(&mut run(), b"", Duration::from_secs(60)).expect("it ends");
    assert!(second.code() == 255 && second.stderr.contains("unable to acquire pmxcfs lock"), "{second}");
    assert!(fs::read(mounted.path(".version")).is_ok(), "the first is not disturbed");
    first.kill().and_then(|()| first.wait()).expect("ended");
}
