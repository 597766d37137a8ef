//! One guest, one agent: clones, guests that were rolled back, and guests that are locked.

use super::*;

#[test]
fn a_copy_never_speaks_as_the_original_and_leaves_it_undisturbed() {
    let fixture = Fixture::with_cards();
    let shown = fixture.joined("101");
    fixture.links("101", &shown, &machine(&["101"], "a/1")).expect("the original");
    let refused = fixture.links("101", &shown, &machine(&["102"], "b/1")).expect_err("its copy");
    assert!(matches!(refused, Refused::Copy { really, .. } if really.number() == 102), "{refused}");
    assert_eq!(fixture.lock("101"), None);
    fixture.links("101", &shown, &machine(&["101"], "a/1")).expect("the original goes on");

    // A copy of long ago shows what was renewed since: that says nothing of the original either.
    let next = fixture.renewed("101", &shown);
    fixture.links("101", &next, &machine(&["101"], "a/1")).expect("renewed");
    fixture.links("101", &shown, &machine(&["102"], "b/2")).expect_err("its copy");
    assert_eq!(fixture.lock("101"), None);
}

#[test]
fn a_copy_that_the_hypervisor_has_not_listed_yet_is_sent_away_and_locks_nobody() {
    let fixture = Fixture::with_cards();
    let request = JoinRequest {
        guest: name("101"),
        secret: fixture.token("101").secret,
        csr: csr(),
        // One that the hypervisor knows, and one that the guest made up itself.
        facts: machine(&["101", "555"], "a/1"),
    };
    let shown = peer(&fixture.identities.join(&request, fixture.clock.now()).expect("joined"));
    for boot in ["b/1", "b/2"] {
        fixture.links("101", &shown, &machine(&["101"], "a/1")).expect("the original");
        let refused = fixture.links("101", &shown, &machine(&["999"], boot)).expect_err("a copy");
        assert!(matches!(refused, Refused::Strange { .. }), "{refused}");
    }
    assert_eq!(fixture.lock("101"), None);
    fixture.links("101", &shown, &machine(&["999", "555"], "a/1")).expect("its own card is enough");
}

#[test]
fn a_guest_that_was_rolled_back_has_to_join_again_and_is_not_locked() {
    let fixture = Fixture::with_cards();
    let before = fixture.joined("101");
    let after = fixture.renewed("101", &before);
    fixture.links("101", &after, &machine(&["101"], "a/1")).expect("renewed");
    let refused = fixture.links("101", &before, &machine(&["101"], "a/2")).expect_err("rolled back");
    assert!(matches!(refused, Refused::RolledBack { .. }), "{refused}");
    assert_eq!(fixture.lock("101"), None);
    let again = fixture.joined("101");
    fixture.links("101", &again, &machine(&["101"], "a/2")).expect("joined anew");
}

#[test]
fn a_machine_with_another_vmgenid_has_to_join_again() {
    let cards = Cards::default();
    let fixture = Fixture::with_machines(cards.clone());
    let genid = |text: &str| *cards.vmgenid.lock().expect("unpoisoned") = Some(text.to_owned());
    let (shown, other) = (fixture.joined("101"), fixture.joined("102"));
    let (one, two) = (machine(&["101"], "a/1"), machine(&["102"], "b/1"));
    genid("before");
    fixture.links("101", &shown, &one).expect("it is known from now on");
    fixture.links("101", &shown, &one).expect("the same machine");
    genid("after");
    let refused = fixture.links("101", &shown, &one).expect_err("rolled back");
    assert!(matches!(refused, Refused::MachineChanged { .. }), "{refused}");
    // Rolled forward again, the hypervisor makes another one; the identity stays out whatever comes.
    genid("before");
    let refused = fixture.links("101", &shown, &one).expect_err("not trusted any more");
    assert!(matches!(refused, Refused::RolledBack { .. }), "{refused}");
    assert_eq!(fixture.lock("101"), None);
    fixture.links("102", &other, &two).expect("others are not concerned");
    genid("now");
    let again = fixture.joined("101");
    fixture.links("101", &again, &one).expect("joined as the machine that it is now");
    fixture.links("101", &shown, &one).expect_err("the old one stays out");
}

