//! What an event says, and what it is filed under: people search for both.

use std::time::Duration;

use pinion_proto::{
    id::PlacementId,
    stage::{Halt, Stage, Trouble},
};

use super::*;
use crate::events::Document;

fn at() -> Timestamp {
    Timestamp::from_unix(1_800_000_000)
}

fn guest() -> Guest {
    "1001".parse().expect("a guest")
}

fn web() -> PlacementId {
    "web@1001".parse().expect("a placement")
}

fn trouble() -> Trouble {
    Trouble {
        halt: Halt::Waiting,
        attempt: "have web@1001 signed".into(),
        cause: "the CA is away".into(),
        remedy: "nothing".into(),
        retry_at: None,
    }
}

fn issued(shortened_to: Option<Duration>) -> What {
    let issuer = "step-ca".parse().expect("a name");
    let issued = PlacementEvent::Issued { issuer, generation: 3, serial: "0A".into(), not_after: at(), shortened_to };
    What::Placement(web(), issued)
}

fn stage(back: bool) -> What {
    What::Placement(web(), PlacementEvent::Stage { stage: Stage::Served, back, generation: 3, serial: "0A".into() })
}

#[test]
fn each_event_has_its_kind_and_its_sentence() {
    let rejected = |since| HostEvent::ManifestRejected { since, problem: "line 3".into() };
    let cases = [
        (What::Host(HostEvent::Stops), "controller", "Controller stops".to_owned()),
        (
            What::Host(HostEvent::ManifestInForce { certificates: 2, placements: 5 }),
            "manifest",
            "A manifest with 2 certificates in 5 places is in force".into(),
        ),
        (
            What::Host(rejected(None)),
            "failed",
            "The manifest on disk cannot be used; the previous one stays in force: line 3".into(),
        ),
        (
            What::Host(rejected(Some(at()))),
            "failed",
            format!("The manifest on disk cannot be used; the previous one stays in force, since {}: line 3", at()),
        ),
        (
            What::Host(HostEvent::ClockMovedBack { to: at(), renewed: Vec::new() }),
            "controller",
            format!("The clock was set back to {}", at()),
        ),
        (
            What::Host(HostEvent::ClockMovedBack { to: at(), renewed: vec![web()] }),
            "controller",
            format!(
                "The clock was set back to {}; certificates that begin too late or were under way are renewed: web@1001",
                at()
            ),
        ),
        (
            What::Host(HostEvent::Unreadable(Document::Freezes, "cannot read it".into())),
            "failed",
            "Cannot read the freezes, so nothing is frozen now: cannot read it".into(),
        ),
        (What::Guest(guest(), GuestEvent::Linked), "linked", "Guest 1001 is linked".into()),
        (
            What::Guest(guest(), GuestEvent::Unlinked("it hung up".into())),
            "unlinked",
            "Guest 1001 is no longer linked: it hung up".into(),
        ),
        (What::Guest(guest(), GuestEvent::Joined(2)), "joined", "Guest 1001 joined with identity number 2".into()),
        (
            What::Guest(guest(), GuestEvent::IdentityRenewed(3)),
            "renewed",
            "Guest 1001 renewed its identity number 3".into(),
        ),
        (
            What::Guest(guest(), GuestEvent::Evicted(None)),
            "asked",
            "Guest 1001 was evicted: its identity is refused from now on".into(),
        ),
        (issued(None), "issued", format!("step-ca signed web@1001, valid until {}", at())),
        (
            issued(Some(Duration::from_millis(86_400_500))),
            "issued",
            format!("step-ca signed web@1001, valid until {}, shortened to the 1d that it allows", at()),
        ),
        (stage(false), "stage", "web@1001 is served".into()),
        (stage(true), "stage", "web@1001 went back to its previous certificate, which is served".into()),
        (
            What::Placement(web(), PlacementEvent::Purged(Box::new(Purged::all(web().certificate)))),
            "purged",
            "The files of web@1001 are removed".into(),
        ),
        (What::Placement(web(), PlacementEvent::HeldUp(trouble())), "trouble", format!("web@1001: {}", trouble())),
    ];
    for (what, kind, text) in cases {
        let event = what.at(at());
        assert_eq!((event.kind.as_str(), event.text.as_str()), (kind, text.as_str()));
        assert_eq!(event.at, at());
    }
}

#[test]
fn an_event_is_filed_under_what_it_concerns() {
    let not_issued = |generation| What::Placement(web(), PlacementEvent::NotIssued { generation, trouble: trouble() });
    let key = What::Certificate("web".parse().expect("a name"), CertificateEvent::SharedKeyGivenUp);
    let step_ca = "step-ca".parse().expect("a name");
    let root = pinion_proto::bundle::Fingerprint::of(b"a root");
    let cases = [
        ("a host", What::Host(HostEvent::InventoryKnown), (false, false, None, None)),
        ("an issuer", What::Issuer(step_ca, IssuerEvent::RootGone(root)), (false, false, None, None)),
        ("a guest", What::Guest(guest(), GuestEvent::MadeAnew), (true, false, None, None)),
        ("an identity", What::Guest(guest(), GuestEvent::Joined(2)), (true, false, Some(2), None)),
        ("a certificate", key, (false, true, None, None)),
        ("a placement", What::Placement(web(), PlacementEvent::Retired), (true, true, None, None)),
        ("a failure", not_issued(None), (true, true, None, None)),
        ("a failure of a generation", not_issued(Some(4)), (true, true, Some(4), None)),
        ("a content", issued(None), (true, true, Some(3), Some("0A"))),
    ];
    for (what, event, expected) in cases {
        let event = event.at(at());
        let found = (event.guest.is_some(), event.certificate.is_some(), event.generation, event.serial.as_deref());
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn a_guest_that_may_be_a_copy_is_described_as_it_was_seen() {
    let facts = |hostname: &str, card: Option<&str>| GuestFacts {
        hostname: hostname.into(),
        hwaddrs: card.into_iter().filter_map(pinion_proto::hwaddr::HwAddr::parse).collect(),
        ..GuestFacts::default()
    };
    let now = facts("", None);
    for (before, words) in [
        (None, "seen as an unnamed machine"),
        (Some(facts("web", None)), "last seen as web, and now as an unnamed machine"),
        (
            Some(facts("web", Some("AA:BB:CC:DD:EE:FF"))),
            "last seen as web with network card AA:BB:CC:DD:EE:FF, and now as an unnamed machine",
        ),
    ] {
        let text = taken_back_or_cloned("a sign", before.as_ref(), &now);
        assert_eq!(text, format!("it was rolled back to a snapshot, or cloned: a sign; {words}"));
    }
}
