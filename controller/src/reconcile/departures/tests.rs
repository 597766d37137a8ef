//! When a guest counts as destroyed, and what is done about it.

use super::*;
use crate::{
    inventory::GuestInfo,
    reconcile::{effects::Effect, testing},
};

fn vmid(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

fn listing(numbers: &[u32]) -> Inventory {
    let guests = numbers.iter().map(|number| (vmid(*number), GuestInfo::default()));
    Inventory::complete(guests.collect(), &BTreeMap::new())
}

/// When the next guest is gone.
fn next(departures: &Departures) -> Option<Timestamp> {
    departures.leaving.values().min().copied()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

#[test]
fn a_guest_is_gone_when_it_was_listed_and_is_not_for_a_while() {
    let mut departures = Departures::default();
    departures.compare(&listing(&[101, 102]), at(0));
    departures.compare(&listing(&[101]), at(100));
    assert_eq!((departures.gone(at(109)), next(&departures)), (vec![], Some(at(110))));
    departures.compare(&listing(&[101]), at(109));
    assert_eq!(departures.gone(at(110)), [vmid(102)], "seen missing again does not put it off");
    departures.settle(vmid(102), true);
    assert!(departures.has(Guest::Vmid(vmid(102))) && next(&departures).is_none());
    assert_eq!(departures.compare(&listing(&[101, 102]), at(200)), [vmid(102)], "made anew");
    assert!(!departures.has(Guest::Vmid(vmid(102))));
}

#[test]
fn a_guest_that_comes_back_in_time_was_never_gone() {
    let mut departures = Departures::default();
    departures.compare(&listing(&[101, 102]), at(0));
    departures.compare(&listing(&[101]), at(100));
    assert!(departures.compare(&listing(&[101, 102]), at(105)).is_empty());
    assert!(departures.gone(at(1000)).is_empty());
}

#[test]
fn a_list_that_says_nothing_ends_nobody() {
    let mut departures = Departures::default();
    departures.compare(&listing(&[101, 102]), at(0));
    departures.compare(&Inventory::default(), at(100));
    departures.compare(&Inventory::awaited(BTreeMap::new()), at(200));
    assert!(departures.gone(at(1000)).is_empty());
    assert_eq!(Departures::default().gone(at(1000)), [], "nor one that was never listed");
}

#[test]
fn the_last_guest_of_a_cluster_is_gone_as_any_other() {
    let mut departures = Departures::default();
    departures.compare(&listing(&[101, 102]), at(0));
    departures.compare(&listing(&[101]), at(100));
    departures.compare(&listing(&[]), at(103));
    assert_eq!(departures.gone(at(110)), [vmid(102)]);
    assert_eq!(departures.gone(at(113)), [vmid(101), vmid(102)]);
}

#[test]
fn a_cluster_that_loses_all_its_guests_at_once_is_given_time() {
    let mut departures = Departures::default();
    departures.compare(&listing(&[101, 102]), at(0));
    departures.compare(&listing(&[]), at(100));
    departures.compare(&listing(&[]), at(1000));
    assert!(departures.gone(at(3699)).is_empty());
    assert_eq!(departures.gone(at(3700)), [vmid(101), vmid(102)]);
    departures.compare(&listing(&[101, 102]), at(3000));
    assert!(departures.gone(at(9000)).is_empty(), "its database was restored");
}

#[test]
fn what_was_listed_is_known_over_a_restart() {
    let mut departures = Departures::default();
    departures.compare(&listing(&[101, 102]), at(0));
    let kept = serde_json::to_string(&departures.record).expect("written");
    let record: ListedGuests = serde_json::from_str(&kept).expect("read");
    let mut departures = Departures::from(record);
    departures.compare(&listing(&[101]), at(100));
    assert_eq!(departures.gone(at(110)), [vmid(102)]);
}

/// Departures of which 102 has been gone for long enough.
fn gone() -> Departures {
    let mut departures = Departures::default();
    departures.compare(&listing(&[101, 102]), at(0));
    departures.compare(&listing(&[101]), at(100));
    departures
}

fn refused() -> StoreError {
    StoreError::ReadOnly { path: "/etc/pve".into(), source: std::io::Error::other("no quorum") }
}

#[test]
fn a_guest_that_is_gone_is_refused_and_kept_in_sight() {
    let world = testing::world(testing::WEB);
    let cases: [(&str, Result<bool, ()>, bool, usize, Option<i64>); 3] = [
        ("it had an identity", Ok(true), true, 1, None),
        ("it had none", Ok(false), false, 0, None),
        ("the disk refuses", Err(()), false, 1, Some(200 + 30)),
    ];
    for (what, had, destroyed, events, again) in cases {
        let (mut departures, mut effects) = (gone(), Effects::at(at(200)));
        let wake = departures.step(&world, |_| had.map_err(|()| refused()), &mut effects);
        assert_eq!(departures.has(Guest::Vmid(vmid(102))), destroyed, "{what}");
        assert_eq!((effects.texts().len(), wake), (events, again.map(at)), "{what}: {:?}", effects.texts());
        let ended = effects.count(|effect| matches!(effect, Effect::EndSession(_)));
        assert_eq!(ended, usize::from(destroyed), "{what}");
    }
}

#[test]
fn nobody_departs_before_his_time_or_while_proxmox_is_not_understood() {
    let world = testing::world(testing::WEB);
    let mut blind = testing::world(testing::WEB);
    let problem = testing::trouble(pinion_proto::stage::Halt::Waiting, "it cannot be read");
    blind.set_inventory(std::sync::Arc::new(listing(&[101]).with_problem(Some(problem))));
    for (what, world, seconds, wake) in [
        ("too early", &world, 109, Some(110)),
        ("not understood", &blind, 109, Some(110)),
        ("not understood when it would be gone", &blind, 110, None),
        ("much later", &blind, 9000, None),
    ] {
        let (mut departures, mut effects) = (gone(), Effects::at(at(seconds)));
        let next = departures.step(world, |_| panic!("{what}: nobody is refused"), &mut effects);
        assert!(effects.is_empty(), "{what}");
        assert_eq!(next, wake.map(at), "{what}");
    }
}

#[test]
fn a_person_takes_note_of_an_end_once() {
    let world = testing::world(testing::WEB);
    let (mut departures, mut effects) = (gone(), Effects::at(at(200)));
    departures.step(&world, |_| Ok(true), &mut effects);
    let by = testing::root_user();
    for (what, guest, expected) in [
        ("one that was not destroyed", "101", false),
        ("the host", "host", false),
        ("the destroyed one", "102", true),
        ("once more", "102", false),
    ] {
        let mut effects = Effects::at(at(300));
        let answer = departures.note_end(guest.parse().expect("a guest"), &by, &mut effects);
        assert_eq!(answer == Answer::End, expected, "{what}: {answer:?}");
        let forgotten = effects.count(|effect| matches!(effect, Effect::Forget(_)));
        assert_eq!(forgotten, usize::from(expected), "{what}");
    }
}

#[test]
fn what_changes_is_written_and_nothing_that_could_not_be_read_is_replaced() {
    let written = |effects: &Effects| effects.count(|effect| matches!(effect, Effect::SaveDepartures(_)));
    for (unread, expected) in [(false, [1, 0, 1]), (true, [0, 0, 0])] {
        let mut departures = Departures { unread, ..Departures::default() };
        let found = [&[101][..], &[101], &[101, 102]].map(|numbers| {
            let mut effects = Effects::at(at(0));
            departures.observe(&listing(numbers), &mut effects);
            written(&effects)
        });
        assert_eq!(found, expected);
    }
}

#[test]
fn of_a_guest_that_is_made_anew_nothing_is_known() {
    let mut departures = gone();
    departures.step(&testing::world(testing::WEB), |_| Ok(true), &mut Effects::at(at(200)));
    let mut effects = Effects::at(at(300));
    departures.observe(&listing(&[101, 102]), &mut effects);
    assert_eq!(effects.texts(), ["Guest 102 was created again; it is a new guest"]);
    assert_eq!(effects.count(|effect| matches!(effect, Effect::Forget(guest) if *guest == Guest::Vmid(vmid(102)))), 1);
}

#[test]
fn what_is_written_is_read_at_the_next_start_and_what_cannot_be_read_is_told() {
    let (_directory, resources) = testing::resources(crate::issuer::Issuers::of([]));
    let (store, events) = (&resources.store, &resources.events);
    assert_eq!(Departures::restore(store, events, at(0)), Departures::default(), "nothing is written yet");
    let listed: ListedGuests = serde_json::from_str(r#"{"listed": [101], "destroyed": [102]}"#).expect("listed guests");
    listed.write(store);
    assert_eq!(Departures::restore(store, events, at(0)), Departures::from(listed));
    assert!(events.recent(usize::MAX, at(0)).is_empty());
    let path = store.file(crate::store::Area::Local, "listed-guests").expect("a path");
    std::fs::write(&path, "not JSON").expect("written");
    let mut unread = Departures::restore(store, events, at(0));
    assert_eq!(events.recent(usize::MAX, at(0)).len(), 1, "it is told");
    let mut effects = Effects::at(at(0));
    unread.observe(&listing(&[101]), &mut effects);
    assert!(effects.is_empty(), "what is there is not replaced");
}
