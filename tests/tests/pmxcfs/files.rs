//! What a program can do with the files, and what refuses it.

use std::{
    fs::{self, File, FileTimes, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink},
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pinion_tests::{
    lab::pmxcfs::mounted::Mounted,
    wait::{self, PATIENCE},
};
use rustix::{
    fs::{FlockOperation, flock, statfs},
    io::Errno,
};
use serde_json::Value;

/// What the kernel said.
#[track_caller]
fn refused<T: std::fmt::Debug>(done: io::Result<T>) -> Errno {
    Errno::from_io_error(&done.expect_err("it is refused")).expect("by the kernel")
}

fn json(mounted: &Mounted, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(mounted.path(name)).expect("read")).expect("JSON")
}

#[test]
fn files_behave_as_on_proxmox() {
    let mounted = Mounted::begin().expect("mounted");
    let path = |name: &str| mounted.path(name);
    // FUSE_SUPER_MAGIC (statfs(2)).
    assert_eq!(statfs(path("")).expect("told").f_type, 0x6573_5546);

    fs::write(path("one"), "hello").expect("written");
    assert_eq!(fs::read_to_string(path("one")).expect("read"), "hello");
    let exclusive = || OpenOptions::new().write(true).create_new(true).open(path("one"));
    assert_eq!(refused(exclusive()), Errno::EXIST);
    let file = OpenOptions::new().read(true).write(true).open(path("one")).expect("opened");
    file.sync_all().expect("a file is synced");
    File::open(path("")).and_then(|directory| directory.sync_all()).expect("a directory, too");
    flock(&file, FlockOperation::NonBlockingLockExclusive).expect("locked");
    let other = File::open(path("one")).expect("opened");
    flock(&other, FlockOperation::NonBlockingLockExclusive).expect_err("it is locked");
    file.set_len(4).expect("cut");
    assert_eq!(fs::read(path("one")).expect("read"), b"hell");

    // Nothing but files and directories with the modes and the owner that their place gives them.
    assert_eq!(refused(symlink("one", path("two"))), Errno::NOSYS);
    assert_eq!(refused(fs::hard_link(path("one"), path("two"))), Errno::PERM);
    assert_eq!(refused(chown(path("one"), Some(1), None)), Errno::PERM);
    chown(path("one"), Some(0), Some(33)).expect("it has them already");
    assert_eq!(refused(fs::set_permissions(path("one"), Permissions::from_mode(0o600))), Errno::PERM);
    fs::set_permissions(path("one"), Permissions::from_mode(0o640)).expect("it has that already");
    fs::write(path("priv/secret"), "s").expect("written");
    for name in ["nodes/pve1/lxc/101.conf", "nodes/pve1/qemu-server/1001.conf", "nodes/pve1/priv/key"] {
        fs::write(path(name), "").expect("written");
    }
    for (name, mode) in [
        ("one", 0o640),
        ("nodes", 0o755),
        ("priv", 0o700),
        ("priv/secret", 0o600),
        ("nodes/pve1/priv/key", 0o600),
        // Containers are started by others than root.
        ("nodes/pve1/lxc/101.conf", 0o644),
        ("qemu-server/1001.conf", 0o640),
        (".version", 0o440),
    ] {
        let found = fs::metadata(path(name)).expect("there");
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (mode, 0, 33), "{name}");
    }

    let block = vec![7; 1024 * 1024];
    fs::write(path("big"), &block).expect("a mebibyte");
    let more = OpenOptions::new().append(true).open(path("big")).and_then(|mut file| file.write_all(b"x"));
    assert_eq!(refused(more), Errno::FBIG);
    assert_eq!(fs::read(path("big")).expect("read"), block);

    fs::rename(path("one"), path("big")).expect("in place of the other");
    assert_eq!(fs::read(path("big")).expect("read"), b"hell");
    fs::create_dir(path("new")).expect("made");
    assert_eq!(refused(fs::create_dir(path("new"))), Errno::EXIST);
    fs::write(path("new/file"), "").expect("written");
    assert_eq!(refused(fs::remove_dir(path("new"))), Errno::NOTEMPTY);
    assert_eq!(refused(fs::rename(path("new"), path("newer"))), Errno::NOTEMPTY);
    fs::remove_dir_all(path("new")).expect("removed");

    let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_700);
    let times = FileTimes::new().set_accessed(time).set_modified(time);
    File::open(path("big")).and_then(|file| file.set_times(times)).expect("touched");
    let found = fs::metadata(path("big")).expect("there");
    assert_eq!((found.mtime(), found.mtime_nsec()), (1_700_000_000, 0), "whole seconds");
}

