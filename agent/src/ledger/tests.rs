//! What the agent remembers over versions, damage, and a disk that fails.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use pinion_proto::{
    bundle::Fingerprint,
    id::CertificateName,
    spec::{Layout, Part},
    stage::Stage,
};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::*;
use crate::install::{files::RealFiles, tests::failing::Failing};

struct Fixture {
    directory: tempfile::TempDir,
    ledgers: Ledgers,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    let ledgers = Ledgers::open(&directory.path().join("state"), Arc::new(RealFiles)).expect("opened");
    Fixture { directory, ledgers }
}

impl Fixture {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("state/placements/{name}.json"))
    }

    fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn read(&self, name: &str) -> Result<Ledger, LedgerError> {
        self.ledgers.read(&certificate(name))
    }
}

fn certificate(name: &str) -> CertificateName {
    name.parse().expect("a name")
}

/// A document as the first agents wrote it, with nothing that came later.
fn earliest() -> Value {
    json!({ "version": 1, "placement": { "spec": null, "last_generation": 7 } })
}

#[test]
fn a_document_of_an_earlier_agent_is_read_with_what_it_did_not_know_empty() {
    let fixture = fixture();
    fixture.put("docker", &earliest().to_string());
    let ledger = fixture.read("docker").expect("read");
    assert_eq!(ledger, Ledger { last_generation: 7, ..Ledger::default() });
    // Without a number it is of the first format.
    fixture.put("web", &json!({ "placement": earliest()["placement"] }).to_string());
    assert_eq!(fixture.read("web").expect("read"), ledger);
    assert!(ledger.kept.is_none() && ledger.mounts.is_empty() && !ledger.retired && !ledger.purging);
}

#[test]
fn files_in_place_that_an_earlier_agent_recorded_are_copies_whose_roots_nobody_has_seen() {
    let fixture = fixture();
    let installed = Installed {
        bundle: Bundle::of_roots(3),
        stage: Stage::Served,
        files: vec![InstalledFile {
            part: Part::Ca,
            path: "/etc/ssl/ca.pem".parse().expect("a path"),
            content: Fingerprint::of(b"roots"),
        }],
        layout: Layout::Symlink,
        roots: Box::default(),
        trusted: Box::default(),
        unnotified: true,
        adopted: false,
        as_found: Vec::new(),
    };
    let mut document = earliest();
    let mut held = serde_json::to_value(&installed).expect("JSON");
    for later in ["layout", "roots", "trusted", "untold"] {
        held.as_object_mut().expect("an object").remove(later).expect("it is written");
    }
    document["placement"]["held"] = held;
    fixture.put("docker", &document.to_string());
    let held = fixture.read("docker").expect("read").held.expect("held");
    assert_eq!(held, Installed { layout: Layout::Copy, unnotified: false, ..installed });
}

#[test]
fn a_document_of_a_newer_format_is_refused_by_its_number_whatever_is_in_it() {
    for document in [
        json!({ "version": 2, "placement": { "everything": "is otherwise" } }),
        json!({ "version": 2 }),
        json!({ "version": 4_000_000_000_u32, "placement": earliest()["placement"] }),
    ] {
        let fixture = fixture();
        fixture.put("docker", &document.to_string());
        let error = fixture.read("docker").expect_err("of another format");
        let (words, version) = (error.to_string(), document["version"].to_string());
        assert!(words.contains("docker.json") && words.contains(&version), "{words}");
        assert!(error.remedy().contains("install the agent that wrote it"), "{}", error.remedy());
        let kept = fs::read_to_string(fixture.path("docker")).expect("it stays");
        assert_eq!(kept, document.to_string());
    }
}

#[test]
fn fields_that_this_agent_does_not_know_do_not_hinder_it() {
    let fixture = fixture();
    let mut document = earliest();
    document["written_by"] = "0.9".into();
    document["placement"]["mood"] = "fine".into();
    fixture.put("docker", &document.to_string());
    assert_eq!(fixture.read("docker").expect("read").last_generation, 7);
}

#[test]
fn a_damaged_document_blocks_its_own_placement_and_is_never_replaced_by_reading() {
    let whole = earliest().to_string();
    for (damage, text) in [
        ("empty", String::new()),
        ("cut off", whole[..whole.len() / 2].to_owned()),
        ("zeros", "\0".repeat(200)),
        ("no object", "[]".to_owned()),
        ("no version that there was", json!({ "version": 0, "placement": earliest()["placement"] }).to_string()),
        ("no placement", json!({ "version": 1 }).to_string()),
        ("a negative generation", whole.replace('7', "-7")),
        ("something behind it", format!("{whole}{whole}")),
        ("larger than any", " ".repeat(9 * 1024 * 1024)),
    ] {
        let fixture = fixture();
        fixture.put("docker", &text);
        fixture.put("web", &earliest().to_string());
        let error = fixture.read("docker").expect_err(damage);
        assert!(matches!(error, LedgerError::Broken { .. }), "{damage}: {error}");
        assert!(error.to_string().contains("docker.json") && error.remedy().contains("backup"), "{damage}: {error}");
        let all = fixture.ledgers.read_all().expect("listed");
        assert!(all[&certificate("docker")].is_err() && all[&certificate("web")].is_ok(), "{damage}");
        assert_eq!(fs::read(fixture.path("docker")).expect("there"), text.into_bytes(), "{damage}");
    }
}

