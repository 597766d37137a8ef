//! What may be revoked, and what never, whatever guests say.

use pinion_proto::{
    report::{Held, PlacementReport},
    stage::Stage,
};
use rcgen::{CertificateParams, KeyPair, SerialNumber};

use super::*;

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
    };
    let mut report = PlacementReport::nothing(id.certificate.clone());
    (report.stage, report.held) = (stage, Some(held));
    reports.report(id.guest, report, at(0));
}

/// Which serial numbers would be revoked now.
fn due(revoking: &mut Revoking, reports: &Reports, now: Timestamp) -> Vec<String> {
    revoking.mark(reports, now);
    revoking.due(reports, now).0.into_iter().map(|(_, one)| one.serial.to_string()).collect()
}

/// Two certificates of `web@101`, signed as generations 1 and 2.
fn two() -> (Revoking, Reports) {
    let mut revoking = Revoking::new().0;
    assert!(revoking.note(&id("web@101"), issued(1, 0x11)) && revoking.note(&id("web@101"), issued(2, 0x12)));
    (revoking, Reports::default())
}

#[test]
fn the_old_one_is_due_when_the_new_one_has_come_to_its_goal() {
    let (mut revoking, mut reports) = two();
    assert!(due(&mut revoking, &reports, at(0)).is_empty(), "nobody knows what the guest has");
    says(&mut reports, "web@101", 1, 0x11, Stage::Served);
    assert!(due(&mut revoking, &reports, at(0)).is_empty());
    says(&mut reports, "web@101", 2, 0x12, Stage::Installed);
    assert!(due(&mut revoking, &reports, at(0)).is_empty(), "the service may not have it yet");
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    assert_eq!(due(&mut revoking, &reports, at(0)), ["11"]);
}

#[test]
fn a_serial_number_that_was_not_signed_for_the_placement_is_never_due() {
    let (mut revoking, mut reports) = two();
    revoking.note(&id("web@102"), issued(1, 0x21));
    // 101 says that it had what is 102's, and what it was never given.
    says(&mut reports, "web@101", 1, 0x21, Stage::Served);
    says(&mut reports, "web@101", 2, 0x77, Stage::Served);
    assert!(due(&mut revoking, &reports, at(0)).is_empty(), "a certificate that nobody signed replaces nothing");
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    assert_eq!(due(&mut revoking, &reports, at(0)), ["11"], "its own, and not 102's");
}

#[test]
fn what_somebody_holds_waits() {
    let (mut revoking, mut reports) = two();
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    says(&mut reports, "web@102", 5, 0x11, Stage::Served);
    assert!(due(&mut revoking, &reports, at(0)).is_empty(), "102 has it");
    reports.forget("102".parse::<Guest>().expect("a guest"));
    says(&mut reports, "web@101", 1, 0x11, Stage::Served);
    assert!(due(&mut revoking, &reports, at(0)).is_empty(), "101 was taken back to it");
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    assert_eq!(due(&mut revoking, &reports, at(0)), ["11"]);
}

#[test]
fn few_at_once_the_soonest_to_expire_first_and_nothing_that_has_expired() {
    let (mut revoking, mut reports) = two();
    for number in 1..=8 {
        revoking.note(&id("web@101"), issued(1, number));
    }
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    assert_eq!(due(&mut revoking, &reports, at(0)), ["11", "08", "07", "06"]);
    revoking.under_way.extend([serial(0x11), serial(8), serial(7)]);
    assert_eq!(due(&mut revoking, &reports, at(0)), ["06"]);
    assert_eq!(due(&mut revoking, &reports, at(999)), ["01"], "the others have expired");
}

#[test]
fn a_placement_has_so_many_and_no_more() {
    let mut revoking = Revoking::new().0;
    for number in 0..100 {
        revoking.note(&id("web@101"), issued(number.into(), number));
    }
    let kept = &revoking.issued[&id("web@101")];
    assert_eq!((kept.len(), kept[0].generation), (MOST_EACH, 100 - MOST_EACH as u64));
}

#[test]
fn what_is_written_down_is_read_as_it_was() {
    let (mut revoking, mut reports) = two();
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    revoking.mark(&reports, at(5));
    let written = revoking.take_unwritten();
    let [(document, Some(record))] = &written[..] else { panic!("one document: {written:?}") };
    assert_eq!(*document, name(&id("web@101")));
    let read: Record = serde_json::from_str(&serde_json::to_string(record).expect("written")).expect("read");
    assert_eq!(read.issued, revoking.issued[&id("web@101")]);
    assert_eq!(read.issued[0].replaced, Some(Replaced { failures: 0, not_before: at(5) }));
    assert!(revoking.take_unwritten().is_empty());
    for number in [0x11, 0x12] {
        revoking.take(&id("web@101"), &serial(number));
    }
    assert!(matches!(&revoking.take_unwritten()[..], [(_, None)]), "a document without a use is removed");
}

#[test]
fn what_a_compromised_guest_had_is_revoked_at_once_and_what_others_share_when_they_serve_another() {
    let (mut revoking, mut reports) = two();
    assert!(revoking.note(&id("web@102"), Issued { when_replaced: false, ..issued(1, 0x21) }));
    says(&mut reports, "web@101", 2, 0x12, Stage::Served);
    says(&mut reports, "web@102", 1, 0x21, Stage::Served);
    let guest: Guest = "101".parse().expect("a guest");
    assert_eq!(revoking.compromise(guest, at(0)).len(), 2);
    assert_eq!(due(&mut revoking, &reports, at(0)).len(), 2, "also what it says that it holds");
    assert!(
        revoking.take(&id("web@101"), &serial(0x11)).is_some()
            && revoking.take(&id("web@101"), &serial(0x12)).is_some()
    );

    revoking.revoke_when_replaced(&id("web@102"));
    assert_eq!(due(&mut revoking, &reports, at(0)), [""; 0], "it is served until there is another");
    assert!(revoking.note(&id("web@102"), Issued { when_replaced: false, ..issued(2, 0x22) }));
    says(&mut reports, "web@102", 2, 0x22, Stage::Served);
    assert_eq!(due(&mut revoking, &reports, at(0)), ["21"]);
}
