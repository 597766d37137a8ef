//! State that is lost, removed under a running controller, restored from a backup, or made by two at once: no identity
//! root is made in place of another without a word, and nobody is cut off for longer than it takes to say so.

use std::{fs, os::unix::fs::symlink, path::Path, thread};

use pinion_proto::{
    bundle::Fingerprint,
    clock::{Clock, SystemClock},
    token::JoinToken,
};
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    process::{self, Finished},
    site::Site,
    wait::{self, PATIENCE},
};

fn serve_to_its_end(host: &Host) -> Finished {
    let mut serve = host.command(&["serve"]).expect("pinion is built");
    process::run(&mut serve, b"", PATIENCE).expect("it ends by itself")
}

fn root(host: &Host) -> Fingerprint {
    JoinToken::parse(&host.token("101").expect("a token")).expect("a token").root.fingerprint()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a kind").is_dir() {
            true => copy(&entry.path(), &to),
            false => fs::copy(entry.path(), to).map(drop).expect("copied"),
        }
    }
}

#[test]
fn controllers_that_start_at_once_on_nothing_have_one_root() {
    for round in 0..5 {
        let mut hosts: Vec<_> =
            (0..3).map(|_| Host::prepare(&HostOptions::default()).expect("a host's files")).collect();
        let shared = hosts[0].root().join("var/lib/pinion/shared");
        for other in &hosts[1..] {
            symlink(&shared, other.root().join("var/lib/pinion/shared")).expect("linked");
        }
        fs::create_dir(&shared).expect("made");
        thread::scope(|scope| {
            let starting: Vec<_> = hosts.iter_mut().map(|host| scope.spawn(|| host.start_again())).collect();
            for start in starting {
                start.join().expect("no panic").expect("it starts");
            }
        });
        let roots: Vec<_> = hosts.iter().map(root).collect();
        assert!(roots.iter().all(|one| *one == roots[0]), "round {round}: {roots:?}");
    }
}

#[test]
fn a_lost_shared_directory_is_reported_and_a_new_root_needs_one_decision_of_a_person() {
    let mut site = Site::served().expect("the certificate is served");
    let (before, serial) = (root(&site.host), site.serial().expect("all agree"));
    let shared = site.host.root().join("var/lib/pinion/shared");
    let aside = site.host.root().join("var/lib/aside");
    site.host.stop().expect("the controller stops");
    fs::rename(&shared, &aside).expect("moved");
    for _ in 0..2 {
        let refused = serve_to_its_end(&site.host);
        assert_eq!(refused.code(), 2, "{refused}");
        for words in ["is gone", "pinion identity new-root --yes", &before.to_string(), "restore"] {
            assert!(refused.stderr.contains(words), "{words}: {refused}");
        }
        assert!(!shared.exists(), "nothing is made in its place");
    }
    // What earlier programs leave has no note of the root: the guests that it knows are trace enough.
    let noted = site.host.root().join("var/lib/pinion/local/authorities");
    let kept = site.host.root().join("var/lib/noted");
    fs::rename(&noted, &kept).expect("moved");
    let refused = serve_to_its_end(&site.host);
    assert!(refused.code() == 2 && refused.stderr.contains("knows 1 guests"), "{refused}");
    fs::remove_dir_all(&shared).ok();
    fs::rename(&kept, &noted).expect("moved back");

    // The backup is found: all is as before.
    fs::rename(&aside, &shared).expect("moved back");
    site.host.start_again().expect("it starts");
    site.guest.wait_linked(&site.host).expect("linked");
    assert_eq!((root(&site.host), site.serial().expect("all agree")), (before, serial.clone()));

    // Not while it runs, and not without a word.
    for (arguments, code) in [(&["identity", "new-root", "--yes"][..], 4), (&["identity", "new-root"], 2)] {
        let refused = site.host.pinion(arguments).expect("it runs");
        assert_eq!(refused.code(), code, "{arguments:?}: {refused}");
    }
    site.host.stop().expect("the controller stops");
    fs::remove_dir_all(&shared).expect("lost");
    site.host.pinion(&["identity", "new-root", "--yes"]).expect("it runs").succeeded().expect("it is left");
    site.host.start_again().expect("it starts with a new root");
    let after = root(&site.host);
    assert_ne!(after, before);
    let rejoined = site.guest.join_with(&site.host.token("1001").expect("a token")).expect("it runs");
    rejoined.succeeded().expect("the guest joins anew");
    site.guest.wait_linked(&site.host).expect("linked");
    // The certificate outlives it all; the embedded CA that signed it is a decision of its own.
    assert_eq!(site.host.pinion(&["ensure"]).expect("it runs").code(), 0);
    let refused = site.host.pinion(&["ensure", "--renew", "--timeout", "20s"]).expect("it runs");
    assert!(refused.code() == 4 && refused.stderr.contains("new-root --embedded --yes"), "{refused}");
    assert_eq!(site.serial().expect("all agree"), serial);
    site.host.stop().expect("the controller stops");
    let embedded = site.host.pinion(&["identity", "new-root", "--embedded", "--yes"]).expect("it runs");
    embedded.succeeded().expect("it is left");
    site.host.start_again().expect("it starts");
    site.host.renew(&[], "served").expect("under the new root");

    // The wish was good once.
    site.host.stop().expect("the controller stops");
    fs::rename(&shared, &aside).expect("moved");
    let refused = serve_to_its_end(&site.host);
    assert!(refused.code() == 2 && refused.stderr.contains(&after.to_string()), "{refused}");
}

