//! The controller has no privileges: what needs root goes through the root process's verbs, or not at all.

use std::fs;

use pinion_tests::{
    lab::{Lab, installation::Installation},
    process::Finished,
};

use crate::small_guests::{container, numbered, wait_well};

/// What the kernel says a process may do.
const RIGHTS: [&str; 9] =
    ["Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:", "NoNewPrivs:"];

/// As `pinion-controller.service` starts it.
const LIKE_SERVE: [&str; 6] =
    ["setpriv", "--reuid=pinion", "--regid=pinion", "--init-groups", "--no-new-privs", "--bounding-set=-all"];

/// Anyone else on the host.
const LIKE_NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

/// Says a line on the root process's socket and prints its answer.
const ASK: &str = "$SIG{PIPE} = 'IGNORE'; my $socket = IO::Socket::UNIX->new(Peer => '/run/pinion-channel/channel.sock') or die qq(connect: $!\\n); \
                   print $socket qq({\"guests\":{\"has\":null}}\\n); $socket->flush; print scalar <$socket>;";

fn run(lab: &Lab, like: &[&str], words: &[&str]) -> Finished {
    lab.run(&[like, words].concat()).expect("it runs")
}

fn rights(status: &str) -> Vec<&str> {
    status.lines().filter(|line| RIGHTS.iter().any(|right| line.starts_with(right))).collect()
}

#[test]
fn what_serve_is_not_allowed_it_cannot_do() {
    let lab = Lab::up(vec![container(104)]).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &numbered(&[104]), "").expect("installed");
    fs::write(lab.path("/etc/pve/priv/authkey.key"), "secret\n").expect("written");
    installation.start(&lab).expect("started");
    wait_well(&lab, &installation, &[104]);

    // A process like it is exactly like it.
    let serve = installation.serve().expect("it runs").id();
    let serve = fs::read_to_string(format!("/proc/{serve}/status")).expect("read");
    let like = run(&lab, &LIKE_SERVE, &["cat", "/proc/self/status"]).succeeded().expect("it reads").stdout;
    assert_eq!(rights(&serve), rights(&like));
    assert!(rights(&serve).contains(&"CapEff:\t0000000000000000"), "{serve}");
    assert!(!serve.contains("Uid:\t0\t"), "{serve}");

    let guest = lab.run(&["lxc-info", "-n", "104", "-p", "-H"]).expect("it runs").stdout;
    let guest = guest.trim();
    let through_proc = format!("/proc/{guest}/root/etc/intruder");
    for (words, why) in [
        (&["ls", "/etc/pve/priv"][..], "ermission denied"),
        (&["cat", "/etc/pve/priv/authkey.key"], "ermission denied"),
        (&["touch", "/etc/pve/nodes/pve1/lxc/104.conf"], "ermission denied"),
        (&["cat", "/etc/pve/.vmlist"], "ermission denied"),
        (&["cat", "/etc/pve/storage.cfg"], "ermission denied"),
        (&["pct", "exec", "104", "--", "true"], "please run as root"),
        (&["lxc-attach", "-n", "104", "--", "true"], ""),
        (&["touch", "/var/lib/lxc/104/rootfs/etc/intruder"], "ermission denied"),
        (&["touch", &through_proc], "ermission denied"),
        (&["nsenter", "--target", guest, "--mount", "true"], "ermission denied"),
    ] {
        let tried = run(&lab, &LIKE_SERVE, words);
        assert!(tried.code() != 0 && tried.stderr.contains(why), "{tried}");
    }
    // Root could; so each of these was refused for its privileges, and not because it makes no sense.
    for words in [
        &["cat", "/etc/pve/priv/authkey.key"][..],
        &["cat", "/etc/pve/.vmlist"],
        &["pct", "exec", "104", "--", "true"],
        &["test", "-d", "/var/lib/lxc/104/rootfs/etc"],
        &["touch", &through_proc],
        &["nsenter", "--target", guest, "--mount", "true"],
    ] {
        lab.run(words).expect("it runs").succeeded().expect("root may");
    }
}

#[test]
fn the_root_helper_answers_nobody_else() {
    let lab = Lab::up(Vec::new()).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &numbered(&[]), "").expect("installed");
    installation.start_channel(&lab).expect("started");
    let perl = ["perl", "-MIO::Socket::UNIX", "-e", ASK];
    let asked = run(&lab, &LIKE_SERVE, &perl).succeeded().expect("it is answered");
    assert!(asked.stdout.starts_with("{\"guests\":"), "{asked}");

    let refused = run(&lab, &LIKE_NOBODY, &perl);
    assert!(refused.code() != 0 && refused.stderr.contains("connect: Permission denied"), "{refused}");
    // Even where the socket's mode would let anyone in.
    lab.run(&["chmod", "0666", "/run/pinion-channel/channel.sock"]).expect("it runs").succeeded().expect("opened");
    let refused = run(&lab, &LIKE_NOBODY, &perl);
    assert!(refused.stdout.contains("user 65534 may not use the channel"), "{refused}");
    assert!(!refused.stdout.contains("\"guests\""), "{refused}");
}
