//! The lab is what it says: real guests with real services, tools that behave as Proxmox's, and nothing left.
//!
//! One test and one lab after the other, all in one place, so that what is left there is theirs.
#![allow(clippy::print_stdout, reason = "how long the lab took is something to know")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pinion_tests::{
    lab::{
        GATEWAY_NAME, Lab, Role, Spec, place, remains,
        tools::{Mischief, task::INDEX},
    },
    process::{self, Finished},
    program,
    wait::{self, PATIENCE},
};
use serde_json::Value;

/// All are in the place that is a person's, where nobody else's lab comes when one has ended: tests take turns.
fn my_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a command line of words on the lab's host.
fn on(lab: &Lab, line: &str) -> Finished {
    let words: Vec<&str> = line.split_whitespace().collect();
    lab.run(&words).expect("it runs")
}

/// What it prints, when it succeeds.
fn said(lab: &Lab, line: &str) -> String {
    on(lab, line).succeeded().expect("it succeeds").stdout
}

/// The refusal of a command line: exit code 255, and its words.
fn refusal(lab: &Lab, line: &str) -> String {
    let finished = on(lab, line);
    assert_eq!(finished.code(), 255, "{finished}");
    assert_eq!(finished.stdout, "", "{finished}");
    finished.stderr
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The exit code and the output of a command that the guest agent ran.
fn executed(lab: &Lab, line: &str) -> Value {
    json(&said(lab, line))
}

#[test]
fn the_lab_is_a_proxmox_host_with_its_guests() {
    let _mine = my_turn();
    let began = Instant::now();
    let mut lab = Lab::kept(Spec::all()).expect("the lab comes up");
    println!(
        "up from cache after {:.1} s ({:.1} s with trees)",
        lab.took().as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    assert!(lab.took() < Duration::from_secs(60), "it took {:?}", lab.took());
    for vmid in [101, 103, 1001, 1002] {
        let state = lab.exec(vmid, &["systemctl", "is-system-running"]).expect("it runs").stdout;
        let failed = lab.exec(vmid, &["systemctl", "--failed", "--no-legend"]).expect("it runs").stdout;
        assert_eq!(state.trim(), "running", "guest {vmid}: {failed}");
    }
    services_answer(&lab);
    containers_are_reached(&lab);
    machines_are_reached(&lab);
    wrong_words_are_refused(&lab);
    mischief_is_made(&lab);
    states_are_told(&mut lab);
    networks_change(&mut lab);
    machines_get_a_new_generation(&lab);
    drop(lab);
    nothing_is_left();
}

fn services_answer(lab: &Lab) {
    let gateway = |port: u16| {
        let address = format!("10.0.0.101:{port}");
        let mut command = lab.command("openssl");
        command.args(["s_client", "-connect", &address, "-servername", GATEWAY_NAME, "-brief"]);
        process::run(&mut command, b"", PATIENCE).and_then(Finished::succeeded).expect("nginx answers").stderr
    };
    for port in [443, 8443] {
        assert!(gateway(port).contains("Protocol version: TLSv1.3"), "{}", gateway(port));
    }
    // The path's owner as nginx sees it: the guest's root, and its own group.
    let key = format!("/etc/nginx/ssl/{GATEWAY_NAME}.key");
    let seen = lab.exec(101, &["stat", "-c", "%U:%G %a", &key]).expect("it runs").stdout;
    assert_eq!(seen.trim(), "root:www-data 640");

    for vmid in [1001, 1002] {
        let told = lab.exec(vmid, &["docker", "-H", "unix:///run/docker.sock", "info"]).expect("it runs");
        assert!(told.succeeded().expect("dockerd answers").stdout.contains("Live Restore Enabled: true"));
    }
    let root = lab.authority_root().expect("a root").fingerprint().to_string();
    let fetched = said(lab, &format!("{} ca root --ca-url https://10.0.0.103:9000 --fingerprint {root}", step()));
    assert!(fetched.contains("BEGIN CERTIFICATE"), "{fetched}");
    let file = lab.path("/etc/lab-root.pem");
    fs::write(file, fetched).expect("written");
    let health = said(lab, &format!("{} ca health --ca-url https://10.0.0.103:9000 --root /etc/lab-root.pem", step()));
    assert_eq!(health.trim(), "ok");
    // Outside the lab its network does not exist.
    assert!(!Path::new("/sys/class/net/vmbr0").exists());
}

fn step() -> String {
    program::found("step").expect("step is built").display().to_string()
}

fn containers_are_reached(lab: &Lab) {
    assert_eq!(said(lab, "pct status 101"), "status: running\n");
    let finished = on(lab, "pct exec 101 -- ls /nowhere");
    assert_eq!(finished.code(), 2, "the command's own code: {finished}");
    let mut command = lab.command("pct");
    let echoed = process::run(command.args(["exec", "101", "--", "cat"]), b"by stdin", PATIENCE).expect("it runs");
    assert_eq!(echoed.succeeded().expect("cat").stdout, "by stdin");
    assert_eq!(said(lab, "pct exec 101 -- id -u").trim(), "0");
    let map = said(lab, "pct exec 101 -- cat /proc/self/uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);

    fs::write(lab.path("/run/payload"), "pushed\n").expect("written");
    let push = "pct push 101 /run/payload /etc/pushed --user 0 --group www-data --perms 0640";
    let finished = on(lab, push).succeeded().expect("pushed");
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("", ""));
    assert_eq!(said(lab, "pct exec 101 -- stat -c %U:%G_%a /etc/pushed"), "root:www-data_640\n");
    assert_eq!(lab.read(101, "/etc/pushed").expect("read"), "pushed\n");
    // Its failures are told, and the code is 0 all the same.
    for (line, words) in [
        ("pct push 101 /run/payload /etc/other --user root", "failed to get uid for: root\n"),
        ("pct push 101 /run/nothing /etc/other", "failed to open /run/nothing for reading\n"),
        ("pct push 101 /run/payload /no/such/directory", "failed to create file: /no/such/directory"),
    ] {
        let finished = on(lab, line);
        assert_eq!(finished.code(), 0, "{finished}");
        assert!(finished.stderr.contains(words), "{finished}");
    }
    // Each is a task in the operator's list.
    let tasks = fs::read_to_string(lab.path(INDEX)).expect("read");
    assert_eq!(tasks.lines().filter(|line| line.starts_with("UPID:pve1:")).count(), 4, "{tasks}");
    assert!(tasks.lines().any(|line| line.ends_with(" failed to get uid for: root")), "{tasks}");
    let listed = said(lab, "pct list");
    assert!(listed.starts_with("VMID       Status     Lock         Name"), "{listed}");
    assert!(listed.contains("101        running                 gateway"), "{listed}");
    assert!(said(lab, "pct config 101").contains("\nunprivileged: 1\n"));
}

fn machines_are_reached(lab: &Lab) {
    assert_eq!(said(lab, "qm status 1001"), "status: running\n");
    assert_eq!(said(lab, "qm guest cmd 1001 ping"), "");
    assert_eq!(said(lab, "qm agent 1001 ping"), "");
    let raw = said(lab, "qm guest exec 1001 -- hostname");
    assert_eq!(
        raw,
        "{\n   \"exitcode\" : 0,\n   \"exited\" : 1,\n   \"out-data\" : \"docker\\n\",\n   \"out-truncated\" : 0\n}\n"
    );
    let failed = executed(lab, "qm guest exec 1001 -- ls /nowhere");
    assert_eq!(failed["exitcode"], 2, "{failed}");
    assert!(failed["err-data"].as_str().is_some_and(|text| text.contains("/nowhere")), "{failed}");
    let mut command = lab.command("qm");
    let words = ["guest", "exec", "1001", "--pass-stdin", "1", "--timeout", "20", "--", "sha256sum"];
    let megabyte = vec![b'x'; 1024 * 1024];
    let finished = process::run(command.args(words), &megabyte, PATIENCE).and_then(Finished::succeeded);
    let out = json(&finished.expect("a MiB goes in").stdout)["out-data"].clone();
    let same = process::run(&mut Command::new("sha256sum"), &megabyte, PATIENCE).expect("it runs").stdout;
    assert_eq!(out, same, "and is the same inside");
    let mut command = lab.command("qm");
    let finished = process::run(command.args(words), &vec![b'x'; 1024 * 1024 + 1], PATIENCE).expect("it runs");
    assert_eq!(finished.code(), 255, "{finished}");
    assert_eq!(finished.stderr, "'input-data' (STDIN) is limited to 1 MiB, aborting\n");

    // Past its time it prints a pid, succeeds, and the command runs on.
    let finished = on(lab, "qm guest exec 1001 --timeout 1 -- sleep 4711").succeeded().expect("code 0");
    assert_eq!(finished.stderr, "timeout reached, returning pid\n");
    let told = json(&finished.stdout);
    let pid = told["pid"].as_u64().expect("a pid");
    assert!(told.get("exited").is_none(), "{told}");
    lab.exec(1001, &["kill", &pid.to_string()]).and_then(Finished::succeeded).expect("it runs on, so it can be ended");
    let status = wait::until("its end", PATIENCE, || {
        let status = executed(lab, &format!("qm guest exec-status 1001 {pid}"));
        if status["exited"] == 1 { Ok(status) } else { Err(status) }
    });
    assert_eq!(status.expect("it ends")["signal"], 15);

    // Without its agent a VM has no way in.
    lab.exec(1002, &["systemctl", "stop", "qemu-guest-agent"]).and_then(Finished::succeeded).expect("stopped");
    assert_eq!(refusal(lab, "qm guest exec 1002 -- true"), "QEMU guest agent is not running\n");
    assert_eq!(refusal(lab, "qm guest cmd 1002 ping"), "QEMU guest agent is not running\n");
    lab.exec(1002, &["systemctl", "start", "qemu-guest-agent"]).and_then(Finished::succeeded).expect("started");
    wait::until("the agent", PATIENCE, || on(lab, "qm guest cmd 1002 ping").succeeded().map(drop)).expect("it answers");
    lab.configure(1002, "agent", None).expect("configured");
    assert_eq!(refusal(lab, "qm guest exec 1002 -- true"), "No QEMU guest agent configured\n");
    lab.configure(1002, "agent", Some("1")).expect("configured");
    assert!(said(lab, "qm list").contains("docker-worker"));
}

fn wrong_words_are_refused(lab: &Lab) {
    for (line, words) in [
        (
            "pct exec 101 ls -l",
            "Unknown option: l\n400 unable to parse option\npct exec <vmid> [<extra-args>] [OPTIONS]",
        ),
        ("pct status 101 102", "400 too many arguments\npct status <vmid> [OPTIONS]\n"),
        (
            "pct status gateway",
            "400 Parameter verification failed.\nvmid: type check ('integer') failed - got 'gateway'\n",
        ),
        ("pct frobnicate 101", "ERROR: unknown command 'pct frobnicate'\nUSAGE: pct <COMMAND> [ARGS] [OPTIONS]\n"),
        ("qm guest exec 1001 --timeout=soon -- true", "timeout: type check ('integer') failed - got 'soon'\n"),
        ("qm guest cmd 1001 destroy", "command: value 'destroy' does not have a value in the enumeration"),
        ("qm guest exec 1001", "command or input-data (or both) required\n"),
    ] {
        let text = refusal(lab, line);
        assert!(text.contains(words), "{line}: {text}");
    }
    // Nobody but root.
    let mut command = lab.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "pct", "status", "101"]);
    let finished = process::run(&mut command, b"", PATIENCE).expect("it runs");
    assert_eq!((finished.code(), finished.stderr.as_str()), (255, "please run as root\n"));
    // A guest of the other kind, and one that is nowhere.
    for (line, file) in [("pct status 1001", "lxc/1001.conf"), ("qm status 4711", "qemu-server/4711.conf")] {
        let finished = on(lab, line);
        assert_eq!(finished.stderr, format!("Configuration file 'nodes/pve1/{file}' does not exist\n"));
        assert_ne!(finished.code(), 0);
    }
}

