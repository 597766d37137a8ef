//! From the root process's root to its next one: by a person's wish alone, and whole after every crash.

use std::{fs, path::PathBuf, sync::Arc};

use pinion_proto::bundle::{EndorsedRoot, RootCertificate};
use tempfile::TempDir;

use super::{
    held::{Asked, Held},
    *,
};
use crate::{
    authority::fresh_key,
    identity::{IdentityError, NewRoot, NextWish, PIN},
    store::{Area, Files, NEW_ROOT, NEXT_ROOT, RealFiles, Store, cut::Cut},
};
use pinion_proto::bundle::Fingerprint;

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// More than any of these changes consists of.
const MAX_CHANGES: usize = 60;

struct Host(TempDir);

impl Host {
    /// With a root process that has a root.
    fn new() -> (Self, Fingerprint) {
        let host = Self::empty();
        let first = host.open().root(Asked::default()).expect("made");
        (host, first)
    }

    fn empty() -> Self {
        let host = Self(TempDir::new().expect("a directory"));
        fs::create_dir_all(host.0.path().join("etc/pinion")).expect("made");
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn try_open(&self, files: Arc<dyn Files>) -> Result<Held, IdentityError> {
        let directory = self.path(DIRECTORY);
        Held::open_in(Store::open_on(&directory, &directory, files)?.impatient(), self.path(PIN), None, NOW)
    }

    fn open(&self) -> Held {
        self.try_open(Arc::new(RealFiles)).expect("it opens")
    }

    fn wish(&self, of_controller: Option<&str>) {
        let directory = self.path(DIRECTORY);
        let store = Store::open(&directory, &directory).expect("a store");
        let of_controller = of_controller.map(|domain| domain.parse().expect("a domain"));
        store.write(Area::Local, NEXT_ROOT, &NextWish { asked_at: NOW, of_controller }).expect("left");
    }

    /// With a root, and another that follows it.
    fn rolling() -> (Self, Fingerprint, Fingerprint) {
        let (host, first) = Self::new();
        host.wish(None);
        let next = host.open().next().expect("one").root.fingerprint();
        (host, first, next)
    }

    /// Everything that is there, by path.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut directories = vec![self.0.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    found.push((path.clone(), fs::read(path).expect("readable")));
                }
            }
        }
        found.sort();
        found
    }

    fn key(&self, document: &str) -> String {
        let text = fs::read(self.path(DIRECTORY).join(document)).expect("a document");
        let document: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        document["data"]["key"].as_str().expect("a key").to_owned()
    }

    fn has(&self, text: &str) -> bool {
        self.files().iter().any(|(_, content)| String::from_utf8_lossy(content).contains(text))
    }

    fn copy(&self) -> Self {
        let copy = Self::empty();
        for (path, content) in self.files() {
            let to = copy.0.path().join(path.strip_prefix(self.0.path()).expect("below"));
            fs::create_dir_all(to.parent().expect("one")).expect("made");
            fs::write(to, content).expect("written");
        }
        copy
    }
}

impl Held {
    fn root(&mut self, asked: Asked) -> Result<Fingerprint, Failure> {
        self.signer(asked, NOW).map(|(authority, _)| authority.root().fingerprint())
    }
}

fn knows(root: Fingerprint) -> Asked {
    Asked { known: Some(root), takes_over: None }
}

fn all_trust(known: Fingerprint, next: Fingerprint) -> Asked {
    Asked { known: Some(known), takes_over: Some(next) }
}

#[test]
fn no_caller_makes_or_chooses_a_root() {
    let (host, first) = Host::new();
    let stranger = Fingerprint::of(b"x");
    let before = host.files();
    let mut held = host.open();
    for asked in [all_trust(first, stranger), all_trust(stranger, stranger), knows(stranger)] {
        let failure = held.root(asked).expect_err("refused");
        assert!(failure.cause == Cause::Refused && failure.text.contains(&first.to_string()), "{asked:?}: {failure}");
    }
    // Nor is the next one another than the one that was asked for by a person, and it is not told before.
    assert!(held.next().is_none());
    assert_eq!(held.root(knows(first)), Ok(first));
    drop(held);
    assert_eq!(host.files(), before, "nothing has changed");
    let (host, first, next) = Host::rolling();
    let mut held = host.open();
    held.root(all_trust(first, stranger)).expect_err("refused");
    assert_eq!(held.next().map(|next| next.root.fingerprint()), Some(next));
}

#[test]
fn the_previous_key_stays_until_the_caller_is_under_the_next_root() {
    let (host, first, next) = Host::rolling();
    let (old_key, mut held) = (host.key("identity-ca.json"), host.open());
    let told = held.next().expect("one");
    let endorsement = STANDARD.decode(told.endorsement.expect("the present root's word")).expect("base64");
    let current: RootCertificate = {
        let (authority, _) = held.signer(knows(first), NOW).expect("signs");
        authority.root().clone()
    };
    EndorsedRoot { root: told.root, endorsement }.check(&current).expect("it vouches for it");
    // An answer that was lost is asked for again.
    for _ in 0..2 {
        assert_eq!(held.root(all_trust(first, next)), Ok(next));
        assert_eq!(held.root(knows(first)), Ok(first), "a controller that has not recorded it goes on");
    }
    assert!(host.has(&old_key));
    assert_eq!(held.root(knows(next)), Ok(next));
    assert!(!host.has(&old_key), "the previous key is gone");
    held.root(knows(first)).expect_err("it has made way");
    assert_eq!(held.root(all_trust(first, next)), Ok(next), "asked once more after a crash of the controller");
    assert!(held.next().is_none());
    drop(held);
    let pin = fs::read_to_string(host.path(PIN)).expect("named");
    assert!(pin.contains(&next.to_string()) && !pin.contains(&first.to_string()), "{pin}");
    assert_eq!(host.open().root(knows(next)), Ok(next));
}

