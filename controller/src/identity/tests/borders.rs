//! The borders of what is remembered and for how long: one second or one piece before, and exactly there.

use std::fs;

use super::*;
use crate::{
    identity::{
        loss::{pinned, spend_new_root, traces},
        machine::Starts,
    },
    store::{Area, GIVEN_UP, NEW_ROOT},
};

const DAY: u64 = 24 * 3600;

#[test]
fn a_token_is_good_for_599_seconds_and_not_for_600() {
    for (age, is_good) in [(0, true), (599, true), (600, false), (601, false)] {
        let fixture = Fixture::new();
        let token = fixture.token("101");
        fixture.later(Duration::from_secs(age));
        let request = |secret: &JoinSecret| JoinRequest {
            guest: name("101"),
            secret: secret.clone(),
            csr: csr(),
            facts: GuestFacts::default(),
        };
        let now = fixture.clock.now();
        assert_eq!(fixture.identities.is_live(&request(&token.secret), now), is_good, "after {age} s");
        let wrong = JoinSecret(Zeroizing::new([0; 32]));
        assert!(!fixture.identities.is_live(&request(&wrong), now));
        assert_eq!(fixture.join("101", &token.secret).is_ok(), is_good, "after {age} s");
        assert!(!fixture.identities.is_live(&request(&token.secret), now), "spent, or over");
    }
}

#[test]
fn a_token_that_is_over_leaves_the_disk_when_it_is_shown_or_another_is_made() {
    let fixture = Fixture::new();
    let document = |guest: &str| fixture.directory.path().join(format!("shared/join-tokens/{guest}.json"));
    let shown = fixture.token("101");
    fixture.token("102");
    fixture.later(Duration::from_secs(599));
    fixture.token("103");
    assert!(document("102").exists(), "it is good for one second more");
    fixture.later(Duration::from_secs(1));
    fixture.join("101", &shown.secret).expect_err("over");
    assert!(!document("101").exists() && document("102").exists());
    fixture.token("104");
    assert!(!document("102").exists() && document("103").exists());
}

#[test]
fn a_guest_that_is_forgotten_has_no_token_either() {
    let fixture = Fixture::new();
    fixture.joined("101");
    let token = fixture.token("101");
    fixture.identities.forget(name("101")).expect("forgotten");
    let error = fixture.join("101", &token.secret).expect_err("gone with it");
    assert!(matches!(error, JoinRefused::Token(TokenRefused::None { .. })), "{error}");
}

#[test]
fn so_many_tokens_are_live_at_once_and_one_that_cannot_be_read_is_one_of_them() {
    let mut fixture = Fixture::new();
    fixture.identities.tokens.max_live = 3;
    let document = |guest: &str| fixture.directory.path().join(format!("shared/join-tokens/{guest}.json"));
    fixture.token("101");
    fixture.token("102");
    fs::write(document("101"), "{").expect("written");
    fixture.token("103");
    let error = fixture.identities.create_token(name("104"), Vec::new()).expect_err("one too many");
    assert!(matches!(error, TokenRefused::TooMany), "{error}");
    assert!(document("101").exists(), "it stays for a person to look at");
    fs::remove_file(document("102")).expect("removed");
    fixture.token("104");
}

#[test]
fn what_was_renewed_away_is_remembered_sixteen_times() {
    let fixture = Fixture::with_cards();
    let mut shown = vec![fixture.joined("101")];
    for _ in 0..17 {
        let next = fixture.renewed("101", shown.last().expect("one"));
        fixture.links("101", &next, &machine(&["101"], "a/1")).expect("the newest");
        shown.push(next);
    }
    let refused = |which: usize| fixture.links("101", &shown[which], &machine(&["101"], "a/1")).expect_err("renewed");
    assert!(matches!(refused(0), Refused::Replaced { .. }), "forgotten by now");
    for which in 1..17 {
        assert!(matches!(refused(which), Refused::RolledBack { .. }), "{which}");
    }
    let record = fixture.identities.guest(name("101")).expect("read").expect("known");
    assert_eq!((record.stale.len(), record.generation), (16, 18));
    assert!(record.has(&shown[17].serial) && record.has(&shown[1].serial) && !record.has(&shown[0].serial));
}

