//! `pct`, `qm` and `pvesh` in the lab: what they do, how they refuse, and how a test makes them fail.

use super::*;

pub(crate) fn containers_are_reached(lab: &Lab) {
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

pub(crate) fn machines_are_reached(lab: &Lab) {
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

pub(crate) fn wrong_words_are_refused(lab: &Lab) {
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

pub(crate) fn mischief_is_made(lab: &Lab) {
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