fn mischief_is_made(lab: &Lab) {
    lab.make_mischief("qm.1001", &Mischief::Say(0, "{\"pid\":1}\n".into())).expect("made");
    assert_eq!(said(lab, "qm guest exec 1001 -- true"), "{\"pid\":1}\n");
    assert_eq!(said(lab, "qm status 1002"), "status: running\n", "the others are left alone");
    lab.end_mischief("qm.1001").expect("ended");
    lab.make_mischief("pct", &Mischief::Hang).expect("made");
    let mut command = lab.command("pct");
    let mut hung = command.args(["status", "101"]).stdout(Stdio::null()).spawn().expect("started");
    let asleep = wait::until("it to sleep", PATIENCE, || {
        let stack = fs::read_to_string(format!("/proc/{}/wchan", hung.id())).unwrap_or_default();
        if stack.contains("nanosleep") { Ok(()) } else { Err(stack) }
    });
    hung.kill().and_then(|()| hung.wait()).expect("the process itself is killed, not one before it");
    asleep.expect("it hangs");
    lab.end_mischief("pct").expect("ended");
}

fn states_are_told(lab: &mut Lab) {
    let resources = |lab: &Lab| json(&said(lab, "pvesh get /cluster/resources --type vm --output-format json"));
    let entry = |lab: &Lab, vmid: u64| {
        let all = resources(lab);
        let found = all.as_array().expect("a list").iter().find(|entry| entry["vmid"] == vmid).cloned();
        found.unwrap_or(Value::Null)
    };
    assert_eq!(resources(lab).as_array().map(Vec::len), Some(4));
    assert_eq!(
        (entry(lab, 101)["status"].as_str(), entry(lab, 1001)["type"].as_str()),
        (Some("running"), Some("qemu"))
    );

    lab.stop(103).expect("stopped");
    assert_eq!(said(lab, "pct status 103"), "status: stopped\n");
    // pvestatd looks every 10 s; pvesh takes a second to tell what it has seen.
    let began = Instant::now();
    wait::until("pvesh to hear of it", PATIENCE, || match entry(lab, 103)["status"].as_str() {
        Some("stopped") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("it does");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(refusal(lab, "pct exec 103 -- true"), "container '103' not running!\n");
    fs::write(lab.path("/run/payload"), "pushed\n").expect("written");
    assert_eq!(refusal(lab, "pct push 103 /run/payload /x"), "can only push files to a running CT\n");
    lab.start(103).expect("started");

    // A backup's lock is no obstacle to these tools; it is only told.
    lab.lock(101, Some("backup")).expect("locked");
    assert_eq!(entry(lab, 101)["lock"], "backup");
    assert_eq!(said(lab, "pct exec 101 -- echo in"), "in\n");
    lab.lock(101, None).expect("unlocked");

    let version =
        |lab: &Lab| json(&fs::read_to_string(lab.path("/etc/pve/.version")).expect("read"))["vmlist"].as_u64();
    let before = version(lab);
    lab.migrate_away(103).expect("away");
    wait::until("the new version and list, each up to a second late", PATIENCE, || {
        let list = json(&fs::read_to_string(lab.path("/etc/pve/.vmlist")).expect("read"));
        if version(lab) > before && list["ids"]["103"]["node"] == "pve2" { Ok(()) } else { Err(list.to_string()) }
    })
    .expect("they come");
    assert_eq!(on(lab, "pct exec 103 -- true").stderr, "Configuration file 'nodes/pve1/lxc/103.conf' does not exist\n");
    assert_eq!((entry(lab, 103)["node"].as_str(), entry(lab, 103)["status"].as_str()), (Some("pve2"), Some("running")));
    lab.migrate_back(103).expect("back");
    assert_eq!(said(lab, "pct status 103"), "status: running\n");

    lab.freeze(103).expect("frozen");
    assert_eq!(said(lab, "pct status 103"), "status: running\n");
    assert_eq!(on(lab, "timeout 2 pct exec 103 -- true").code(), 124, "nothing in it answers");
    lab.thaw(103).expect("thawed");
    assert_eq!(said(lab, "pct exec 103 -- echo awake"), "awake\n");

    lab.set_quorate(false).expect("no quorum");
    assert_ne!(on(lab, "touch /etc/pve/priv/new").code(), 0);
    assert_eq!(on(lab, "cat /etc/pve/.vmlist").code(), 0);
    lab.set_quorate(true).expect("quorum");
    assert_eq!(on(lab, "touch /etc/pve/priv/new").code(), 0);

    // Its words are a shell's so that the test need not build a program.
    let script = lab.path("/var/lib/vz/snippets/tell");
    fs::create_dir_all(script.parent().expect("a directory")).expect("made");
    fs::write(&script, "#!/bin/sh\necho \"$@\" >>/run/told\n").expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    lab.configure(103, "hookscript", Some("local:snippets/tell")).expect("configured");
    lab.reboot(103).expect("rebooted");
    let told = fs::read_to_string(lab.path("/run/told")).expect("called");
    assert_eq!(told, "103 pre-stop\n103 post-stop\n103 pre-start\n103 post-start\n");

    // Nobody but root and the web server's group reads Proxmox's files, those of containers aside.
    for (conf, mode) in [("lxc/101.conf", 0o644), ("qemu-server/1001.conf", 0o640)] {
        let found = fs::metadata(lab.path("/etc/pve").join(conf)).expect("there, by its link too");
        assert_eq!((found.mode() & 0o777, found.gid()), (mode, 33), "{conf}");
    }
    // The directory is for root alone where Proxmox's is.
    assert_eq!(fs::metadata(lab.path("/etc/pve/priv")).expect("there").mode() & 0o777, 0o700);
}

fn networks_change(lab: &mut Lab) {
    let reached = |lab: &Lab, address: &str| {
        on(lab, &format!("timeout 2 openssl s_client -connect {address}:443 -brief")).succeeded().map(drop)
    };
    reached(lab, "10.0.0.101").expect("nginx answers");
    lab.unplug(101).expect("unplugged");
    reached(lab, "10.0.0.101").expect_err("nobody there");
    lab.plug(101).expect("plugged");
    wait::until("the gateway", PATIENCE, || reached(lab, "10.0.0.101")).expect("there again");
    lab.cut("vmbr0").expect("cut");
    reached(lab, "10.0.0.101").expect_err("nobody there");
    lab.heal("vmbr0").expect("healed");
    wait::until("the gateway", PATIENCE, || reached(lab, "10.0.0.101")).expect("there again");
    lab.drop_by_default(101).expect("dropping");
    reached(lab, "10.0.0.101").expect_err("not let in");
    lab.accept_by_default(101).expect("accepting");
    reached(lab, "10.0.0.101").expect("let in");
    lab.change_address(101, "10.0.0.150/24").expect("changed");
    wait::until("the gateway", PATIENCE, || reached(lab, "10.0.0.150")).expect("at its new address");
    reached(lab, "10.0.0.101").expect_err("not at its old one");
    lab.reboot(101).expect("rebooted");
    wait::until("the gateway", PATIENCE, || reached(lab, "10.0.0.150")).expect("after a reboot too");
}

fn machines_get_a_new_generation(lab: &Lab) {
    let generation = |lab: &Lab| lab.conf(1002).expect("read").current.get("vmgenid").map(str::to_owned);
    let before = generation(lab);
    lab.snapshot(1002, "before").expect("a snapshot");
    assert_eq!(generation(lab), before);
    lab.rollback(1002, "before").expect("rolled back");
    assert_ne!(generation(lab), before);
    assert_eq!(said(lab, "qm status 1002"), "status: stopped\n");
    assert_eq!(refusal(lab, "qm guest exec 1002 -- true"), "VM 1002 is not running\n");
}

#[test]
fn guests_are_saved_taken_back_copied_and_destroyed() {
    let _mine = my_turn();
    let mut lab = Lab::kept(vec![Spec::container(201, "web", Role::Empty)]).expect("the lab comes up");
    lab.write(201, "/root/age", 0o600, b"old").expect("written");
    lab.snapshot(201, "before").expect("a snapshot");
    lab.write(201, "/root/age", 0o600, b"new").expect("written");
    lab.exec(201, &["rm", "/etc/issue"]).and_then(Finished::succeeded).expect("removed");
    lab.clone_guest(201, 202, "copy", "10.0.0.202/24").expect("a clone");
    lab.rollback(201, "before").expect("rolled back");
    assert_eq!(lab.conf(201).expect("read").current.get("parent"), Some("before"));
    lab.start(201).expect("started");
    lab.start(202).expect("started");
    assert_eq!(said(&lab, "pct exec 201 -- cat /root/age"), "old");
    assert_eq!(said(&lab, "pct exec 202 -- cat /root/age"), "new");
    // What the original had removed is not there in the copy, and is there again in the original.
    assert_eq!(on(&lab, "pct exec 202 -- cat /etc/issue").code(), 1);
    assert_eq!(on(&lab, "pct exec 201 -- cat /etc/issue").code(), 0);

    let told = |vmid: u32| {
        let net = lab.conf(vmid).expect("read").current.get("net0").expect("a network").to_owned();
        let hwaddr = net.split("hwaddr=").nth(1).expect("an address").split(',').next().expect("it").to_lowercase();
        let seen = said(&lab, &format!("pct exec {vmid} -- cat /sys/class/net/eth0/address"));
        assert_eq!(seen.trim(), hwaddr, "the guest has what Proxmox says");
        hwaddr
    };
    assert_ne!(told(201), told(202));
    let id = |vmid: u32| said(&lab, &format!("pct exec {vmid} -- cat /etc/machine-id"));
    assert_eq!(id(201), id(202), "a clone takes everything along");

    lab.destroy(201).expect("destroyed");
    assert_eq!(on(&lab, "pct status 201").stderr, "Configuration file 'nodes/pve1/lxc/201.conf' does not exist\n");
    wait::until("the list without it, up to a second late", PATIENCE, || {
        let list = json(&fs::read_to_string(lab.path("/etc/pve/.vmlist")).expect("read"));
        if list["ids"].as_object().map(serde_json::Map::len) == Some(1) { Ok(()) } else { Err(list.to_string()) }
    })
    .expect("it comes");
    lab.create(Spec::container(201, "web", Role::Empty)).expect("made anew");
    lab.start(201).expect("started");
    assert_ne!(on(&lab, "pct exec 201 -- test -e /root/age").code(), 0, "nothing of the old one is in it");
    lab.freeze(202).expect("frozen");
    drop(lab);
    nothing_is_left();
}

#[test]
fn a_lab_whose_owner_was_killed_is_cleared_up() {
    let _mine = my_turn();
    let mut owner = owner();
    owner.kill().and_then(|()| owner.wait()).expect("killed");
    wait::until("the guard to clear up", Duration::from_secs(60), || {
        if place::kept().exists() { Err("the lab's directory is still there") } else { Ok(()) }
    })
    .expect("cleared up");
    nothing_is_left();
}

#[test]
fn a_lab_whose_guard_was_killed_too_is_cleared_up_by_the_next() {
    let _mine = my_turn();
    let mut owner = owner();
    let guard = children(owner.id()).into_iter().find(|(_, words)| words.contains("guard")).expect("a guard").0;
    process::run(Command::new("kill").args(["-9", &guard]), b"", PATIENCE)
        .and_then(Finished::succeeded)
        .expect("killed");
    owner.kill().and_then(|()| owner.wait()).expect("killed");
    assert_ne!(remains::processes(&place::kept()), [], "nobody cleared up");
    let lab = Lab::kept(vec![Spec::container(201, "web", Role::Empty)]).expect("the next one comes up all the same");
    assert_eq!(said(&lab, "pct list").lines().count(), 2, "and has nothing of the other");
    drop(lab);
    nothing_is_left();
}

/// A program that has a lab, with its guests running.
fn owner() -> std::process::Child {
    let program = program::own("lab").expect("it is built");
    let mut owner = Command::new(program).arg("run").stdout(Stdio::piped()).spawn().expect("started");
    let lines = BufReader::new(owner.stdout.take().expect("a pipe")).lines();
    let up = lines.map_while(Result::ok).any(|line| line.starts_with("lab: up after"));
    assert!(up, "it ended before it was up");
    owner
}

/// The children of a process, with their command lines.
fn children(of: u32) -> Vec<(String, String)> {
    let told = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).expect("read");
    let words = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    told.split_whitespace().map(|pid| (pid.to_owned(), words(pid))).collect()
}

/// No processes, control groups, mounts, interfaces or files.
fn nothing_is_left() {
    let live = place::kept();
    assert_eq!(remains::processes(&live), []);
    assert_eq!(remains::cgroups(&live), Vec::<std::path::PathBuf>::new());
    assert!(!live.exists(), "{}", live.display());
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read");
    assert!(!mounts.contains(&*live.to_string_lossy()), "{mounts}");
    for interface in ["vmbr0", "veth101i0", "tap1001i0"] {
        assert!(!Path::new("/sys/class/net").join(interface).exists(), "{interface}");
    }
}