#[test]
fn a_wish_makes_one_next_root_wherever_it_is_interrupted() {
    let (host, first) = Host::new();
    host.wish(None);
    for changes in 0..MAX_CHANGES {
        let host = host.copy();
        let cut = Arc::new(Cut::after(changes));
        let interrupted = host.try_open(cut.clone()).ok().and_then(|held| held.next());
        let mut held = host.open();
        let next = held.next().unwrap_or_else(|| panic!("lost after {changes} changes")).root.fingerprint();
        assert!(interrupted.is_none_or(|told| told.root.fingerprint() == next), "after {changes} changes");
        assert_eq!(held.root(knows(first)), Ok(first), "after {changes} changes");
        assert!(!host.path(DIRECTORY).join("next-root.json").exists(), "after {changes} changes");
        if !cut.is_over() {
            return assert!(changes > 3, "it was interrupted");
        }
    }
    panic!("more than {MAX_CHANGES} changes");
}

#[test]
fn a_takeover_goes_on_wherever_it_is_interrupted() {
    let (host, first, next) = Host::rolling();
    for changes in 0..MAX_CHANGES {
        let host = host.copy();
        let cut = Arc::new(Cut::after(changes));
        let interrupted = host.try_open(cut.clone()).map(|mut held| held.root(knows(next)).is_ok());
        let mut held = host.open();
        if let Ok(again) = held.root(knows(first)) {
            // It has not made way: then the controller has heard of a failure.
            assert_eq!((again, interrupted.unwrap_or(false)), (first, false), "after {changes} changes");
            assert_eq!(held.next().map(|next| next.root.fingerprint()), Some(next), "after {changes} changes");
        }
        assert_eq!(held.root(all_trust(first, next)), Ok(next), "after {changes} changes");
        assert_eq!(held.root(knows(next)), Ok(next), "after {changes} changes");
        drop(held);
        assert_eq!(host.open().root(knows(next)), Ok(next), "after {changes} changes: nothing refuses it");
        if !cut.is_over() {
            return assert!(changes > 3, "it was interrupted");
        }
    }
    panic!("more than {MAX_CHANGES} changes");
}

#[test]
fn a_file_that_names_a_root_follows_and_never_refuses_the_one_that_signs() {
    let (host, first, next) = Host::rolling();
    let name = |root: Fingerprint| fs::write(host.path(PIN), format!("{root}\n")).expect("written");
    name(next);
    assert_eq!(host.open().root(knows(first)), Ok(first), "it names the next one already");
    name(Fingerprint::of(b"x"));
    host.try_open(Arc::new(RealFiles)).expect_err("a stranger's");
    name(first);
    assert_eq!(host.open().root(knows(next)), Ok(next));
    // A file that was put back by whoever manages it.
    name(first);
    assert_eq!(host.open().root(knows(next)), Ok(next));
    assert!(fs::read_to_string(host.path(PIN)).expect("named").contains(&next.to_string()));
}

#[test]
fn a_controllers_root_is_followed_by_one_of_this_process() {
    let host = Host::empty();
    let own = Fingerprint::of(b"the controller's");
    fs::create_dir_all(host.path(DIRECTORY)).expect("made");
    fs::write(host.path(PIN), format!("{own}\n")).expect("written");
    host.wish(Some("a9c38623.pinion"));
    let mut held = host.open();
    let told = held.next().expect("one");
    assert_eq!(told.endorsement, None, "the controller vouches for it");
    let next = told.root.fingerprint();
    for asked in [Asked::default(), knows(own), all_trust(own, Fingerprint::of(b"x"))] {
        let failure = held.root(asked).expect_err("no root yet");
        assert!(failure.text.contains(&next.to_string()), "{asked:?}: {failure}");
    }
    assert_eq!(held.root(all_trust(own, next)), Ok(next));
    drop(held);
    assert!(!host.path(DIRECTORY).join("identity-ca.json").exists(), "it has not taken over");
    let mut held = host.open();
    let (authority, domain) = held.signer(knows(next), NOW).expect("signs");
    assert_eq!((authority.root().fingerprint(), domain.to_string().as_str()), (next, "a9c38623.pinion"));
    let (_, csr) = fresh_key().expect("a key");
    authority.sign_node(&csr, &domain, "pve1", NOW).expect("signed");
    drop(held);
    assert!(fs::read_to_string(host.path(PIN)).expect("named").contains(&next.to_string()));
    let mut held = host.open();
    assert_eq!(held.root(all_trust(own, next)), Ok(next), "asked once more after a crash of the controller");
    held.root(knows(own)).expect_err("it has made way");
    drop(held);
    // The wish was for an installation without a root here: it makes no second one.
    host.wish(Some("a9c38623.pinion"));
    assert!(host.open().next().is_none());
}

#[test]
fn a_root_that_is_given_up_takes_the_next_one_along() {
    let (host, first, next) = Host::rolling();
    let next_key = host.key("identity-ca-next.json");
    let directory = host.path(DIRECTORY);
    let store = Store::open(&directory, &directory).expect("a store");
    let wish = NewRoot { asked_at: NOW, at_once: true, keep: false };
    store.write(Area::Local, NEW_ROOT, &wish).expect("left");
    drop(store);
    let mut held = host.open();
    let made = held.root(Asked::default()).expect("made");
    assert!(made != first && made != next && held.next().is_none());
    assert!(!host.has(&next_key));
}
