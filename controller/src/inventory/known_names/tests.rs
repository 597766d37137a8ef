//! What a name means after guests were renamed, destroyed and made anew.

use super::*;
use crate::{
    inventory::{GuestInfo, Inventory},
    manifest::GuestRef,
};

fn vmid(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

fn name(text: &str) -> GuestName {
    text.parse().expect("a guest's name")
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

/// What Proxmox lists.
fn listed(guests: &[(u32, &str)]) -> Inventory {
    let info = |(number, name): &(u32, &str)| {
        (vmid(*number), GuestInfo { name: Some((*name).to_owned()), ..GuestInfo::default() })
    };
    Inventory::complete(guests.iter().map(info).collect(), &BTreeMap::new())
}

/// What `web` and `db` mean after these lists, one after the other: the guest, and whether it is held.
fn after(lists: &[Inventory]) -> (Option<u32>, bool, Option<u32>, bool, Vec<NameChange>) {
    let (mut known, mut changes) = (KnownNames::default(), Vec::new());
    let names = [name("web"), name("db")];
    for (second, list) in (0..).zip(lists) {
        let (next, happened) = known.observe(names.iter().collect(), list, at(second));
        (known, changes) = (next, happened);
    }
    let last = lists.last().expect("a list").clone().with_known_names(std::sync::Arc::new(known));
    let meant = |text: &str| match last.resolve(&GuestRef::Name(name(text))) {
        Ok(pinion_proto::id::Guest::Vmid(vmid)) => Some(vmid.number()),
        _ => None,
    };
    let held = |text: &str| last.renamed(&GuestRef::Name(name(text))).is_some();
    (meant("web"), held("web"), meant("db"), held("db"), changes)
}

#[test]
fn a_name_stays_with_its_guest_for_as_long_as_that_exists() {
    let both = || listed(&[(101, "web"), (102, "db")]);
    let problem = |inventory: Inventory| {
        let trouble = Trouble {
            halt: Halt::Waiting,
            attempt: "read".into(),
            cause: "away".into(),
            remedy: "wait".into(),
            retry_at: None,
        };
        inventory.with_problem(Some(trouble))
    };
    let cases = [
        ("as it was", vec![both()], (Some(101), false, Some(102), false)),
        ("renamed", vec![both(), listed(&[(101, "web-old"), (102, "db")])], (Some(101), true, Some(102), false)),
        (
            "taken over",
            vec![both(), listed(&[(101, "web-old"), (102, "db"), (103, "web")])],
            (Some(101), true, Some(102), false),
        ),
        ("swapped", vec![both(), listed(&[(101, "db"), (102, "web")])], (Some(101), true, Some(102), true)),
        (
            "swapped, and back",
            vec![both(), listed(&[(101, "db"), (102, "web")]), both()],
            (Some(101), false, Some(102), false),
        ),
        // The former guest no longer exists, so the name can only mean the new one.
        ("destroyed", vec![both(), listed(&[(102, "db")])], (None, false, Some(102), false)),
        (
            "made anew with another number",
            vec![both(), listed(&[(102, "db")]), listed(&[(102, "db"), (103, "web")])],
            (Some(103), false, Some(102), false),
        ),
        ("made anew at once", vec![both(), listed(&[(102, "db"), (103, "web")])], (Some(103), false, Some(102), false)),
        (
            "made anew with its number",
            vec![both(), listed(&[(102, "db")]), both()],
            (Some(101), false, Some(102), false),
        ),
        (
            "its number given to another guest, its name to a third",
            vec![both(), listed(&[(102, "db")]), listed(&[(101, "new"), (102, "db"), (103, "web")])],
            (Some(103), false, Some(102), false),
        ),
        (
            "renamed, then destroyed",
            vec![both(), listed(&[(101, "web-old"), (102, "db"), (103, "web")]), listed(&[(102, "db"), (103, "web")])],
            (Some(103), false, Some(102), false),
        ),
        (
            "a clone of the same name",
            vec![both(), listed(&[(101, "web"), (102, "db"), (120, "web")])],
            (Some(101), false, Some(102), false),
        ),
        ("two from the beginning", vec![listed(&[(101, "web"), (120, "web")])], (None, false, None, false)),
        (
            "a list that is out of date proves nothing",
            vec![both(), problem(listed(&[(102, "web")])), both()],
            (Some(101), false, Some(102), false),
        ),
    ];
    for (what, lists, expected) in cases {
        let (web, web_held, db, db_held, _) = after(&lists);
        assert_eq!((web, web_held, db, db_held), expected, "{what}");
    }
}

#[test]
fn what_has_become_of_a_name_is_said_once_with_what_to_do() {
    let both = || listed(&[(101, "web"), (102, "db")]);
    let taken = || listed(&[(101, "web-old"), (102, "web")]);
    let changes = after(&[both(), listed(&[(101, "web-old"), (102, "db"), (103, "web")])]).4;
    let [NameChange::Renamed { guest, trouble }] = changes.as_slice() else { panic!("renamed: {changes:?}") };
    assert_eq!((guest.number(), trouble.halt), (101, Halt::Blocked));
    let cause = format!("guest 101 was named web until {}, and is named web-old now; web is guest 103 now", at(1));
    assert_eq!(trouble.cause, cause);
    assert!(trouble.remedy.contains("run `pinion guest accept-name web`, or write 103"), "{trouble}");
    assert!(trouble.remedy.contains("write 101 into the manifest, or give it its name back"), "{trouble}");
    assert_eq!(after(&[both(), taken(), taken()]).4, [], "it is said once");

    let changes = after(&[both(), listed(&[(101, "web-old"), (102, "db")])]).4;
    let [NameChange::Renamed { trouble, .. }] = changes.as_slice() else { panic!("renamed: {changes:?}") };
    assert!(trouble.cause.ends_with("is named web-old now") && !trouble.remedy.contains("accept-name"), "{trouble}");
    let changes = after(&[both(), listed(&[(101, ""), (102, "web"), (103, "web")])]).4;
    let NameChange::Renamed { trouble, .. } = changes.last().expect("renamed") else { panic!("renamed: {changes:?}") };
    assert!(trouble.cause.contains("guests 102, 103 are named web now"), "{trouble}");

    let changes = after(&[both(), listed(&[(101, "web-old"), (102, "db")]), both()]).4;
    assert!(matches!(changes.as_slice(), [NameChange::Back { .. }]), "{changes:?}");
    let changes = after(&[both(), listed(&[(102, "db"), (103, "web")])]).4;
    assert!(
        matches!(changes.as_slice(), [NameChange::Moved { from, to, .. }] if (from.number(), to.number()) == (101, 103))
    );
}

#[test]
fn a_person_and_the_configuration_have_the_last_word() {
    let (web, now) = (name("web"), at(0));
    let (known, _) = KnownNames::default().observe([&web].into(), &listed(&[(101, "web")]), now);
    let taken = listed(&[(101, "web-old"), (102, "web")]);
    assert_eq!(known.with(web.clone(), vmid(102)).owner(&web, &taken), Some(vmid(102)));
    assert_eq!(known.observe(BTreeSet::new(), &taken, now).0, KnownNames::default(), "the manifest names it no more");

    // A name that only the configuration has is what a person wrote.
    let configured =
        Inventory::complete([(vmid(101), GuestInfo::default())].into(), &[("web".to_owned(), vmid(200))].into());
    assert_eq!(known.observe([&web].into(), &configured, now).0, KnownNames::default());
    assert_eq!(known.owner(&web, &configured), None);
}
