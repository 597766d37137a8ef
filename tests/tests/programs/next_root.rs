//! Another identity root where the root process has its key, or is to have it, under guests that run: none joins anew,
//! services go on being served, and a guest that is away holds it up and is named.

use std::{fs, path::Path};

use pinion_proto::bundle::Fingerprint;
use pinion_tests::{
    guest::Guest,
    host::Host,
    process::Process,
    site::Site,
    wait::{self, PATIENCE},
};
use serde_json::Value;

use super::root_key::{files, prepare, root};

const ROOT: &str = "var/lib/pinion-channel/identity-ca.json";
const OWN_ROOT: &str = "var/lib/pinion/shared/identity-ca.json";
const PIN: &str = "etc/pinion/identity-root";

fn wait_note(host: &Host, words: &str) -> String {
    wait::until(words, PATIENCE, || {
        let notes = host.status().map_err(|error| format!("{error:#}"))?.notes;
        notes.iter().find(|note| note.contains(words)).cloned().ok_or_else(|| format!("{notes:?}"))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", host.log_tail()))
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a document")).expect("JSON")
}

fn key(host: &Host, path: &str) -> String {
    document(&host.root().join(path))["data"]["key"].as_str().expect("a key").to_owned()
}

/// Whether any state has this key.
fn is_kept(host: &Host, key: &str) -> bool {
    let state = ["var/lib/pinion", "var/lib/pinion-channel"].map(|path| host.root().join(path));
    let kept = state.iter().filter(|path| path.exists()).flat_map(|path| files(path));
    kept.into_iter().any(|file| String::from_utf8_lossy(&fs::read(file).expect("readable")).contains(key))
}

/// When these guests joined.
fn joins(host: &Host) -> Vec<String> {
    let joined = |guest: u32| {
        let path = host.root().join(format!("var/lib/pinion/shared/guests/{guest}.json"));
        document(&path)["data"]["joined_at"].as_str().expect("a moment").to_owned()
    };
    [1001, 1002].map(joined).into()
}

/// Stops both, has a person ask for another root, and starts both.
fn ask(host: &mut Host, root_process: &mut Process, arguments: &[&str]) {
    host.stop().expect("stopped");
    root_process.stop().expect("stopped");
    let asked = [&["identity", "new-root"][..], arguments].concat();
    let unsure = host.pinion(&asked).expect("it runs");
    assert!(unsure.code() == 2 && unsure.stderr.contains("no guest has to join again"), "{unsure}");
    let asked = host.pinion(&[&asked[..], &["--yes"]].concat()).expect("it runs").succeeded().expect("it is left");
    for words in
        ["the root process creates a new identity root", "no guest has to join again", "systemctl restart pinion"]
    {
        assert!(asked.stderr.contains(words), "{words}: {asked}");
    }
    *root_process = host.start_channel().expect("it listens");
    host.start_again().expect("started");
}

/// Two guests that are linked, one of them with a service; the second is then away.
fn site(host: Host) -> (Site, Guest) {
    let mut site = Site::served_on(host).expect("the certificate is served");
    let mut away = Guest::join(&site.host, 1002).expect("another guest");
    away.wait_linked(&site.host).expect("linked");
    away.stop().expect("it is away");
    site.guest.wait_linked(&site.host).expect("linked");
    (site, away)
}

/// The guest that was away comes back and trusts the next root too; the controller then has it, under the name that an
/// administrator reads.
fn follows(site: &mut Site, away: &mut Guest, before: Fingerprint) -> Fingerprint {
    away.start().expect("it comes back");
    away.wait_linked(&site.host).expect("linked");
    wait_note(&site.host, "every guest trusts the next identity root");
    site.host.restart().expect("restarted");
    let after = root(&site.host);
    assert_ne!(after, before);
    assert!(fs::read_to_string(site.host.root().join(PIN)).expect("named").contains(&after.to_string()));
    after
}

fn all_go_on(site: &mut Site, away: &mut Guest) {
    for guest in [&mut site.guest, away] {
        guest.wait_linked(&site.host).expect("linked without a new join");
        guest.restart().expect("restarted");
        guest.wait_linked(&site.host).expect("it remembers");
    }
    let mut third = Guest::join(&site.host, 1003).expect("a new guest");
    third.wait_linked(&site.host).expect("linked");
    let serial = site.serial().expect("all agree");
    site.host.renew(&[], "served").expect("all goes on");
    assert_ne!(site.serial().expect("all agree"), serial);
    third.stop().expect("stopped");
}

#[test]
fn the_root_processs_root_is_followed_by_another_and_nobody_joins_anew() {
    let host = prepare();
    let mut root_process = host.start_channel().expect("it listens");
    let (mut site, mut away) = site(host);
    let (before, joined, old_key) = (root(&site.host), joins(&site.host), key(&site.host, ROOT));
    ask(&mut site.host, &mut root_process, &[]);
    site.guest.wait_linked(&site.host).expect("linked");
    let note = wait_note(&site.host, "1 of 2 guests trust the next identity root");
    assert!(note.contains("missing: 1002"), "{note}");
    assert_eq!(root(&site.host), before, "who joins now is told of it on the link");
    let backup = site.host.root().join("backup");
    let backup = backup.to_str().expect("text");
    site.host.pinion(&["backup", backup]).expect("it runs").succeeded().expect("a backup in between");

    // Neither a restart of both nor their end in the middle has it take over.
    site.host.kill9().expect("killed");
    root_process.stop().expect("stopped");
    root_process = site.host.start_channel().expect("it listens");
    site.host.start_again().expect("started");
    site.guest.wait_linked(&site.host).expect("linked");
    wait_note(&site.host, "1 of 2 guests trust the next identity root");
    assert_eq!(root(&site.host), before, "one guest does not trust it yet");
    assert!(is_kept(&site.host, &old_key) && site.serial().is_ok());

    let after = follows(&mut site, &mut away, before);
    assert!(!is_kept(&site.host, &old_key), "the previous key is gone");
    all_go_on(&mut site, &mut away);
    assert_eq!(joins(&site.host), joined, "nobody has joined anew");
    assert_eq!(site.host.status().expect("a status").notes, Vec::<String>::new());

    // What was backed up in between has both roots, and goes on from there.
    site.host.stop().expect("stopped");
    root_process.stop().expect("stopped");
    fs::remove_dir_all(site.host.root().join("var/lib/pinion/local")).expect("lost");
    fs::remove_dir_all(site.host.root().join("var/lib/pinion-channel")).expect("lost");
    let restored = site.host.pinion(&["restore", backup, "--yes"]).expect("it runs");
    restored.succeeded().expect("restored");
    root_process = site.host.start_channel().expect("it listens");
    site.host.start_again().expect("started");
    assert_eq!(root(&site.host), before);
    for guest in [&mut site.guest, &mut away] {
        guest.wait_linked(&site.host).expect("linked");
    }
    wait_note(&site.host, &format!("every guest trusts the next identity root {after}"));
    site.host.restart().expect("restarted");
    assert_eq!(root(&site.host), after, "the root process has its key");
    root_process.stop().expect("stopped");
}

#[test]
fn a_controllers_root_moves_to_the_root_process_and_nobody_joins_anew() {
    let mut host = prepare();
    host.start_again().expect("it has a root of its own");
    fs::write(host.root().join(PIN), format!("{}\n", root(&host))).expect("an administrator names it");
    let mut root_process = host.start_channel().expect("it listens");
    let (mut site, mut away) = site(host);
    let (before, joined, old_key) = (root(&site.host), joins(&site.host), key(&site.host, OWN_ROOT));
    ask(&mut site.host, &mut root_process, &["--to-root-process"]);
    site.guest.wait_linked(&site.host).expect("linked");
    let note = wait_note(&site.host, "1 of 2 guests trust the next identity root");
    assert!(note.contains("missing: 1002"), "{note}");
    site.host.restart().expect("restarted");
    assert_eq!(root(&site.host), before, "one guest does not trust it yet");
    assert!(site.host.root().join(OWN_ROOT).exists() && site.serial().is_ok());

    follows(&mut site, &mut away, before);
    assert!(!is_kept(&site.host, &old_key), "the controller's key is gone");
    assert!(site.host.root().join(ROOT).exists() && !site.host.root().join(OWN_ROOT).exists());
    all_go_on(&mut site, &mut away);
    assert_eq!(joins(&site.host), joined, "nobody has joined anew");
    assert_eq!(site.host.status().expect("a status").notes, Vec::<String>::new());
    let node = document(&site.host.root().join("var/lib/pinion/local/identity-node.json"));
    assert_ne!(
        node["data"]["key"].as_str().expect("a key"),
        key(&site.host, ROOT),
        "it has an authority under it alone"
    );

    // It is there now: moving it once more is refused, and another one follows it as any root of the root process's.
    site.host.stop().expect("stopped");
    root_process.stop().expect("stopped");
    let refused = site.host.pinion(&["identity", "new-root", "--to-root-process", "--yes"]).expect("it runs");
    assert!(refused.code() == 2 && refused.stderr.contains("already"), "{refused}");
    root_process = site.host.start_channel().expect("it listens");
    site.host.start_again().expect("started");
    ask(&mut site.host, &mut root_process, &[]);
    wait_note(&site.host, "guests trust the next identity root");
    root_process.stop().expect("stopped");
}
