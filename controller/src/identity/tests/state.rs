//! State that was lost, restored from a backup, or written by another version.

use std::fs;

use super::*;
use crate::authority::AuthorityError;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn lost(opened: Result<Identities, IdentityError>) -> String {
    let error = opened.expect_err("refused");
    assert!(matches!(error, IdentityError::Authority(AuthorityError::Lost { .. })), "{error}");
    error.to_string()
}

#[test]
fn after_a_backup_was_restored_a_renewed_guest_is_told_as_newer_and_joins_anew() {
    let fixture = Fixture::new();
    let (first, other, locked) = (fixture.joined("101"), fixture.joined("102"), fixture.joined("103"));
    fixture.identities.lock(name("103"), "stolen").expect("locked");
    let backup = fixture.backup();
    fixture.later(DAY);
    let second = fixture.renewed("101", &first);
    fixture.admit("101", &second).expect("renewed");
    let since = fixture.joined("104");
    fixture.later(DAY);

    let fixture = fixture.restored(&backup);
    for _ in 0..3 {
        // However often, it is not let in, and nothing is given for it.
        for (guest, shown) in [("101", &second), ("104", &since)] {
            let error = fixture.admit(guest, shown).expect_err("newer");
            assert!(matches!(error, Refused::Newer { .. }), "{error}");
            let error = fixture.identities.renew(name(guest), shown, &csr()).expect_err("newer");
            assert!(matches!(error, JoinRefused::Identity(Refused::Newer { .. })), "{error}");
        }
    }
    assert_eq!(fixture.identities.guest(name("104")).expect("read"), None, "nothing was recorded of it");
    fixture.admit("102", &other).expect("who was not renewed is not concerned");
    let error = fixture.admit("103", &locked).expect_err("locked");
    assert!(matches!(error, Refused::Locked { .. }), "{error}");

    let third = fixture.joined("101");
    fixture.admit("101", &third).expect("joined anew");
    // From now on the record knows better.
    let error = fixture.admit("101", &second).expect_err("replaced");
    assert!(matches!(error, Refused::Replaced { .. }), "{error}");
}

#[test]
fn records_that_are_gone_are_told_from_guests_that_were_forgotten() {
    let fixture = Fixture::new();
    let (shown, forgotten) = (fixture.joined("101"), fixture.joined("102"));
    fixture.later(DAY);
    fixture.identities.forget(name("102")).expect("forgotten");
    fs::remove_dir_all(fixture.directory.path().join("shared/guests")).expect("removed");
    let fixture = fixture.restarted();
    let error = fixture.admit("101", &shown).expect_err("not on record");
    assert!(matches!(error, Refused::Newer { .. }), "{error}");
    let error = fixture.admit("102", &forgotten).expect_err("forgotten");
    assert!(matches!(error, Refused::Unknown { .. }), "{error}");
}