#[test]
fn an_identity_that_is_given_up_stays_out_until_the_guest_joins() {
    let fixture = Fixture::with_cards();
    let (shown, other) = (fixture.joined("101"), fixture.joined("102"));
    let next = fixture.renewed("101", &shown);
    fixture.identities.distrust(name("101")).expect("given up");
    fixture.identities.distrust(name("999")).expect("nothing to give up");
    for given in [&shown, &next] {
        let refused = fixture.links("101", given, &machine(&["101"], "a/1")).expect_err("given up");
        assert!(matches!(refused, Refused::RolledBack { .. }), "{refused}");
    }
    fixture.identities.unlock(name("101")).expect("unlocked");
    let again = fixture.joined("101");
    fixture.links("101", &again, &machine(&["101"], "a/1")).expect("joined anew");
    fixture.links("102", &other, &machine(&["102"], "b/1")).expect("others are not concerned");
}

#[test]
fn what_is_decided_against_a_guest_holds_while_it_cannot_be_written_and_is_written_later() {
    let refusal = crate::store::pmxcfs::Refusal { errno: rustix::io::Errno::ACCESS, shows: false };
    let (fixture, files) = on_pmxcfs(Arc::new(Cards::default()));
    let (given_up, locked, other) = (fixture.joined("101"), fixture.joined("102"), fixture.joined("103"));
    files.refuse(Some(refusal));
    fixture.identities.distrust(name("101")).expect_err("it cannot be written");
    fixture.identities.lock(name("102"), "there are two of it").expect_err("it cannot be written");
    // However often it dials.
    for boot in ["a/1", "a/2", "a/3", "a/4"] {
        let refused = fixture.links("101", &given_up, &machine(&["101"], boot)).expect_err("given up");
        assert!(matches!(refused, Refused::RolledBack { .. }), "{refused}");
        let refused = fixture.links("102", &locked, &machine(&["102"], boot)).expect_err("locked");
        assert!(matches!(refused, Refused::Locked { .. }), "{refused}");
    }
    assert!(fixture.lock("102").is_some(), "and it is told");
    fixture.links("103", &other, &machine(&[], "c/1")).expect("others are not concerned");

    files.refuse(None);
    fixture.identities.catch_up();
    let fixture = fixture.restarted();
    fixture.admit("101", &given_up).expect_err("given up for good");
    assert!(matches!(fixture.admit("102", &locked), Err(Refused::Locked { .. })));
    fixture.admit("103", &other).expect("others are not concerned");
}

#[test]
fn whoever_joins_anew_is_not_held_to_what_was_decided_before() {
    let refusal = crate::store::pmxcfs::Refusal { errno: rustix::io::Errno::ACCESS, shows: false };
    let (fixture, files) = on_pmxcfs(Arc::new(Cards::default()));
    let given_up = fixture.joined("101");
    files.refuse(Some(refusal));
    fixture.identities.distrust(name("101")).expect_err("it cannot be written");
    files.refuse(None);
    let again = fixture.joined("101");
    fixture.links("101", &again, &machine(&["101"], "a/1")).expect("joined anew");
    fixture.identities.catch_up();
    fixture.links("101", &again, &machine(&["101"], "a/1")).expect("and stays");
    fixture.links("101", &given_up, &machine(&["101"], "a/1")).expect_err("given up");
}

#[test]
fn where_nobody_knows_the_cards_a_stale_identity_locks_the_guest() {
    let fixture = Fixture::with_cards();
    let before = fixture.joined("101");
    let after = fixture.renewed("101", &before);
    fixture.links("101", &after, &machine(&[], "a/1")).expect("renewed");
    let refused = fixture.links("101", &before, &machine(&[], "b/1")).expect_err("stale");
    assert!(matches!(refused, Refused::Stale { .. }), "{refused}");
    assert!(fixture.lock("101").is_some());
}