#[test]
fn an_identity_given_in_the_second_of_the_record_is_not_newer_than_it() {
    let fixture = Fixture::new();
    let replaced = fixture.joined("101");
    fixture.joined("101");
    let error = fixture.admit("101", &replaced).expect_err("replaced");
    assert!(matches!(error, Refused::Replaced { .. }), "{error}");
    // One second later it would be.
    let backup = fixture.backup();
    fixture.later(Duration::from_secs(1));
    let since = fixture.joined("101");
    let fixture = fixture.restored(&backup);
    let error = fixture.admit("101", &since).expect_err("newer");
    assert!(matches!(error, Refused::Newer { .. }), "{error}");
}

#[test]
fn a_record_that_is_lost_stays_lost_whoever_joins_later() {
    let fixture = Fixture::new();
    let shown = fixture.joined("101");
    fs::remove_file(fixture.directory.path().join("shared/guests/101.json")).expect("removed");
    for what in ["there is nothing on record", "another has joined since"] {
        assert!(matches!(fixture.admit("101", &shown), Err(Refused::Newer { .. })), "{what}");
        fixture.later(Duration::from_secs(1));
        fixture.joined("102");
    }
    let fixture = fixture.restarted();
    assert!(matches!(fixture.admit("101", &shown), Err(Refused::Newer { .. })), "after a restart");
    fixture.identities.forget(name("101")).expect("forgotten");
    assert!(matches!(fixture.admit("101", &shown), Err(Refused::Unknown { .. })));
}

#[test]
fn that_a_guest_was_forgotten_is_remembered_for_sixty_days() {
    let fixture = Fixture::new();
    let shown = fixture.joined("101");
    fixture.later(Duration::from_secs(1));
    fixture.identities.forget(name("101")).expect("forgotten");
    fixture.later(Duration::from_secs(60 * DAY - 1));
    fixture.identities.forget(name("102")).expect("noted");
    assert!(matches!(fixture.admit("101", &shown), Err(Refused::Unknown { .. })));
    fixture.later(Duration::from_secs(1));
    assert!(matches!(fixture.admit("101", &shown), Err(Refused::Unknown { .. })), "until another one is forgotten");
    fixture.identities.forget(name("103")).expect("noted");
    assert!(matches!(fixture.admit("101", &shown), Err(Refused::Newer { .. })), "nothing is known of it any more");
}

#[test]
fn the_root_of_before_is_trusted_until_the_last_second_of_31_days() {
    let fixture = Fixture::new();
    fixture.joined("101");
    let next = |fixture: &Fixture| fixture.identities.next_root().map(|next| next.root.fingerprint());
    let wish = r#"{"version":1,"data":{"asked_at":"2027-01-15T08:00:00Z","at_once":false}}"#;
    fs::write(fixture.directory.path().join("local/new-root.json"), wish).expect("written");
    let fixture = fixture.restarted();
    let root = next(&fixture).expect("on its way");
    fixture.identities.note_roots(name("101"), &[root]).expect("noted");
    let mut fixture = fixture.restarted();
    assert_eq!(fixture.identities.root().fingerprint(), root);
    for (later, trusted) in [(31 * DAY - 1, 2), (1, 1)] {
        fixture.later(Duration::from_secs(later));
        fixture = fixture.restarted();
        assert_eq!(fixture.identities.trusted_roots().len(), trusted, "{later}");
    }
}

#[test]
fn what_a_guest_says_of_itself_is_kept_short_and_printable() {
    let fixture = Fixture::new();
    let long = "x".repeat(300);
    let facts = GuestFacts {
        hostname: format!("a\u{1b}[31m\n{long}"),
        agent_version: long.clone(),
        machine_id: long.clone(),
        boot_id: long,
        hwaddrs: vec![card("101")],
        spec_level: 7,
        looks: true,
        examines: true,
    };
    let secret = fixture.token("101").secret;
    let request = JoinRequest { guest: name("101"), secret, csr: csr(), facts };
    fixture.identities.join(&request, fixture.clock.now()).expect("joined");
    let kept = fixture.identities.guest(name("101")).expect("read").expect("known").facts;
    assert!(kept.hostname.starts_with("a[31mx") && kept.hostname.chars().count() == 255, "{}", kept.hostname);
    for text in [&kept.agent_version, &kept.machine_id, &kept.boot_id] {
        assert_eq!(text.len(), 255);
    }
    assert_eq!((kept.hwaddrs, kept.spec_level), (vec![card("101")], 7));
}

