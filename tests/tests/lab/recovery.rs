//! The host's disk is gone, or an old one is back, or the controller moves: the commands of docs/recovery.md bring every
//! agent back, and nothing else happens to anybody.

use std::{collections::BTreeMap, fs, time::Instant};

use pinion_proto::{bundle::RootCertificate, stage::Stage};
use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{Installation, LONG, pinion, status, wait_for},
        operator::{Operator, workers},
    },
    process::{self, Finished},
    steps::{self, Place},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

use crate::small_guests::container;

const DOCUMENT: &str = "recovery.md";

/// Where the host keeps its backups, and what a backup of the whole host would have.
const BACKUPS: &str = "/var/backups/pinion";
const COPY: &str = "/var/backups/host/pinion";

/// The host's addresses, one after the other.
const ADDRESSES: [&str; 2] = ["10.0.0.13", "10.0.0.14"];

/// Nobody is brought in, and the controller has the identity root itself.
const WITHOUT_CHANNEL: &str = "[proxmox]\nenroll = \"never\"\n[channel]\nidentity_root = false";

/// What must not happen to anybody without need: the serial number that each placement has, and the processes of 101's
/// nginx, whose workers are others after each reload.
#[derive(Debug, PartialEq, Eq)]
struct Calm {
    serials: BTreeMap<String, String>,
    nginx: Vec<String>,
}

/// nginx in 101 and a file in 103 by step-ca; in each of these others a file by the embedded CA.
fn manifest(others: &[u32]) -> Value {
    let files = json!({ "fullchain": { "path": "/etc/ssl/story/fullchain.pem" },
                        "key": { "path": "/etc/ssl/story/key.pem", "mode": "0600" },
                        "ca": { "path": "/etc/ssl/story/ca.pem" } });
    let file = |issuer: &str, guest: u32| {
        json!({ "name": format!("for-{guest}"), "common_name": format!("g{guest}.internal.example"), "issuer": issuer,
                "placements": [{ "guest": guest, "files": files }] })
    };
    let nginx = json!({ "name": "web", "common_name": "nginx.internal.example", "issuer": "step-ca",
                        "placements": [{ "guest": 101, "recipe": "nginx" }] });
    let others = others.iter().map(|guest| file("embedded", *guest));
    let trust = json!({ "name": "roots", "trust": true, "issuer": "embedded",
                        "placements": [{ "guest": 101, "recipe": "ca-certificates" }] });
    let all: Vec<Value> = [nginx, trust, file("step-ca", 103)].into_iter().chain(others).collect();
    json!({ "version": 1, "defaults": { "issuer": "step-ca", "duration": "24h" }, "certificates": all })
}

fn placement(vmid: u32) -> String {
    if vmid == 101 { "web@101".into() } else { format!("for-{vmid}@{vmid}") }
}

/// Waits until these guests are linked and have what they are to have.
fn wait_well(lab: &Lab, installation: &Installation, guests: &[u32]) -> Calm {
    let began = Instant::now();
    let serials = wait_for(lab, installation, &format!("guests {guests:?} to be well"), 2 * LONG, |status| {
        let one = |vmid: &u32| {
            let found = status.placement(&placement(*vmid))?;
            let goal = if *vmid == 101 { Stage::Served } else { Stage::Reloaded };
            let well = found.stage == goal && found.trouble.is_none() && status.is_linked(&vmid.to_string());
            found.serial.clone().filter(|_| well).map(|serial| (placement(*vmid), serial))
        };
        guests.iter().map(one).collect()
    });
    let serials = serials.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{guests:?} are well after {:.1} s", began.elapsed().as_secs_f64());
    Calm { serials, nginx: workers(lab, 101, "nginx").expect("nginx runs") }
}

/// How many certificates each CA has signed since the controller's events begin, and how often step-ca was asked.
fn signed(lab: &Lab) -> (usize, usize) {
    let events = pinion(lab, "events --json --last 100000").and_then(Finished::succeeded).expect("events").stdout;
    let asked = lab.sh(103, "journalctl -u step-ca -o cat | grep -c /sign || true").expect("a journal");
    (events.matches("\"issued\"").count(), asked.trim().parse().expect("a number"))
}

