//! The lab is what it says: real guests with real services, tools that behave as Proxmox's, and nothing left.
//!
//! One test and one lab after the other, all in one place, so that what is left there is theirs.
#![allow(clippy::print_stdout, reason = "how long the lab took is something to know")]

mod tools;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use pinion_proto::lock::lock;
use pinion_tests::{
    lab::{
        GATEWAY_NAME, Lab, Role, Spec, network, place, remains,
        tools::{Mischief, task::INDEX},
    },
    process::{self, Finished},
    program,
    wait::{self, PATIENCE},
};
use serde_json::Value;
use tools::{containers_are_reached, machines_are_reached, mischief_is_made, wrong_words_are_refused};

/// All are in the place that is a person's, where nobody else's lab comes when one has ended: tests take turns.
fn my_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    lock(&TURN)
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
    network::unplug(lab, 101).expect("unplugged");
    reached(lab, "10.0.0.101").expect_err("nobody there");
    network::plug(lab, 101).expect("plugged");
    wait::until("the gateway", PATIENCE, || reached(lab, "10.0.0.101")).expect("there again");
    network::cut(lab, "vmbr0").expect("cut");
    reached(lab, "10.0.0.101").expect_err("nobody there");
    network::heal(lab, "vmbr0").expect("healed");
    wait::until("the gateway", PATIENCE, || reached(lab, "10.0.0.101")).expect("there again");
    network::drop_by_default(lab, 101).expect("dropping");
    reached(lab, "10.0.0.101").expect_err("not let in");
    network::accept_by_default(lab, 101).expect("accepting");
    reached(lab, "10.0.0.101").expect("let in");
    network::change_address(lab, 101, "10.0.0.150/24").expect("changed");
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