#[test]
fn of_a_guests_starts_the_last_two_are_known() {
    let mut starts = Starts::default();
    let facts = |boot: &str| machine(&["101"], boot);
    let mut note = |guest: &str, boot: &str| {
        let facts = facts(boot);
        let caller = LinkCaller { facts: &facts, from: "10.0.0.101:1".parse().expect("an address") };
        starts.note(name(guest), caller).is_ok()
    };
    assert!(note("101", "a") && note("101", "a") && note("101", "b") && note("101", "c"));
    assert!(note("101", "a"), "two starts ago: it is not known any more");
    assert!(!note("101", "c"), "the one before came back");
    assert!(note("102", "c") && note("102", "b"), "another guest's are its own");
    // An agent that does not know its boot says nothing of others.
    assert!(note("101", "") && note("101", ""));
    starts.forget(name("101"));
    let again = facts("c");
    let caller = LinkCaller { facts: &again, from: "10.0.0.101:1".parse().expect("an address") };
    assert!(starts.note(name("101"), caller).is_ok(), "it has another identity");
}

#[test]
fn a_caller_is_shown_by_its_name_address_and_first_card() {
    let with = machine(&["101", "102"], "a");
    let without = machine(&[], "a");
    let shown =
        |facts: &GuestFacts| LinkCaller { facts, from: "10.0.0.101:40000".parse().expect("an address") }.to_string();
    assert_eq!(shown(&with), format!("gateway at 10.0.0.101 with network card {}", card("101")));
    assert_eq!(shown(&without), "gateway at 10.0.0.101");
}

#[test]
fn the_file_that_names_the_root_is_one_fingerprint_among_comments() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("identity-root");
    let print = Fingerprint::of(b"root");
    assert_eq!(pinned(&path).expect("no file"), None);
    for text in [format!("{print}"), format!("# a comment\n\n  {print}  \nwhatever follows\n")] {
        fs::write(&path, text).expect("written");
        assert_eq!(pinned(&path).expect("read"), Some(print));
    }
    for bad in ["", "\n\n", "# only a comment\n", "x", &"0".repeat(63)] {
        fs::write(&path, bad).expect("written");
        let error = pinned(&path).expect_err(bad).to_string();
        assert!(error.contains("identity-root does not name the identity root"), "{error}");
    }
    // The largest that is read, and one byte more.
    let padded = |length: usize| format!("{print}\n{}", "#".repeat(length - print.to_string().len() - 1));
    fs::write(&path, padded(4096)).expect("written");
    assert_eq!(pinned(&path).expect("read"), Some(print));
    fs::write(&path, padded(4097)).expect("written");
    pinned(&path).expect_err("too large");
}

#[test]
fn what_says_that_there_was_a_root_is_identities_then_reports() {
    let directory = TempDir::new().expect("a directory");
    let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
    let of_use = || traces(&store, None).expect("read").of_use;
    assert_eq!(of_use(), None);
    let put = |path: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, "{}").expect("written");
    };
    put("local/reports/101.json");
    put("local/reports/102.json");
    assert_eq!(of_use().as_deref(), Some("this host knows 2 guests that have been linked"));
    put("shared/guests/101.json");
    assert_eq!(of_use().as_deref(), Some("1 guests have identities under it"));
}

#[test]
fn each_installation_has_a_trust_domain_of_its_own() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let domain = one.identities.trust_domain().to_string();
    assert_ne!(domain, other.identities.trust_domain().to_string());
    let (digits, rest) = domain.split_once('.').expect("a dot");
    assert!(digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()) && rest == "pinion", "{domain}");
}

#[test]
fn all_guests_are_listed_by_number() {
    let fixture = Fixture::new();
    for guest in ["1001", "102", "host", "101"] {
        fixture.joined(guest);
    }
    let listed: Vec<_> = fixture.identities.guests().expect("read").into_iter().map(|(guest, _)| guest).collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    assert_eq!((listed.len(), &listed), (4, &sorted));
}