/// How many identities were given since the controller's events begin.
fn joins(lab: &Lab) -> usize {
    let events = pinion(lab, "events --json --last 100000").and_then(Finished::succeeded).expect("events").stdout;
    events.matches("joined with identity").count()
}

/// 104 is evicted, and has no agent: nobody has let it in.
fn stays_out(lab: &Lab, what: &str) {
    let status = status(lab).expect("a status");
    assert!(!status.is_linked("104"), "{what}: {status:?}");
    let trouble = status.placement("for-104@104").and_then(|placement| placement.trouble.clone());
    assert!(trouble.is_some_and(|trouble| trouble.to_string().contains("evicted")), "{what}: {status:?}");
    let agent = lab.exec(104, &["ls", "/usr/bin/pinion-agent"]).expect("it runs");
    assert_ne!(agent.code(), 0, "{what}: the agent is in it: {agent}");
}

/// Gives a guest another identity, as a week of renewals does.
fn another_identity(lab: &Lab, installation: &Installation, vmid: u32) {
    let before = lab.read(vmid, "/var/lib/pinion-agent/identity.json").expect("an identity");
    let token = pinion(lab, &format!("token create --guest {vmid}")).and_then(Finished::succeeded).expect("a token");
    let mut join = lab.guest_command(vmid, "pinion-agent").expect("a guest");
    let joined = process::run(join.arg("join"), token.stdout.as_bytes(), PATIENCE).and_then(Finished::succeeded);
    joined.expect("it joins");
    assert_ne!(lab.read(vmid, "/var/lib/pinion-agent/identity.json").expect("an identity"), before);
    wait_well(lab, installation, &[vmid]);
}

/// Waits until the status says in these words who must join again.
fn wait_named(lab: &Lab, words: &str) {
    let named = wait::until(words, PATIENCE, || {
        let status = status(lab).map_err(|error| format!("{error:#}"))?;
        let named = status.notes.iter().any(|note| note.contains(words) && note.contains("pinion token create"));
        if named { Ok(()) } else { Err(format!("{:?}", status.notes)) }
    });
    named.expect("the status names who must join again");
}

/// 101 has this root, and trusts 105's certificate, whichever root that ends at.
fn is_trusted(lab: &Lab, installation: &Installation, root: &str, what: &str) {
    let root = RootCertificate::from_pem(root).expect("a root").fingerprint();
    let chain = lab.read(105, "/etc/ssl/story/fullchain.pem").expect("a certificate");
    lab.write(101, "/root/chain.pem", 0o644, chain.as_bytes()).expect("written");
    wait_for(lab, installation, "101 to have the root", LONG, |status| {
        let placement = status.placement("roots@101")?;
        (placement.stage == Stage::Served && placement.roots.contains(&root)).then_some(())
    })
    .unwrap_or_else(|error| panic!("{what}: {error:#}"));
    let trusted = lab.sh(101, "openssl verify -CApath /etc/ssl/certs -untrusted /root/chain.pem /root/chain.pem");
    trusted.unwrap_or_else(|error| panic!("{what}: {error:#}"));
}

/// 105's certificate ends at a root of this file.
fn verifies(lab: &Lab, roots: &str) {
    let chain = "/var/lib/lxc/105/rootfs/etc/ssl/story/fullchain.pem";
    sh(lab, &format!("openssl verify -CAfile {roots} -untrusted {chain} {chain}"));
}

fn sh(lab: &Lab, line: &str) -> String {
    lab.run(&["sh", "-ec", line]).and_then(Finished::succeeded).expect("it runs").stdout
}

