//! When the controller's own next root takes over, and what a crash or a loss must not be taken for.

use rcgen::{BasicConstraints, IsCa};

use super::{state::asked, *};
use crate::{authority, store::Area};

const NOW: i64 = 1_800_000_000;

fn some_root() -> RootCertificate {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("signed");
    RootCertificate::parse(certificate.der()).expect("a root")
}

fn store(directory: &TempDir) -> Arc<Store> {
    let path = |name| directory.path().join(name);
    Arc::new(Store::open(&path("local"), &path("shared")).expect("a store"))
}

fn now() -> Timestamp {
    Timestamp::from_unix(NOW)
}

/// An installation whose next root is on its way to the one guest, which trusts it or not.
fn on_its_way(trusted: bool) -> (TempDir, RootCertificate, Fingerprint) {
    let fixture = Fixture::new();
    fixture.joined("101");
    let fixture = asked(fixture, false);
    let current = fixture.identities.root().clone();
    let next = fixture.identities.next_root().expect("it is on its way").root.fingerprint();
    if trusted {
        fixture.identities.note_roots(name("101"), &[current.fingerprint(), next]).expect("noted");
    }
    // Its store is one controller's alone.
    let Fixture { directory, .. } = fixture;
    (directory, current, next)
}

#[test]
fn a_file_that_names_a_root_holds_up_every_other_one() {
    // Whether every guest trusts the next root, which root the file names, whether it takes over, and whether the file
    // is still to be heeded.
    for (trusted, names, takes_over, heeded) in [
        (true, None, true, false),
        (true, Some("current"), false, true),
        (true, Some("next"), true, true),
        (false, None, false, false),
        (false, Some("current"), false, true),
        (false, Some("next"), false, false),
    ] {
        let (directory, current, next) = on_its_way(trusted);
        let (store, current) = (store(&directory), current.fingerprint());
        let mut pinned = names.map(|names| (if names == "next" { next } else { current }, "identity-root".into()));
        rollover::advance(&store, &Guests::new(store.clone()), &mut pinned, now()).expect("it goes on");
        let signs = authority::stored_root(&store, ROOT_DOCUMENT).expect("read").expect("one").fingerprint();
        assert_eq!((signs == next, pinned.is_some()), (takes_over, heeded), "trusted: {trusted}, the file: {names:?}");
    }
}

#[test]
fn a_root_that_is_lost_is_not_taken_for_one_that_has_made_way() {
    // Some earlier root made way once; the one that is lost did not.
    for (what, made_way, takes_over) in [("lost", false, false), ("made way", true, true)] {
        let (directory, current, next) = on_its_way(true);
        let store = store(&directory);
        let former = if made_way { current } else { some_root() };
        rollover::note_former(&store, &former, now()).expect("noted");
        store.remove(Area::Shared, ROOT_DOCUMENT).expect("removed");
        rollover::resume(&store).expect("it goes on");
        let signs = authority::stored_root(&store, ROOT_DOCUMENT).expect("read").map(|root| root.fingerprint());
        assert_eq!(signs, takes_over.then_some(next), "{what}");
    }
}

#[test]
fn a_note_of_the_root_follows_a_takeover_and_nothing_else() {
    let (noted, other, current) = (some_root(), some_root(), some_root().fingerprint());
    for (what, former, follows) in [
        ("no root has made way", None, false),
        ("another one has", Some(&other), false),
        ("it has", Some(&noted), true),
    ] {
        let directory = TempDir::new().expect("a directory");
        let store = store(&directory);
        authority::note_root(&store, ROOT_DOCUMENT, noted.fingerprint()).expect("noted");
        if let Some(former) = former {
            rollover::note_former(&store, former, now()).expect("noted");
        }
        rollover::renote(&store, ROOT_DOCUMENT, current).expect("it goes on");
        let expected = if follows { current } else { noted.fingerprint() };
        assert_eq!(authority::noted(&store, ROOT_DOCUMENT).expect("read"), Some(expected), "{what}");
    }
    let directory = TempDir::new().expect("a directory");
    rollover::renote(&store(&directory), ROOT_DOCUMENT, current).expect("it goes on");
    assert_eq!(authority::noted(&store(&directory), ROOT_DOCUMENT).expect("read"), None, "there was none");
}

#[test]
fn a_guest_that_is_locked_holds_up_no_root() {
    let fixture = Fixture::new();
    for guest in ["101", "102"] {
        fixture.joined(guest);
    }
    let missing = || {
        let all = fixture.identities.guests().expect("read");
        rollover::missing(&all, some_root().fingerprint())
    };
    assert_eq!(missing(), [name("101"), name("102")]);
    assert!(fixture.identities.lock(name("101"), "there may be two of it").expect("locked"));
    assert_eq!(missing(), [name("102")]);
    fixture.identities.forget(name("102")).expect("forgotten");
    assert!(missing().is_empty());
}