#[test]
fn a_root_that_was_lost_is_not_made_anew_by_itself() {
    let fixture = Fixture::new();
    let (shown, root) = (fixture.joined("101"), fixture.identities.root().clone());
    let (directory, clock) = (fixture.directory, fixture.clock);
    drop(fixture.identities);
    let path = |file: &str| directory.path().join(file);
    let keep = TempDir::new().expect("a directory");
    let aside = |name: &str| fs::rename(path(name), keep.path().join("aside")).expect("moved");
    let back = |name: &str| fs::rename(keep.path().join("aside"), path(name)).expect("moved back");

    // All of the shared area; its top alone; the root alone, where nothing local remembers it.
    aside("shared");
    let text = lost(open(&directory, clock.clone(), None));
    assert!(
        text.contains("pinion identity new-root --yes") && text.contains(&root.fingerprint().to_string()),
        "{text}"
    );
    assert!(!path("shared").exists(), "nothing is in the way of the backup");
    back("shared");
    aside("shared/identity-ca.json");
    lost(open(&directory, clock.clone(), None));
    fs::remove_dir_all(path("local")).expect("removed");
    let text = lost(open(&directory, clock.clone(), None));
    assert!(text.contains("1 guests have identities under it"), "{text}");
    back("shared/identity-ca.json");
    // What is local can be lost.
    let identities = open(&directory, clock.clone(), None).expect("the root is there");
    assert_eq!(*identities.root(), root);
    drop(identities);

    // One that earlier programs have left: nothing is noted, and what guests reported is there.
    fs::remove_dir_all(path("local/authorities")).expect("removed");
    fs::create_dir_all(path("local/reports")).expect("made");
    fs::write(path("local/reports/101.json"), "{}").expect("written");
    aside("shared");
    lost(open(&directory, clock.clone(), None));
    fs::remove_dir_all(path("shared")).ok();
    back("shared");

    // A person wants another root: once.
    fs::remove_dir_all(path("shared")).expect("removed");
    fs::write(path("local/new-root.json"), r#"{"version":1,"data":{"asked_at":"2027-01-15T08:00:00Z"}}"#)
        .expect("written");
    let identities = open(&directory, clock.clone(), None).expect("a new root");
    assert_ne!(*identities.root(), root);
    assert!(!path("local/new-root.json").exists(), "the wish is spent");
    let made = identities.root().clone();
    let error = identities.admit(
        name("101"),
        &shown,
        LinkCaller { facts: &GuestFacts::default(), from: "127.0.0.1:1".parse().expect("one") },
    );
    error.expect_err("not by the old identity");
    drop(identities);
    fs::remove_dir_all(path("shared")).expect("removed");
    let text = lost(open(&directory, clock, None));
    assert!(text.contains(&made.fingerprint().to_string()), "{text}");
}

#[test]
fn the_administrators_file_names_the_root_where_all_else_is_lost() {
    let fixture = Fixture::new();
    let root = fixture.identities.root().fingerprint();
    let (directory, clock) = (fixture.directory, fixture.clock);
    drop(fixture.identities);
    let host = TempDir::new().expect("a directory");
    fs::create_dir_all(host.path().join("etc/pinion")).expect("made");
    let pin = host.path().join("etc/pinion/identity-root");
    let nobody = Client::new(&host.path().join("channel.sock"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let open = |directory: &TempDir| {
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
        let (store, on_host) = (Arc::new(store), (host.path(), &nobody, true));
        runtime.block_on(Identities::open_on_host(&store, clock.clone(), None, Arc::new(NoMachines), on_host))
    };
    fs::write(&pin, format!("# the root of the agents' identities\n{root}\n")).expect("written");
    open(&directory).expect("it is that one");
    let empty = TempDir::new().expect("a directory");
    let text = lost(open(&empty));
    assert!(text.contains("etc/pinion/identity-root names the root"), "{text}");
    fs::write(&pin, "0".repeat(64)).expect("written");
    let error = open(&directory).expect_err("another root");
    assert!(matches!(error, IdentityError::Authority(AuthorityError::Another(_))), "{error}");
    fs::write(&pin, "x").expect("written");
    let error = open(&directory).expect_err("no fingerprint").to_string();
    assert!(error.contains("identity-root does not name"), "{error}");
}

#[test]
fn what_another_version_wrote_is_kept_and_what_is_too_new_is_refused_by_name() {
    let fixture = Fixture::new();
    let shown = fixture.joined("101");
    let path = fixture.directory.path().join("shared/guests/101.json");
    let read = || serde_json::from_slice::<serde_json::Value>(&fs::read(&path).expect("read")).expect("JSON");
    let mut document = read();
    document["data"]["home"] = "pve2".into();
    document["data"]["facts"]["os"] = "alpine".into();
    document["written_by"] = "9.9".into();
    fs::write(&path, document.to_string()).expect("written");
    let next = fixture.renewed("101", &shown);
    fixture.admit("101", &next).expect("admitted");
    fixture.identities.lock(name("101"), "why").expect("locked");
    fixture.identities.unlock(name("101")).expect("unlocked");
    fixture.joined("101");
    let kept = read();
    assert_eq!(
        (&kept["data"]["home"], &kept["data"]["facts"]["os"], &kept["written_by"]),
        (&"pve2".into(), &"alpine".into(), &"9.9".into()),
        "{kept}"
    );

    // Without a number it is of the first format.
    let mut document = read();
    document.as_object_mut().expect("an object").remove("version");
    fs::write(&path, document.to_string()).expect("written");
    assert!(fixture.identities.guest(name("101")).expect("read").is_some());

    let token = fixture.token("101");
    for file in ["shared/guests/101.json", "shared/join-tokens/101.json"] {
        let path = fixture.directory.path().join(file);
        let before = fs::read_to_string(&path).expect("read");
        let newer = if before.contains("\"version\"") {
            before.replacen("\"version\":1", "\"version\":2", 1)
        } else {
            before.replacen('{', "{\"version\":2,", 1)
        };
        fs::write(&path, &newer).expect("written");
        let error = fixture.join("101", &token.secret).expect_err("too new");
        let text = pinion_proto::causes::chain(&error);
        assert!(text.contains(&format!("{file} has format 2, written by a newer Pinion")), "{text}");
        let made = fixture.identities.create_token(name("101"), Vec::new());
        assert!(made.is_err(), "{file}: it is not replaced");
        assert_eq!(fs::read_to_string(&path).expect("there"), newer, "it is not touched");
        fs::write(&path, before).expect("written");
    }
}

#[test]
fn of_many_that_spend_one_token_one_joins() {
    let directory = TempDir::new().expect("a directory");
    let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000)));
    let open = |local: &str| {
        let store = Store::open(&directory.path().join(local), &directory.path().join("shared")).expect("a store");
        Identities::open(&Arc::new(store), clock.clone(), None, Arc::new(NoMachines)).expect("identities")
    };
    // As two nodes that share the directory.
    let all: Vec<_> = (0..4).map(|n| open(&format!("local-{n}"))).collect();
    assert!(all.iter().all(|one| one.root() == all[0].root() && one.trust_domain() == all[0].trust_domain()));
    for round in 0..40 {
        let token = all[round % 4].create_token(name("101"), Vec::new()).expect("a token");
        let start = std::sync::Barrier::new(all.len());
        let joined = std::thread::scope(|scope| {
            let threads: Vec<_> = all
                .iter()
                .map(|one| {
                    let (start, token) = (&start, &token);
                    scope.spawn(move || {
                        let facts = GuestFacts::default();
                        let request =
                            JoinRequest { guest: name("101"), secret: token.secret.clone(), csr: csr(), facts };
                        start.wait();
                        one.join(&request, Timestamp::from_unix(1_800_000_000)).is_ok()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).filter(|ok| *ok).count()
        });
        assert_eq!(joined, 1, "round {round}");
    }
}

#[test]
fn of_many_that_start_on_nothing_one_makes_the_root_and_the_domain() {
    for round in 0..10 {
        let directory = TempDir::new().expect("a directory");
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000)));
        let start = std::sync::Barrier::new(5);
        let roots = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..5)
                .map(|n| {
                    let (start, clock, directory) = (&start, clock.clone(), &directory);
                    scope.spawn(move || {
                        let local = directory.path().join(format!("local-{n}"));
                        start.wait();
                        let store = Store::open(&local, &directory.path().join("shared")).expect("a store");
                        let opened = Identities::open(&Arc::new(store), clock, None, Arc::new(NoMachines));
                        let opened = opened.expect("identities");
                        (opened.root().fingerprint(), opened.trust_domain().clone())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
        });
        assert!(roots.iter().all(|one| *one == roots[0]), "round {round}: {roots:?}");
    }
}

/// The next start of a controller of which this was asked.
pub(super) fn asked(fixture: Fixture, at_once: bool) -> Fixture {
    let wish = format!(r#"{{"version":1,"data":{{"asked_at":"2027-01-15T08:00:00Z","at_once":{at_once}}}}}"#);
    fs::write(fixture.directory.path().join("local/new-root.json"), wish).expect("written");
    fixture.restarted()
}

#[test]
fn the_next_root_takes_over_when_every_guest_trusts_it_and_nobody_joins_anew() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.joined("101"), fixture.joined("102"));
    let before = fixture.identities.root().clone();
    assert!(fixture.identities.next_root().is_none() && fixture.identities.rollover().expect("read").is_none());

    let fixture = asked(fixture, false);
    let endorsed = fixture.identities.next_root().expect("it is on its way").clone();
    endorsed.check(&before).expect("the root of before vouches for it");
    let next = endorsed.root.fingerprint();
    assert_eq!(*fixture.identities.root(), before, "the one of before goes on");
    assert_eq!(fixture.identities.trusted_roots(), [before.clone(), endorsed.root.clone()]);
    let missing = |fixture: &Fixture| fixture.identities.rollover().expect("read").expect("one").missing;
    assert_eq!(missing(&fixture), [name("101"), name("102")]);
    fixture.identities.note_roots(name("101"), &[before.fingerprint(), next]).expect("noted");
    fixture.identities.note_roots(name("102"), &[before.fingerprint()]).expect("noted");
    assert_eq!(missing(&fixture), [name("102")]);

    let fixture = fixture.restarted();
    assert_eq!(*fixture.identities.root(), before, "one guest does not trust it yet");
    assert_eq!(fixture.identities.next_root().map(|next| next.root.clone()), Some(endorsed.root.clone()));
    fixture.identities.note_roots(name("102"), &[next]).expect("noted");
    assert_eq!(fixture.token("103").root, before, "who joins is told of it on the link");
    let fixture = fixture.restarted();
    assert_eq!(fixture.identities.root().fingerprint(), next);
    assert!(fixture.identities.next_root().is_none());
    assert_eq!(fixture.identities.trusted_roots(), [endorsed.root.clone(), before.clone()]);
    for (guest, shown) in [("101", &first), ("102", &second)] {
        fixture.admit(guest, shown).expect("its identity is on record");
    }
    let third = fixture.renewed("101", &first);
    fixture.admit("101", &third).expect("renewed under the next root");
    assert_eq!(fixture.token("103").root, endorsed.root);

    // The root of before is over when no identity under it can be.
    fixture.later(31 * DAY);
    let fixture = fixture.restarted();
    assert_eq!(fixture.identities.trusted_roots(), std::slice::from_ref(&endorsed.root));

    // With the key in the wrong hands nobody waits for anybody.
    let fixture = asked(fixture, true);
    assert_eq!(fixture.identities.trusted_roots().len(), 1);
    assert_ne!(fixture.identities.root().fingerprint(), next);
}