/// Types what is below these headings.
fn follow(lab: &Lab, installation: &mut Installation, headings: &[(&str, &[Place])], values: &[(&'static str, &str)]) {
    for (heading, places) in headings {
        let followed = Operator::with(lab, installation, DOCUMENT, values).follow(heading, places);
        followed.unwrap_or_else(|error| panic!("{error:#}\n{}", installation.logged()));
    }
}

/// Takes a backup as cron would, and returns its name.
fn back_up(lab: &Lab, installation: &mut Installation) -> String {
    sh(lab, "mkdir -p /etc/cron.d");
    let by_hand = format!("{BACKUPS}/by-hand.backup");
    follow(lab, installation, &[("Back up", &[Place::Host])], &[("FILE", &by_hand)]);
    let tab = fs::read_to_string(lab.path("/etc/cron.d/pinion-backup")).expect("cron's file");
    // crontab(5): five fields, the user, and the rest to /bin/sh; a percent sign would end it.
    let fields: Vec<&str> = tab.trim_end().splitn(7, ' ').collect();
    let [minute, hour, "*", "*", "*", "root", line] = fields[..] else { panic!("{tab}") };
    assert!(minute.parse::<u8>().is_ok_and(|it| it < 60) && hour.parse::<u8>().is_ok_and(|it| it < 24), "{tab}");
    assert!(!line.contains('%') && tab.ends_with('\n') && tab.lines().count() == 1, "{tab}");
    let cron =
        ["env", "-i", "HOME=/root", "LOGNAME=root", "SHELL=/bin/sh", "PATH=/usr/bin:/bin", "/bin/sh", "-c", line];
    let night = lab.run(&cron).and_then(Finished::succeeded).expect("a backup by night");
    let file = night.stdout.split(": ").next().expect("its name").to_owned();
    assert_eq!(sh(lab, &format!("stat --format '%a %U' {file} {BACKUPS}")), "600 root\n700 root\n");
    file
}

/// Everything of Pinion's on the host is gone: it is another disk.
fn lose_everything(lab: &Lab) {
    sh(lab, "rm -rf /var/lib/pinion /var/lib/pinion-channel /etc/pinion");
}

/// The host is another one, with another address.
fn move_host(lab: &Lab, from: &str, to: &str) {
    lose_everything(lab);
    sh(lab, &format!("ip address del {from}/24 dev vmbr0 && ip address add {to}/24 dev vmbr0"));
}

/// The host has another address, and agents have not heard of it: docs/renumbering.md gives it the old one again.
fn has_changed_already(lab: &Lab, installation: &mut Installation) {
    installation.stop().expect("stopped");
    let (old, new) = (ADDRESSES[0], "10.0.0.15");
    sh(lab, &format!("ip address del {old}/24 dev vmbr0 && ip address add {new}/24 dev vmbr0"));
    sh(lab, &format!("sed -i 's/^advertise = .*/advertise = [\"{new}:7443\"]/' /etc/pinion/controller.toml"));
    installation.start(lab).expect("started");
    let commands = steps::commands("renumbering.md", "If the address has already changed").expect("commands");
    commands.iter().for_each(|line| drop(sh(lab, line)));
}

#[test]
fn with_the_channel_every_agent_comes_back_by_itself() {
    let lab = Lab::up(vec![Spec::gateway(), Spec::authority(), container(104), container(105)]).expect("a lab");
    let mut installation = Installation::install(&lab, &manifest(&[104]), "").expect("installed");
    let own = &mut installation;
    own.start(&lab).expect("started");
    wait_well(&lab, own, &[101, 103, 104]);
    let week_old = back_up(&lab, own);
    sh(&lab, &format!("mkdir -p {COPY} && rmdir {COPY} && cp -a /var/lib/pinion {COPY}"));

    // A week passes: identities and certificates are renewed, agents link again, one guest is put out, another comes.
    another_identity(&lab, own, 101);
    pinion(&lab, "ensure web --renew --until served").and_then(Finished::succeeded).expect("renewed");
    lab.sh(103, "systemctl restart pinion-agent").expect("restarted");
    pinion(&lab, "guest evict 104").and_then(Finished::succeeded).expect("evicted");
    own.write_manifest(&lab, &manifest(&[104, 105])).expect("written");
    let all = [101, 103, 105];
    let calm = wait_well(&lab, own, &all);
    let asked = signed(&lab);
    stays_out(&lab, "before");

    let is_as_before = |lab: &Lab, own: &Installation, what: &str| {
        assert_eq!(wait_well(lab, own, &all), calm, "{what}: nothing was issued, reloaded or restarted");
        assert_eq!(signed(lab).1, asked.1, "{what}: step-ca signed nothing");
        stays_out(lab, what);
    };

    // An old backup, onto what is there.
    let host: &[Place] = &[Place::Host];
    follow(&lab, own, &[("Restore an old backup", host)], &[("FILE", &week_old)]);
    is_as_before(&lab, own, "restored");
    assert_eq!(signed(&lab), asked, "restored: nothing was signed");

    // An old copy of the directory.
    follow(&lab, own, &[("From a copy of the directory", host)], &[("COPY", COPY)]);
    is_as_before(&lab, own, "copied");

    // The local state is removed under the running controller.
    sh(&lab, "rm -rf /var/lib/pinion/local");
    let given = joins(&lab);
    follow(&lab, own, &[("Lost `local`", host)], &[]);
    is_as_before(&lab, own, "local is lost");
    assert_eq!(joins(&lab), 0, "nobody joins again for it; before: {given}");

    // The disk is gone, and the newest backup is there.
    let newest = format!("{BACKUPS}/newest.backup");
    pinion(&lab, &format!("backup {newest}")).and_then(Finished::succeeded).expect("a backup");
    own.stop().expect("stopped");
    lose_everything(&lab);
    follow(&lab, own, &[("Lost everything, with a backup", &[Place::NewHost])], &[("FILE", &newest)]);
    is_as_before(&lab, own, "everything was lost");
    assert_eq!(joins(&lab), 0, "every identity is as good as before");

    // Nothing but the old backup is left: who was evicted since has to be named.
    own.stop().expect("stopped");
    lose_everything(&lab);
    let values = [("FILE", &*week_old), ("GUEST", "104")];
    follow(&lab, own, &[("Guests that you evicted after the backup", host)], &values);
    let rest = wait_well(&lab, own, &[101, 103]);
    assert!(rest.serials.iter().all(|one| calm.serials.iter().any(|other| one == other)), "{rest:?} of {calm:?}");
    assert_eq!(rest.nginx, calm.nginx);
    stays_out(&lab, "named");

    // Another host with another address, of which nobody was told.
    own.stop().expect("stopped");
    move_host(&lab, ADDRESSES[0], ADDRESSES[1]);
    let values = [("FILE", &*newest), ("NEW-ADDRESS", ADDRESSES[1])];
    follow(&lab, own, &[("After the old host is gone", &[Place::NewHost])], &values);
    is_as_before(&lab, own, "moved without notice");
}

#[test]
fn a_move_of_which_agents_hear_costs_nobody_an_identity() {
    let lab = Lab::up(vec![Spec::gateway(), Spec::authority(), container(105)]).expect("a lab");
    let mut installation = Installation::install(&lab, &manifest(&[105]), "").expect("installed");
    let own = &mut installation;
    own.start(&lab).expect("started");
    let all = [101, 103, 105];
    let calm = wait_well(&lab, own, &all);
    let asked = signed(&lab).1;
    // There and back: the second time the agents have addresses that are no good any more.
    for (from, to) in [(0, 1), (1, 0)] {
        let file = format!("/var/backups/move-{to}.backup");
        let (from, to) = (ADDRESSES[from], ADDRESSES[to]);
        let values = [("FILE", &*file), ("OLD-ADDRESS", from), ("NEW-ADDRESS", to)];
        let heading = "While the old host works";
        follow(&lab, own, &[(heading, &[Place::Host])], &values);
        move_host(&lab, from, to);
        follow(&lab, own, &[(heading, &[Place::NewHost])], &values);
        assert_eq!(wait_well(&lab, own, &all), calm, "nothing was issued, reloaded or restarted");
        assert_eq!((joins(&lab), signed(&lab)), (0, (0, asked)), "every agent has found the new address as it was");
    }
    has_changed_already(&lab, own);
    assert_eq!(wait_well(&lab, own, &all), calm, "nothing was issued, reloaded or restarted");
    assert_eq!(joins(&lab), 0, "every agent has found the old address again");
}

#[test]
fn without_a_backup_guests_join_a_new_root_and_keep_their_certificates() {
    let lab = Lab::up(vec![Spec::gateway(), Spec::authority(), container(105)]).expect("a lab");
    let mut installation = Installation::install(&lab, &manifest(&[105]), "").expect("installed");
    let own = &mut installation;
    own.start(&lab).expect("started");
    let all = [101, 103, 105];
    let calm = wait_well(&lab, own, &all);
    let asked = signed(&lab).1;
    let root = pinion(&lab, "issuer root embedded").and_then(Finished::succeeded).expect("a root").stdout;
    is_trusted(&lab, own, &root, "at first");
    own.stop().expect("stopped");
    lose_everything(&lab);
    let mine = "/var/backups/manifest.json";
    fs::write(lab.path(mine), manifest(&[105]).to_string()).expect("written");

    let heading = "Lost everything, without a backup";
    let values = [("MANIFEST", mine), ("NEW-ADDRESS", ADDRESSES[0])];
    follow(&lab, own, &[(heading, &[Place::NewHost])], &values);
    assert_eq!(wait_well(&lab, own, &all), calm, "nothing was issued, reloaded or restarted");
    assert_eq!(signed(&lab), (0, asked), "nothing was signed");
    let now = pinion(&lab, "issuer root embedded").and_then(Finished::succeeded).expect("a root").stdout;
    assert_ne!(now, root, "the embedded CA is another one");
    // Whoever reads the file next to the certificate trusts it before and after.
    let ca = "/var/lib/lxc/105/rootfs/etc/ssl/story/ca.pem";
    verifies(&lab, ca);
    is_trusted(&lab, own, &now, "under the old root");
    pinion(&lab, "ensure --renew --until reloaded").and_then(Finished::succeeded).expect("all is renewed");
    fs::write(lab.path("/var/backups/root.pem"), &now).expect("written");
    verifies(&lab, "/var/backups/root.pem");
    verifies(&lab, ca);
    is_trusted(&lab, own, &now, "under the new root");
}

#[test]
fn without_the_channel_each_guest_that_must_join_again_is_joined_by_hand() {
    let lab = Lab::up(vec![Spec::gateway(), Spec::authority(), container(104), container(105)]).expect("a lab");
    let mut installation = Installation::install(&lab, &manifest(&[104]), WITHOUT_CHANNEL).expect("installed");
    let own = &mut installation;
    own.start(&lab).expect("started");
    for vmid in [101, 103, 104] {
        pinion(&lab, &format!("guest enroll {vmid}")).and_then(Finished::succeeded).expect("enrolled");
    }
    wait_well(&lab, own, &[101, 103, 104]);
    let week_old = back_up(&lab, own);
    another_identity(&lab, own, 101);
    pinion(&lab, "guest evict 104").and_then(Finished::succeeded).expect("evicted");
    own.write_manifest(&lab, &manifest(&[104, 105])).expect("written");
    pinion(&lab, "guest enroll 105").and_then(Finished::succeeded).expect("enrolled");
    let all = [101, 103, 105];
    let calm = wait_well(&lab, own, &all);
    let is_as_before = |lab: &Lab, own: &Installation, what: &str| {
        assert_eq!(wait_well(lab, own, &all), calm, "{what}: nothing was issued, reloaded or restarted");
        stays_out(lab, what);
    };

    let host: &[Place] = &[Place::Host];
    follow(&lab, own, &[("Restore an old backup", host)], &[("FILE", &week_old)]);
    wait_well(&lab, own, &[103]);
    let join = "Join a guest again";
    let by_hand = [(join, &[Place::Host, Place::Guest][..])];
    wait_named(&lab, "2 guests");
    follow(&lab, own, &by_hand, &[("GUEST", "101")]);
    // Who is still missing is named as before, whoever has joined since.
    own.stop_serve().and_then(|()| own.start_serve(&lab)).expect("restarted");
    wait_named(&lab, "1 guest (105)");
    follow(&lab, own, &by_hand, &[("GUEST", "105")]);
    is_as_before(&lab, own, "restored");

    // A move of which agents do not hear needs a hand in each.
    let newest = format!("{BACKUPS}/newest.backup");
    pinion(&lab, &format!("backup {newest}")).and_then(Finished::succeeded).expect("a backup");
    own.stop().expect("stopped");
    move_host(&lab, ADDRESSES[0], ADDRESSES[1]);
    let values = [("FILE", &*newest), ("NEW-ADDRESS", ADDRESSES[1])];
    follow(&lab, own, &[("After the old host is gone", &[Place::NewHost])], &values);
    for vmid in ["101", "103", "105"] {
        follow(&lab, own, &by_hand, &[("GUEST", vmid)]);
    }
    is_as_before(&lab, own, "moved without notice");
}