#[test]
fn what_a_person_asks_for_is_done_once_and_by_what_is_there() {
    let (own, public) = (&[ROOT_DOCUMENT][..], &[PUBLIC_ROOT][..]);
    for (there, at_once, keep, expected, is_given_up) in [
        // The root that this controller holds goes on until every guest trusts the next one.
        (own, false, false, Wish::Rollover, false),
        (own, false, true, Wish::Rollover, false),
        (own, true, false, Wish::AtOnce, false),
        // Where there is none, all that went with it is given up.
        (&[][..], false, false, Wish::AtOnce, true),
        (&[][..], false, true, Wish::Keep, true),
        (public, false, true, Wish::Keep, false),
        (public, false, false, Wish::AtOnce, false),
        (public, true, false, Wish::AtOnce, false),
    ] {
        let directory = TempDir::new().expect("a directory");
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
        assert_eq!(spend_new_root(&store).expect("nothing was asked for"), Wish::None);
        for document in there {
            store.write(Area::Shared, document, &"a root".to_owned()).expect("written");
        }
        let wish = NewRoot { asked_at: Timestamp::from_unix(1_800_000_000), at_once, keep };
        store.write(Area::Local, NEW_ROOT, &wish).expect("written");
        let case = format!("{there:?}, at once: {at_once}, keep: {keep}");
        assert_eq!(spend_new_root(&store).expect("spent"), expected, "{case}");
        let has = |area, document: &str| store.read::<serde::de::IgnoredAny>(area, document).expect("read").is_some();
        assert_eq!(has(Area::Local, GIVEN_UP), is_given_up, "{case}");
        // A root that is given up is put aside, and one that goes on is left where it is.
        let stays = expected != Wish::AtOnce;
        assert!(there.iter().all(|document| has(Area::Shared, document) == stays), "{case}");
        assert_eq!(has(Area::Shared, ROOT_BEFORE), there == own && !stays, "{case}");
        assert_eq!(spend_new_root(&store).expect("spent"), Wish::None, "{case}: it is good once");
    }
}

#[test]
fn a_guest_that_is_put_out_is_out_whether_the_disk_takes_that_or_not() {
    let fixture = Fixture::new();
    let shown = fixture.joined("101");
    fixture.identities.evict(name("101")).expect("forgotten");
    assert!(matches!(fixture.admit("101", &shown), Err(Refused::Unknown { .. })));
    let (fixture, files) = on_pmxcfs(Arc::new(NoMachines));
    let shown = fixture.joined("101");
    files.refuse(Some(crate::store::pmxcfs::Refusal { errno: rustix::io::Errno::ACCESS, shows: false }));
    fixture.identities.evict(name("101")).expect_err("it cannot be written");
    let refused = fixture.admit("101", &shown).expect_err("out all the same");
    assert!(matches!(&refused, Refused::Locked { why, .. } if why.contains("evicted")), "{refused}");
}

#[test]
fn a_root_that_is_noted_already_is_not_written_again() {
    use std::os::unix::fs::MetadataExt;
    let fixture = Fixture::new();
    fixture.joined("101");
    let wish = r#"{"version":1,"data":{"asked_at":"2027-01-15T08:00:00Z","at_once":false}}"#;
    fs::write(fixture.directory.path().join("local/new-root.json"), wish).expect("written");
    let fixture = fixture.restarted();
    let next = fixture.identities.next_root().expect("on its way").root.fingerprint();
    let document = fixture.directory.path().join("shared/guests/101.json");
    // A replaced file is another one.
    let file = || fs::metadata(&document).expect("there").ino();
    let before = file();
    fixture.identities.note_roots(name("101"), &[next]).expect("noted");
    let noted = file();
    assert_ne!(noted, before);
    fixture.identities.note_roots(name("101"), &[next]).expect("noted");
    assert_eq!(file(), noted, "each link says it, and a cluster's disk is spared");
    assert_eq!(fixture.identities.guest(name("101")).expect("read").expect("known").root, Some(next));
}

#[test]
fn whoever_is_refused_hears_the_same_and_something() {
    let told = JoinRefused::told();
    assert!(told.contains("refused") && !told.contains("token") && !told.contains("locked"), "{told}");
}

#[test]
fn without_a_hypervisor_no_machine_is_known() {
    let fixture = Fixture::new();
    let shown = fixture.joined("101");
    fixture.admit("101", &shown).expect("admitted");
    assert_eq!(fixture.identities.guest(name("101")).expect("read").expect("known").vmgenid, None);
    assert_eq!(NoMachines.vmgenid(name("101")), None);
    assert_eq!(NoMachines.whose(name("101"), &machine(&["102"], "a")), Whose::Nobodys);
}
