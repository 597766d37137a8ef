//! What may be revoked, and what never, whatever guests say.

use pinion_proto::{
    report::{Held, PlacementReport},
    stage::Stage,
};
use rcgen::{CertificateParams, KeyPair, SerialNumber};

use super::{
    record::{Record, name},
    *,
};
use crate::{
    reconcile::{effects::Effect, testing},
    store::Area,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

fn id(text: &str) -> PlacementId {
    text.parse().expect("a placement")
}

fn serial(number: u8) -> Serial {
    Serial::try_from(format!("{number:02X}")).expect("a serial")
}

fn issued(generation: u64, number: u8) -> Issued {
    let issuer = "step-ca".parse().expect("a name");
    Issued {
        generation,
        serial: serial(number),
        issuer,
        not_after: at(1000 - i64::from(number)),
        replaced: None,
        when_replaced: true,
        compromised: false,
        at_once: false,
    }
}

/// What a guest says that it holds.
fn says(reports: &mut Reports, placement: &str, generation: u64, number: u8, stage: Stage) {
    let mut params = CertificateParams::new(vec!["web.example".to_owned()]).expect("names");
    params.serial_number = Some(SerialNumber::from(vec![number]));
    let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("signed");
    let id = id(placement);
    let held = Held {
        generation,
        leaf: Leaf::parse(certificate.der()).expect("a leaf"),
        issuer: "step-ca".parse().expect("a name"),
        common_name: None,
        root: None,
        chain_ends: None,
        adopted: false,
    };
    let mut report = PlacementReport::nothing(id.certificate.clone());
    (report.stage, report.held) = (stage, Some(held));
    reports.report(id.guest, report, at(0));
}

/// Which serial numbers would be revoked now.
fn due(revocations: &mut Revocations, reports: &Reports, now: Timestamp) -> Vec<String> {
    revocations.mark(reports, now);
    revocations.due(reports, now).0.into_iter().map(|(_, one)| one.serial.to_string()).collect()
}

/// Two certificates of `web@101`, signed as generations 1 and 2.
fn two() -> (Revocations, Reports) {
    let mut revocations = Revocations::default();
    assert!(revocations.note(&id("web@101"), issued(1, 0x11)) && revocations.note(&id("web@101"), issued(2, 0x12)));
    (revocations, Reports::default())
}

#[test]
fn the_old_one_is_due_when_the_new_one_has_come_to_its_goal() {
    let (mut revocations, mut reports) = two();
    assert!(due(&mut revocations, &reports, at(0)).is_empty(), "nobody knows what the guest has");
    says(&mut reports, "web@101", 1, 0x11, Stage::Served);
    assert!(due(&mut revocations, &reports, at(0)).is_empty());
    says(&mut reports, "web@101", 2, 0x12, Stage::Installed);
    assert!(due(&mut revocations, &reports, at(0)).is_empty(), "the service may not have it yet");
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    assert_eq!(due(&mut revocations, &reports, at(0)), ["11"]);
}

#[test]
fn a_serial_number_that_was_not_signed_for_the_placement_is_never_due() {
    let (mut revocations, mut reports) = two();
    revocations.note(&id("web@102"), issued(1, 0x21));
    // 101 says that it had what is 102's, and what it was never given.
    says(&mut reports, "web@101", 1, 0x21, Stage::Served);
    says(&mut reports, "web@101", 2, 0x77, Stage::Served);
    assert!(due(&mut revocations, &reports, at(0)).is_empty(), "a certificate that nobody signed replaces nothing");
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    assert_eq!(due(&mut revocations, &reports, at(0)), ["11"], "its own, and not 102's");
}

#[test]
fn what_somebody_holds_waits() {
    let (mut revocations, mut reports) = two();
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    says(&mut reports, "web@102", 5, 0x11, Stage::Served);
    assert!(due(&mut revocations, &reports, at(0)).is_empty(), "102 has it");
    reports.forget("102".parse::<Guest>().expect("a guest"));
    says(&mut reports, "web@101", 1, 0x11, Stage::Served);
    assert!(due(&mut revocations, &reports, at(0)).is_empty(), "101 was taken back to it");
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    assert_eq!(due(&mut revocations, &reports, at(0)), ["11"]);
}

#[test]
fn few_at_once_the_soonest_to_expire_first_and_nothing_that_has_expired() {
    let (mut revocations, mut reports) = two();
    for number in 1..=8 {
        revocations.note(&id("web@101"), issued(1, number));
    }
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    assert_eq!(due(&mut revocations, &reports, at(0)), ["11", "08", "07", "06"]);
    revocations.under_way.extend([serial(0x11), serial(8), serial(7)]);
    assert_eq!(due(&mut revocations, &reports, at(0)), ["06"]);
    assert_eq!(due(&mut revocations, &reports, at(999)), ["01"], "the others have expired");
}

#[test]
fn a_placement_has_so_many_and_no_more() {
    let mut revocations = Revocations::default();
    for number in 0..100 {
        revocations.note(&id("web@101"), issued(number.into(), number));
    }
    let kept = &revocations.issued[&id("web@101")];
    assert_eq!((kept.len(), kept[0].generation), (MAX_EACH, 100 - MAX_EACH as u64));
}

#[test]
fn what_is_written_down_is_read_as_it_was() {
    let (mut revocations, mut reports) = two();
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    revocations.mark(&reports, at(5));
    let written = revocations.take_unwritten();
    let [(document, Some(record))] = &written[..] else { panic!("one document: {written:?}") };
    assert_eq!(*document, name(&id("web@101")));
    let read: Record = serde_json::from_str(&serde_json::to_string(record).expect("written")).expect("read");
    assert_eq!(read.issued, revocations.issued[&id("web@101")]);
    assert_eq!(read.issued[0].replaced, Some(Replaced { failures: 0, not_before: at(5) }));
    revocations.mark(&reports, at(6));
    assert!(revocations.take_unwritten().is_empty(), "nothing has changed");
    for number in [0x11, 0x12] {
        revocations.take(&id("web@101"), &serial(number));
    }
    assert!(matches!(&revocations.take_unwritten()[..], [(_, None)]), "a document without a use is removed");
}

#[test]
fn what_a_compromised_guest_had_is_revoked_at_once_and_what_others_share_when_they_serve_another() {
    let (mut revocations, mut reports) = two();
    assert!(revocations.note(&id("web@102"), Issued { when_replaced: false, ..issued(1, 0x21) }));
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    says(&mut reports, "web@102", 1, 0x21, Stage::Served);
    let guest: Guest = "101".parse().expect("a guest");
    assert_eq!(revocations.compromise(guest, at(0)).len(), 2);
    assert_eq!(due(&mut revocations, &reports, at(0)).len(), 2, "also what it says that it holds");
    assert!(
        revocations.take(&id("web@101"), &serial(0x11)).is_some()
            && revocations.take(&id("web@101"), &serial(0x12)).is_some()
    );

    revocations.revoke_when_replaced(&id("web@102"));
    assert_eq!(due(&mut revocations, &reports, at(0)), [""; 0], "it is served until there is another");
    assert!(revocations.note(&id("web@102"), Issued { when_replaced: false, ..issued(2, 0x22) }));
    says(&mut reports, "web@102", 2, 0x22, Stage::Served);
    assert_eq!(due(&mut revocations, &reports, at(0)), ["21"]);
}

/// What is asked of issuers in one pass, each with whether its key may be in other hands.
fn step(revocations: &mut Revocations, world: &World, now: Timestamp) -> (Vec<(String, bool)>, Option<Timestamp>) {
    let mut effects = Effects::at(now);
    let next = revocations.step(world, &mut effects);
    let calls = effects.into_iter().filter_map(|effect| match effect {
        Effect::Revoke(call) => Some((call.serial.to_string(), call.why == Revocation::KeyCompromise)),
        _ => None,
    });
    (calls.collect(), next)
}

/// A world in which `web@101` serves generation 2.
fn served() -> World {
    let mut world = testing::world(testing::WEB);
    let (_, mut reports) = two();
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    let report = reports.placement(&id("web@101")).and_then(|entry| entry.report()).expect("reported");
    testing::link(&mut world, "101", vec![report.clone()]);
    world
}

fn outcome(result: Result<(), IssuerError>) -> RevocationOutcome {
    RevocationOutcome { id: id("web@101"), serial: serial(0x11), result }
}

fn down(why: &str) -> Result<(), IssuerError> {
    Err(IssuerError::Unavailable { message: why.into() })
}

#[test]
fn each_is_asked_for_once_until_it_is_answered() {
    let (mut revocations, world) = (two().0, served());
    assert_eq!(step(&mut revocations, &world, at(0)).0, [("11".to_owned(), false)]);
    assert!(step(&mut revocations, &world, at(0)).0.is_empty(), "it is under way");
    let mut effects = Effects::at(at(0));
    revocations.take_outcome(outcome(Ok(())), Backoff::default(), &mut effects);
    assert_eq!(effects.texts(), ["step-ca revoked 11, which web@101 no longer uses"]);
    assert!(step(&mut revocations, &world, at(0)).0.is_empty(), "it is revoked");
    assert!(!revocations.knows(&id("web@101"), "11") && revocations.knows(&id("web@101"), "12"));
}

#[test]
fn a_failure_is_told_once_and_tried_again_later() {
    let backoff = Backoff { initial: Duration::from_secs(100), max: Duration::from_secs(100) };
    let (mut revocations, world) = (two().0, served());
    let mut told = Vec::new();
    for why in ["it is down", "it is down", "it refuses"] {
        let mut effects = Effects::at(at(0));
        revocations.take_outcome(outcome(down(why)), backoff, &mut effects);
        told.push(effects.texts().len());
    }
    assert_eq!(told, [1, 0, 1], "the same cause says nothing new");
    let (calls, next) = step(&mut revocations, &world, at(0));
    let next = next.expect("it is tried again");
    assert!(calls.is_empty() && next > at(79) && next <= at(101), "{next}");
    assert!(next.since(at(0)) >= backoff.delay(3, &id("web@101")), "never before the pause is over");
    assert_eq!(step(&mut revocations, &world, next).0.len(), 1);
}

#[test]
fn what_is_written_at_once_is_what_would_be_lost() {
    let saves = |revocations: &Revocations| {
        let mut effects = Effects::at(at(0));
        revocations.save(&mut effects);
        [When::AtOnce, When::Soon]
            .map(|when| effects.count(|effect| matches!(effect, Effect::SaveRevocations(found) if *found == when)))
    };
    let with = |change: fn(&mut Issued)| {
        let mut revocations = Revocations::default();
        let mut one = issued(1, 0x11);
        change(&mut one);
        revocations.note(&id("web@101"), one);
        revocations
    };
    let mut written = with(|_| {});
    written.take_unwritten();
    let mut gone = with(|_| {});
    gone.take(&id("web@101"), &serial(0x11));
    let cases = [
        ("nothing has changed", written, [0, 0]),
        ("it is revoked by itself", with(|_| {}), [1, 0]),
        ("a person's word alone revokes it", with(|one| one.when_replaced = false), [0, 1]),
        ("a person has said so", with(|one| (one.when_replaced, one.at_once) = (false, true)), [1, 0]),
        ("it is revoked", gone, [1, 0]),
    ];
    for (what, revocations, expected) in cases {
        assert_eq!(saves(&revocations), expected, "{what}");
    }
}

#[test]
fn an_issuer_is_told_why() {
    let (mut revocations, world) = (two().0, served());
    revocations.compromise(testing::guest("101"), at(0));
    let (calls, _) = step(&mut revocations, &world, at(0));
    assert_eq!(calls, [("12".to_owned(), true), ("11".to_owned(), true)]);
    let mut effects = Effects::at(at(0));
    revocations.take_outcome(outcome(Ok(())), Backoff::default(), &mut effects);
    assert_eq!(effects.texts(), ["step-ca revoked 11 of web@101, because someone else may have its key"]);
}

#[test]
fn only_what_its_issuer_can_revoke_is_noted() {
    let leaf = testing::leaf(0x11, at(-60));
    for (what, issuer, can_revoke, saved) in [
        ("it can", "step-ca", true, 1),
        ("another one can", "other", false, 0),
        ("for replaced ones too", "step-ca", true, 1),
    ] {
        let (issuers, step_ca) = (testing::revoking(issuer, true), "step-ca".parse().expect("a name"));
        let (mut revocations, mut effects) = (Revocations::default(), Effects::at(at(0)));
        let id = id("web@101");
        let signed = SignedLeaf { id: &id, generation: 1, issuer: &step_ca, leaf: &leaf };
        for _ in 0..2 {
            revocations.note_signed(&signed, &issuers, &mut effects);
        }
        assert_eq!(revocations.knows(&id, "11"), can_revoke, "{what}");
        assert_eq!(effects.count(|effect| matches!(effect, Effect::SaveRevocations(When::AtOnce))), saved, "{what}");
    }
}

#[test]
fn so_many_placements_are_noted_and_no_more() {
    let mut revocations = Revocations::default();
    for number in 0..MAX_PLACEMENTS {
        assert!(revocations.note(&id(&format!("c{number}@101")), issued(1, 0x11)));
    }
    assert!(!revocations.note(&id("web@101"), issued(1, 0x11)), "there is no room");
    assert!(revocations.note(&id("c0@101"), issued(2, 0x12)), "a placement that is known may have another");
}

#[test]
fn what_is_to_be_revoked_is_known_after_a_restart() {
    let (_directory, resources) = testing::resources(Issuers::of([]));
    let (store, events) = (&resources.store, &resources.events);
    let (mut revocations, _) = two();
    revocations.note(&id("web@102"), Issued { compromised: true, ..issued(1, 0x21) });
    let written = revocations.take_unwritten();
    // One lies under another's name as well.
    let issued = written[0].1.as_ref().expect("a record").issued.clone();
    let copy = Record { placement: id("copy@101"), issued };
    store.write(Area::Local, "replaced/101-copy", &copy).expect("written");
    write(store, written);
    let path = |name: &str| store.file(Area::Local, &format!("replaced/{name}")).expect("a path");
    let restore = |of_replaced| Revocations::restore(store, &testing::revoking("step-ca", of_replaced), events, at(0));

    for (of_replaced, expected) in [(true, [true, true, true]), (false, [false, false, true])] {
        let restored = restore(of_replaced);
        let when_replaced = ["web@101", "web@102"].map(|name| &restored.issued[&id(name)]);
        let when_replaced: Vec<_> = when_replaced.into_iter().flatten().map(|one| one.when_replaced).collect();
        assert_eq!(when_replaced, expected, "as the configuration says now, or since its key is compromised");
        assert!(!restored.knows(&id("copy@101"), "11"), "a document under another name is passed over");
    }
    assert!(events.recent(usize::MAX, at(0)).is_empty());
    std::fs::write(path("101-copy"), "not JSON").expect("written");
    assert!(restore(true).knows(&id("web@101"), "11"), "the others are read all the same");
    assert_eq!(events.recent(usize::MAX, at(0)).len(), 1, "one that cannot be read is told");

    // What nobody can revoke any more is removed.
    let mut without = Revocations::restore(store, &Issuers::of([]), events, at(0));
    assert!(!without.knows(&id("web@101"), "11"));
    write(store, without.take_unwritten());
    assert_eq!(store.list(Area::Local, "replaced").expect("a directory"), ["101-copy"]);
}