#[test]
fn state_removed_under_a_running_controller_is_reported_and_not_made_anew() {
    let site = Site::served().expect("the certificate is served");
    let serial = site.serial().expect("all agree");
    let shared = site.host.root().join("var/lib/pinion/shared");
    let aside = site.host.root().join("var/lib/aside");
    for gone in ["", "identity-ca.json", "guests"] {
        let path = if gone.is_empty() { shared.clone() } else { shared.join(gone) };
        fs::rename(&path, &aside).expect("moved");
        let said = wait::until("it to be told", PATIENCE, || {
            let status = site.host.status().map_err(|error| format!("{error:#}"))?;
            let troubles = status.troubles.iter().map(ToString::to_string);
            let said: Vec<_> = status.notes.iter().cloned().chain(troubles).collect();
            if said.iter().any(|said| said.contains(&format!("{} is gone", path.display()))) {
                Ok(())
            } else {
                Err(format!("{said:?}"))
            }
        });
        said.unwrap_or_else(|error| panic!("{gone}: {error:#}"));
        let refused = site.host.pinion(&["token", "create", "--guest", "102"]).expect("it runs");
        assert_ne!(refused.code(), 0, "{gone}: {refused}");
        assert!(!path.exists(), "{gone}: it was made anew");
        assert_eq!(site.serial().expect("all agree"), serial);
        fs::rename(&aside, &path).expect("moved back");
        site.host.token("102").unwrap_or_else(|error| panic!("{gone}: put back, it goes on: {error:#}"));
    }
    site.host.renew(&[], "served").expect("all goes on");
}

#[test]
fn a_restored_backup_is_recognised_and_its_guests_join_again() {
    let mut site = Site::served().expect("the certificate is served");
    let mut other = Guest::join(&site.host, 1002).expect("another guest");
    let shared = site.host.root().join("var/lib/pinion/shared");
    let backup = site.host.root().join("var/lib/backup");
    copy(&shared, &backup);
    // Identities are told apart by the second that they were given in.
    let then = SystemClock.now();
    wait::until("another second", PATIENCE, || if SystemClock.now() > then { Ok(()) } else { Err("not yet") })
        .expect("time goes on");
    let again = site.guest.join_with(&site.host.token("1001").expect("a token")).expect("it runs");
    again.succeeded().expect("it has another identity");
    site.guest.wait_linked(&site.host).expect("linked");

    site.host.stop().expect("the controller stops");
    fs::remove_dir_all(&shared).expect("removed");
    copy(&backup, &shared);
    site.host.start_again().expect("it starts");
    other.wait_linked(&site.host).expect("who is on record is not concerned");
    let placement = site.host.wait_placement(Site::PLACEMENT, |placement| {
        placement.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains("newer than this controller's state"))
    });
    let trouble = placement.expect("told").trouble.expect("a trouble");
    assert!(trouble.remedy.contains("pinion token create --guest 1001"), "{trouble}");
    let status = site.host.status().expect("a status");
    let note = status.notes.iter().find(|note| note.contains("restored from a backup"));
    assert!(note.is_some_and(|note| note.starts_with("1 guest (1001) has")), "{:?}", status.notes);
    assert!(!status.is_linked("1001"), "it was let in");
    let asked = site.host.pinion(&["ensure", "--timeout", "20s"]).expect("it runs");
    assert!(asked.code() == 4 && asked.stderr.contains("pinion token create --guest 1001"), "{asked}");

    let again = site.guest.join_with(&site.host.token("1001").expect("a token")).expect("it runs");
    again.succeeded().expect("it joins anew");
    site.guest.wait_linked(&site.host).expect("linked");
    site.host.ensure(&[], "served").expect("all is well");
    assert_eq!(site.host.status().expect("a status").notes, Vec::<String>::new());
}