#[test]
fn a_lock_is_asked_for_by_a_time_of_0_and_kept_by_a_new_one() {
    let mounted = Mounted::begin().expect("mounted");
    let lock = mounted.path("priv/lock/pinion");
    fs::create_dir(&lock).expect("locked");
    assert_eq!(refused(fs::create_dir(&lock)), Errno::EXIST);
    let touch = |time: SystemTime| {
        let times = FileTimes::new().set_accessed(time).set_modified(time);
        File::open(&lock).and_then(|directory| directory.set_times(times))
    };
    // Its holder has 120 s, which the tests of the files without a mount let pass.
    assert_eq!(refused(touch(UNIX_EPOCH)), Errno::ACCESS);
    touch(SystemTime::now() + Duration::from_secs(1)).expect("held still");
    assert_eq!(refused(touch(SystemTime::now() - Duration::from_secs(60))), Errno::ACCESS);
    assert_eq!(refused(fs::rename(&lock, mounted.path("priv/lock/other"))), Errno::ACCESS);
    fs::remove_dir(&lock).expect("given back");
    fs::create_dir(&lock).expect("locked again");
}

#[test]
fn what_is_open_is_read_to_its_end_when_it_is_replaced() {
    let mounted = Mounted::begin().expect("mounted");
    fs::write(mounted.path("one"), "old").expect("written");
    let mut open = File::open(mounted.path("one")).expect("opened");
    fs::write(mounted.path("two"), "new").expect("written");
    fs::rename(mounted.path("two"), mounted.path("one")).expect("replaced");
    let mut text = String::new();
    open.read_to_string(&mut text).expect("read");
    assert_eq!((text.as_str(), fs::read_to_string(mounted.path("one")).expect("read").as_str()), ("old", "new"));
}

#[test]
fn links_and_made_files_are_there_and_nobody_changes_them() {
    let mounted = Mounted::begin().expect("mounted");
    let path = |name: &str| mounted.path(name);
    for (name, target) in
        [("local", "nodes/pve1"), ("lxc", "nodes/pve1/lxc"), ("qemu-server", "nodes/pve1/qemu-server")]
    {
        assert_eq!(fs::read_link(path(name)).expect("a link").to_str(), Some(target));
        assert_eq!(refused(fs::remove_file(path(name))), Errno::ACCESS);
    }
    assert_eq!(refused(fs::write(path(".vmlist"), "{}")), Errno::IO);
    assert_eq!(refused(fs::rename(path(".vmlist"), path("x"))), Errno::ACCESS);
    let listed: Vec<_> = fs::read_dir(path("")).expect("listed").map(|entry| entry.expect("an entry")).collect();
    let names: Vec<_> = listed.iter().map(|entry| entry.file_name().into_string().expect("text")).collect();
    for name in [".version", ".vmlist", ".members", "local", "nodes", "priv"] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    assert!(listed.iter().all(|entry| !entry.file_type().expect("a kind").is_socket()));
    assert_eq!(json(&mounted, ".members")["nodelist"]["pve2"]["ip"], "10.0.0.14");
}

#[test]
fn versions_grow_and_each_list_is_up_to_a_second_old_by_itself() {
    let mounted = Mounted::begin().expect("mounted");
    assert_eq!(json(&mounted, ".vmlist")["ids"], Value::Null, "without guests there is no list");
    let before = json(&mounted, ".version")["vmlist"].as_u64().expect("a number");
    // Whoever has read it makes the kernel ask again, and with it pmxcfs make it anew; a look at its attributes does not.
    let begin = SystemTime::now();
    fs::metadata(mounted.path(".vmlist")).expect("there");
    fs::write(mounted.path("lxc/101.conf"), "hostname: gateway\n").expect("written");
    let stale = json(&mounted, ".vmlist")["ids"].is_null();
    // On a machine that stood still for a second it need not be.
    assert!(stale || begin.elapsed().is_ok_and(|passed| passed >= Duration::from_secs(1)), "it is as old as it may be");
    wait::until("the list", PATIENCE, || match &json(&mounted, ".vmlist")["ids"]["101"]["node"] {
        Value::String(node) if node == "pve1" => Ok(()),
        other => Err(other.to_string()),
    })
    .expect("it comes");
    wait::until("the version", PATIENCE, || match json(&mounted, ".version")["vmlist"].as_u64() {
        Some(now) if now > before => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("it comes");
}

#[test]
fn others_than_root_read_what_is_not_private_and_write_nothing() {
    let mounted = Mounted::begin().expect("mounted");
    fs::write(mounted.path("lxc/101.conf"), "hostname: gateway\n").expect("written");
    fs::write(mounted.path("user.cfg"), "").expect("written");
    let try_as = |groups: &[&str], words: &[&str]| {
        let mut command = mounted.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534"]).args(groups).arg("--").args(words);
        let status = command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.expect("it runs").success()
    };
    let place = |name: &str| format!("{}/{name}", mounted.place().display());
    // The way there is the test's own directory.
    let parent = mounted.place().parent().expect("a directory").to_owned();
    fs::set_permissions(parent, Permissions::from_mode(0o755)).expect("opened for all");
    let (alone, with_group) = (["--clear-groups"], ["--groups=33"]);
    assert!(try_as(&alone, &["cat", &place("lxc/101.conf")]));
    assert!(!try_as(&alone, &["cat", &place("user.cfg")]));
    assert!(try_as(&with_group, &["cat", &place("user.cfg")]));
    for groups in [&alone, &with_group] {
        assert!(!try_as(groups, &["ls", &place("priv")]));
        assert!(!try_as(groups, &["touch", &place("new")]));
        assert!(!try_as(groups, &["touch", &place("lxc/101.conf")]));
    }
}
