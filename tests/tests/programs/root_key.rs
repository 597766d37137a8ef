//! The key of the identity root where there is a root process: it is that one's alone, and outlives whatever is lost of
//! the controller's state; a controller has an authority under it, from which nobody gets to the root.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use pinion_proto::{bundle::Fingerprint, token::JoinToken};
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    process,
    wait::{self, PATIENCE},
};
use rustix::process::geteuid;
use serde_json::Value;

/// A host with nothing started, whose root process would answer this test's user.
pub(super) fn prepare() -> Host {
    let host = Host::prepare(&HostOptions::default()).expect("a host's directory");
    host.configure(&format!("\n[channel]\nuser = \"{}\"\n", geteuid().as_raw())).expect("written");
    host
}

pub(super) fn root(host: &Host) -> Fingerprint {
    JoinToken::parse(&host.token("101").expect("a token")).expect("a token").root.fingerprint()
}

pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
#[expect(clippy::too_many_lines, clippy::cognitive_complexity, reason = "one installation's story, in its order")]
fn a_new_installations_root_key_is_the_root_processs_and_outlives_the_controllers_state() {
    let mut host = prepare();
    let mut root_process = host.start_channel().expect("it listens");
    host.start_again().expect("the controller starts");
    let first = root(&host);
    let top = host.root().to_owned();
    let at = |path: &str| top.join(path);
    let (kept, pin, shared) =
        (at("var/lib/pinion-channel/identity-ca.json"), at("etc/pinion/identity-root"), at("var/lib/pinion/shared"));
    let (state, node) = (at("var/lib/pinion"), at("var/lib/pinion/local/identity-node.json"));
    assert_eq!(fs::metadata(kept.parent().expect("one")).expect("there").permissions().mode() & 0o777, 0o700);
    let document: Value = serde_json::from_slice(&fs::read(&kept).expect("the root's key")).expect("JSON");
    let key = document["data"]["key"].as_str().expect("a key").to_owned();
    for file in files(&at("var/lib/pinion")) {
        let text = String::from_utf8_lossy(&fs::read(&file).expect("readable")).into_owned();
        assert!(!text.contains(&key), "{} has the root's key", file.display());
    }
    assert!(fs::read_to_string(&pin).expect("named").contains(&first.to_string()));

    let mut guest = Guest::join(&host, 1001).expect("a guest joins");
    let identity: Value =
        serde_json::from_str(&guest.read("/var/lib/pinion-agent/identity.json").expect("readable")).expect("JSON");
    assert_eq!(identity["identity"]["chain"].as_array().map(Vec::len), Some(2), "leaf and node: {identity}");

    let backup = at("backup");
    let taken = host.pinion(&["backup", backup.to_str().expect("text")]).expect("it runs");
    taken.succeeded().expect("a backup, while both run");
    // Whichever of both runs, the refusal is the same, and nothing is touched.
    for running in ["both", "the root process"] {
        let before: Vec<_> = [&kept, &pin].map(|path| fs::read(path).expect("readable")).into();
        for asked in
            [&["restore", backup.to_str().expect("text"), "--yes"][..], &["identity", "new-root", "--at-once", "--yes"]]
        {
            let refused = host.pinion(asked).expect("it runs");
            assert_eq!(refused.code(), 4, "{asked:?} while {running} runs: {refused}");
            assert!(refused.stderr.contains("systemctl stop pinion pinion-channel"), "{asked:?}: {refused}");
        }
        assert!(!state.join("local/new-root.json").exists(), "{running}: a wish is left");
        assert_eq!(before, [&kept, &pin].map(|path| fs::read(path).expect("readable")), "{running}");
        if running == "both" {
            host.stop().expect("stopped");
        }
    }
    host.start_again().expect("it goes on");
    guest.wait_linked(&host).expect("linked");

    // The controller needs the root process for a new authority alone.
    root_process.stop().expect("it stops");
    host.restart().expect("it starts without the root process");
    guest.wait_linked(&host).expect("linked");
    root_process = host.start_channel().expect("it listens");
    host.stop().expect("stopped");
    fs::remove_file(&node).expect("removed");
    host.start_again().expect("it gets another authority");
    guest.wait_linked(&host).expect("linked");
    assert_eq!(root(&host), first);

    // Its state is lost, the shared area alone or all of it, and what names the root too: nobody goes on without it unless a
    // person says so. The root is not lost, and its guests are told as what they are.
    host.stop().expect("stopped");
    let aside = at("var/aside");
    for lost in [vec![&shared], vec![&state], vec![&state, &pin]] {
        fs::create_dir(&aside).expect("made");
        let moved: Vec<_> = lost.iter().map(|path| aside.join(path.file_name().expect("a name"))).collect();
        lost.iter().zip(&moved).for_each(|(path, to)| fs::rename(path, to).expect("lost"));
        for _ in 0..2 {
            let refused = process::run(&mut host.command(&["serve"]).expect("built"), b"", PATIENCE).expect("it ends");
            assert_eq!(refused.code(), 2, "{lost:?}: {refused}");
            for words in ["is gone", "pinion restore FILE", "pinion identity new-root --yes", &first.to_string()] {
                assert!(refused.stderr.contains(words), "{lost:?}: {words}: {refused}");
            }
            let made = if shared.exists() { files(&shared) } else { Vec::new() };
            assert_eq!(made, Vec::<PathBuf>::new(), "{lost:?}");
            assert!(!state.join("local/authorities").exists() || lost == [&shared], "{lost:?}");
        }
        for (path, from) in lost.iter().zip(&moved).rev() {
            if path.is_dir() {
                fs::remove_dir_all(path).expect("removed")
            } else {
                fs::remove_file(path).ok();
            }
            fs::rename(from, path).expect("put back");
        }
        fs::remove_dir(&aside).expect("empty");
    }
    host.start_again().expect("what is put back is as before");
    guest.wait_linked(&host).expect("linked");
    host.stop().expect("stopped");
    fs::remove_dir_all(&state).expect("lost");
    let wish = host.pinion(&["identity", "new-root", "--yes"]).expect("it runs");
    assert!(wish.succeeded().expect("it is left").stderr.contains("keeps the root process's identity root"));
    host.start_again().expect("it starts");
    assert_eq!(root(&host), first);
    let issuers = host.pinion(&["issuer", "check"]).expect("it runs");
    let said = format!("{}{}", issuers.stdout, issuers.stderr);
    assert!(said.contains("given up as lost") && said.contains("new-root --embedded --yes"), "{issuers}");
    let told = wait::until("the note", PATIENCE, || {
        let notes = host.status().map_err(|error| format!("{error:#}"))?.notes;
        if notes.iter().any(|note| note.starts_with("1 guest (1001) has an identity newer")) {
            Ok(())
        } else {
            Err(format!("{notes:?}"))
        }
    });
    told.expect("told");
    guest.join_with(&host.token("1001").expect("a token")).expect("it runs").succeeded().expect("joins anew");
    guest.wait_linked(&host).expect("linked");

    // The root's key is lost: nobody makes another by himself.
    host.stop().expect("stopped");
    root_process.stop().expect("stopped");
    fs::remove_dir_all(kept.parent().expect("one")).expect("lost");
    fs::remove_file(&node).expect("removed");
    root_process = host.start_channel().expect("it listens");
    let refused = process::run(&mut host.command(&["serve"]).expect("built"), b"", PATIENCE).expect("it ends");
    assert_eq!(refused.code(), 2, "{refused}");
    assert!(refused.stderr.contains(&first.to_string()) && refused.stderr.contains("new-root --yes"), "{refused}");
    assert!(!kept.exists() && !shared.join("identity-ca.json").exists(), "none was made");

    root_process.stop().expect("stopped");
    host.pinion(&["identity", "new-root", "--yes"]).expect("it runs").succeeded().expect("it is left");
    root_process = host.start_channel().expect("it listens");
    host.start_again().expect("with a new root");
    let second = root(&host);
    assert_ne!(second, first);
    assert!(kept.exists() && fs::read_to_string(&pin).expect("named").contains(&second.to_string()));
    guest.join_with(&host.token("1001").expect("a token")).expect("it runs").succeeded().expect("joins anew");
    guest.wait_linked(&host).expect("linked");
    root_process.stop().expect("stopped");

    // The first root is in the backup, and comes back with it.
    host.stop().expect("stopped");
    let restored = host.pinion(&["restore", backup.to_str().expect("text"), "--yes"]).expect("it runs");
    restored.succeeded().expect("restored");
    root_process = host.start_channel().expect("it listens");
    host.start_again().expect("with the first root");
    assert_eq!(root(&host), first);
    root_process.stop().expect("stopped");
}

#[test]
fn an_installation_that_holds_its_own_root_keeps_it_beside_a_root_process() {
    let mut host = prepare();
    host.start_again().expect("the controller starts");
    let (before, mut guest) = (root(&host), Guest::join(&host, 1001).expect("a guest joins"));
    let mut root_process = host.start_channel().expect("it listens");
    host.restart().expect("restarted");
    guest.wait_linked(&host).expect("linked");
    assert_eq!(root(&host), before);
    assert!(!host.root().join("var/lib/pinion-channel/identity-ca.json").exists());
    // Nor does the root process's presence hide that the root was lost.
    host.stop().expect("stopped");
    fs::remove_file(host.root().join("var/lib/pinion/shared/identity-ca.json")).expect("removed");
    let refused = process::run(&mut host.command(&["serve"]).expect("built"), b"", PATIENCE).expect("it ends");
    assert!(refused.code() == 2 && refused.stderr.contains(&before.to_string()), "{refused}");
    assert!(!host.root().join("var/lib/pinion-channel/identity-ca.json").exists());
    root_process.stop().expect("stopped");
}