#[test]
fn two_live_holders_of_one_identity_lock_that_guest_alone_and_are_named() {
    let fixture = Fixture::with_cards();
    let (shown, other) = (fixture.joined("101"), fixture.joined("102"));
    let (one, two) = (machine(&["101"], "a/1"), machine(&["101"], "b/1"));
    fixture.links("101", &shown, &one).expect("the first");
    // A guest that was started anew: nothing tells it from a second one yet.
    fixture.links("101", &shown, &two).expect("the second");
    fixture.links("101", &shown, &two).expect("it dials again");
    let refused = fixture.links("101", &shown, &one).expect_err("the first is not over");
    assert!(matches!(refused, Refused::Twins { .. }), "{refused}");
    assert!(refused.to_string().matches("gateway at 10.0.0.101").count() == 2, "{refused}");
    assert!(fixture.lock("101").is_some());
    fixture.links("101", &shown, &two).expect_err("locked");
    fixture.links("102", &other, &machine(&["102"], "c/1")).expect("others are not");

    fixture.identities.unlock(name("101")).expect("unlocked");
    let again = fixture.joined("101");
    fixture.links("101", &again, &one).expect("the one that joined");
    fixture.links("101", &shown, &two).expect_err("the other is out");
}

#[test]
fn before_the_hypervisor_tells_only_the_guest_as_it_joined_is_let_in_and_nothing_is_decided() {
    let whose = Arc::new(Mutex::new(Some(Whose::Unknown)));
    let fixture = Fixture::with_machines(Cards { whose: whose.clone(), ..Cards::default() });
    let (own, clone) = (machine(&["101"], "a"), machine(&["999"], "b"));
    let (secret, facts) = (fixture.token("101").secret, own.clone());
    let request = JoinRequest { guest: name("101"), secret, csr: csr(), facts };
    let first = peer(&fixture.identities.join(&request, fixture.clock.now()).expect("joined"));
    fixture.links("101", &first, &own).expect("its own cards");
    let refused = fixture.links("101", &first, &clone).expect_err("cards that it did not join with");
    assert!(matches!(refused, Refused::NotKnownYet { .. }), "{refused}");
    // Two that show one identity in turns, and one that was renewed away: who is who is decided later.
    let other = machine(&["101"], "c");
    for facts in [&other, &own, &other] {
        fixture.links("101", &first, facts).expect("nobody can tell yet");
    }
    let renewed = fixture.renewed("101", &first);
    fixture.links("101", &renewed, &own).expect("the newer one");
    let refused = fixture.links("101", &first, &own).expect_err("it was renewed away");
    assert!(matches!(refused, Refused::NotKnownYet { .. }), "{refused}");
    let record = fixture.identities.guest(name("101")).expect("read").expect("a record");
    assert_eq!(record.locked, None);
    *whose.lock().expect("unpoisoned") = Some(Whose::Alike(120.try_into().expect("a VMID")));
    let refused = fixture.links("101", &renewed, &own).expect_err("it may be another guest");
    assert!(
        matches!(refused, Refused::Alike { .. }) && refused.to_string().contains("guests 101 and 120"),
        "{refused}"
    );
    *whose.lock().expect("unpoisoned") = None;
    fixture.links("101", &renewed, &own).expect("now it is known");
}

/// Counts on whose account guests were looked into.
#[derive(Debug, Default)]
struct Looks(AtomicI64);

impl Machines for Looks {
    fn whose(&self, _: Guest, _: &GuestFacts) -> Whose {
        self.0.fetch_add(1, Ordering::SeqCst);
        Whose::Nobodys
    }

    fn whose_by_now(&self, _: Guest, _: &GuestFacts) -> Whose {
        Whose::Nobodys
    }

    fn vmgenid(&self, _: Guest) -> Option<String> {
        None
    }
}

#[test]
fn guests_are_looked_into_only_for_an_identity_that_is_on_record() {
    let mut fixture = Fixture::new();
    let looks = Arc::new(Looks::default());
    fixture.identities.machines = looks.clone();
    let asked = |fixture: &Fixture, peer: &Peer| {
        let before = looks.0.load(Ordering::SeqCst);
        let admitted = fixture.admit("101", peer);
        (admitted.is_ok(), looks.0.load(Ordering::SeqCst) - before)
    };
    let replaced = fixture.joined("101");
    let good = fixture.joined("101");
    assert_eq!(asked(&fixture, &replaced), (false, 0));
    assert_eq!(asked(&fixture, &good), (true, 1));
    fixture.identities.distrust(name("101")).expect("written");
    assert_eq!(asked(&fixture, &good), (false, 1), "given up, and known for what it is");
    fixture.identities.forget(name("101")).expect("forgotten");
    assert_eq!(asked(&fixture, &good), (false, 0));
}