#[test]
fn a_takeover_that_was_interrupted_is_gone_on_with() {
    let fixture = Fixture::new();
    fixture.joined("101");
    let before = fixture.identities.root().clone();
    let fixture = asked(fixture, false);
    let next = fixture.identities.next_root().expect("one").root.clone();
    fixture.identities.note_roots(name("101"), &[next.fingerprint()]).expect("noted");
    let shared = fixture.directory.path().join("shared");
    let noted = fixture.directory.path().join("local/authorities/identity-ca.json");
    let (old_note, rolling) = (fs::read(&noted).expect("noted"), fixture.backup());
    let mut fixture = fixture.restarted();
    assert_eq!(*fixture.identities.root(), next);
    let done = fixture.backup();
    let file = |backup: &TempDir, name: &str| backup.path().join("shared").join(name);
    for step in 0..3 {
        let Fixture { directory, clock, identities } = fixture;
        drop(identities);
        fs::remove_dir_all(&shared).expect("removed");
        copy(&file(&rolling, ""), &shared);
        fs::write(&noted, &old_note).expect("written");
        // The former is written; the root has made way; the next has its name.
        fs::copy(file(&done, "identity-former.json"), shared.join("identity-former.json")).expect("copied");
        if step >= 1 {
            fs::rename(shared.join("identity-ca.json"), shared.join("identity-ca-before.json")).expect("renamed");
        }
        if step >= 2 {
            fs::rename(shared.join("identity-ca-next.json"), shared.join("identity-ca.json")).expect("renamed");
        }
        let identities = open(&directory, clock.clone(), None).unwrap_or_else(|error| panic!("step {step}: {error}"));
        assert_eq!(*identities.root(), next, "step {step}");
        assert_eq!(identities.trusted_roots(), [next.clone(), before.clone()], "step {step}");
        fixture = Fixture { directory, clock, identities }.restarted();
        assert_eq!(*fixture.identities.root(), next, "step {step}");
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}