#[test]
fn only_documents_of_placements_are_read() {
    let fixture = fixture();
    fixture.put("docker", &earliest().to_string());
    for other in ["docker.json~", ".docker.json.new", "README", "a b.json", "docker.json.json.bak"] {
        fs::write(fixture.path("docker").with_file_name(other), "x").expect("written");
    }
    let all = fixture.ledgers.read_all().expect("listed");
    assert_eq!(all.into_keys().collect::<Vec<_>>(), [certificate("docker")]);
}

#[test]
fn what_was_never_written_is_empty_and_not_there() {
    let fixture = fixture();
    let docker = certificate("docker");
    assert_eq!(fixture.read("docker").expect("nothing"), Ledger::default());
    assert!(!fixture.ledgers.is_there(&docker));
    fixture.ledgers.remove(&docker).expect("nothing to remove");
    fixture.ledgers.write(&docker, &Ledger::default()).expect("written");
    assert!(fixture.ledgers.is_there(&docker));
    fixture.ledgers.remove(&docker).expect("removed");
    assert!(!fixture.ledgers.is_there(&docker));
}

#[test]
fn a_link_in_a_documents_place_is_not_followed() {
    let fixture = fixture();
    let elsewhere = fixture.directory.path().join("elsewhere");
    fs::write(&elsewhere, earliest().to_string()).expect("written");
    symlink(&elsewhere, fixture.path("docker")).expect("a link");
    fixture.read("docker").expect_err("a link is no document");
    fixture.ledgers.write(&certificate("docker"), &Ledger::default()).expect("written in its place");
    assert_eq!(fs::read_to_string(&elsewhere).expect("there"), earliest().to_string());
    assert!(fs::symlink_metadata(fixture.path("docker")).expect("there").is_file());
}

#[test]
fn a_write_that_fails_leaves_what_was_remembered() {
    for operation in 0..20 {
        let directory = tempfile::tempdir().expect("a directory");
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let files = Arc::new(Failing::once_after(&left, Errno::NOSPC));
        let ledgers = Ledgers::open(&directory.path().join("state"), files).expect("opened");
        let docker = certificate("docker");
        let [old, new] = [1, 2].map(|last_generation| Ledger { last_generation, ..Ledger::default() });
        ledgers.write(&docker, &old).expect("written");
        left.store(operation, Ordering::SeqCst);
        let written = ledgers.write(&docker, &new);
        let read = ledgers.read(&docker).expect("whole");
        match written {
            Ok(()) => {
                assert_eq!(read, new);
                assert!(operation > 3, "a replacement has more than {operation} operations");
                return;
            }
            Err(error) => {
                assert!(matches!(error, LedgerError::Write { .. }), "{error}");
                assert!(error.remedy().contains("free space"), "{}", error.remedy());
                assert!(read == old || read == new, "{operation}");
                ledgers.write(&docker, &new).expect("written once there is space");
                assert_eq!(ledgers.read(&docker).expect("whole"), new);
            }
        }
    }
    panic!("it always fails");
}

#[test]
fn what_is_drafted_is_remembered_when_it_is_put_in_place_and_not_before() {
    let fixture = fixture();
    let docker = certificate("docker");
    let [old, new] = [1, 2].map(|last_generation| Ledger { last_generation, ..Ledger::default() });
    fixture.ledgers.write(&docker, &old).expect("written");
    let draft = fixture.ledgers.draft(&docker, &new).expect("drafted");
    assert_eq!(fixture.read("docker").expect("read"), old);
    fixture.ledgers.put(draft).expect("in place");
    assert_eq!(fixture.read("docker").expect("read"), new);
    let mode = fs::metadata(fixture.path("docker")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it has keys in it");
}

#[test]
fn one_agent_has_the_directory_until_it_lets_go() {
    let fixture = fixture();
    let state = fixture.ledgers.state().to_owned();
    let error = Ledgers::open(&state, Arc::new(RealFiles)).expect_err("another agent");
    assert!(matches!(error, LedgerError::Busy { .. }), "{error}");
    assert!(error.to_string().contains("stop that one first") && error.remedy().contains("stop the other"), "{error}");
    fixture.ledgers.release();
    Ledgers::open(&state, Arc::new(RealFiles)).expect("free");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let state = directory.path().join("state");
    fs::write(&state, "a file").expect("written");
    let error = Ledgers::open(&state, Arc::new(RealFiles)).expect_err("no directory");
    assert!(error.to_string().contains(&state.display().to_string()), "{error}");
    assert!(error.remedy().contains("writable"), "{}", error.remedy());
}

#[test]
fn roots_that_come_beside_a_certificate_are_trusted_only_where_they_were_before() {
    let roots = ["one", "two", "three"].map(|text| Fingerprint::of(text.as_bytes()));
    let mut installed = Installed {
        bundle: Bundle::of_roots(1),
        stage: Stage::Reloaded,
        files: Vec::new(),
        layout: Layout::Copy,
        roots: roots[..2].into(),
        trusted: roots[..2].into(),
        unnotified: false,
        adopted: false,
        as_found: Vec::new(),
    };
    installed.set_roots(roots[1..].into());
    assert_eq!((&*installed.roots, &*installed.trusted), (&roots[1..], &roots[1..2]));
}
