//! A guest that has an identity and means ill: it gets what is its own, in measure, and disturbs nobody.

use pinion_controller::events::Kind;
use pinion_proto::{
    key::KeyAlgorithm,
    message::{ToAgent, ToController},
    stage::{Halt, Stage, Trouble},
    wire::pb,
};
use pinion_tests::{
    ca::HostileCa,
    guest::Guest,
    host::{Host, HostOptions, StepCaIssuer},
    journal,
    process::Process,
    wait::{PATIENCE, until},
};
use serde_json::{Value, json};

use super::rogue_agent::{Rogue, csr, requested};

/// An honest guest 1001 with `web`, and certificates of these names for the guest 1002, which is nobody's yet.
async fn setup(ca: &HostileCa, names: &[&str]) -> (Host, Guest) {
    let password = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(password.path(), pinion_tests::ca::PASSWORD).expect("written");
    let issuer = StepCaIssuer {
        url: ca.url(),
        fingerprint: ca.fingerprint().to_string(),
        provisioner: "admin".into(),
        password_file: password.path().to_owned(),
        revoke_replaced: false,
        roots_every: None,
    };
    let placed = |guest: u32, name: &str| {
        let file = |kind: &str| json!({ "path": format!("/etc/ssl/{name}.{kind}") });
        json!({ "name": name, "common_name": format!("{name}.example"), "sans": [format!("also.{name}.example")],
                "placements": [{ "guest": guest, "files": { "cert": file("crt"), "key": file("key") } }] })
    };
    let certificates: Vec<Value> =
        std::iter::once(placed(1001, "web")).chain(names.iter().map(|name| placed(1002, name))).collect();
    let host = Host::start(&HostOptions::step_ca(issuer, &json!(certificates))).expect("a host");
    let guest = Guest::join(&host, 1001).expect("an honest guest");
    host.ensure(&["web"], "installed").expect("installed");
    (host, guest)
}

fn both(name: &str) -> [String; 2] {
    [format!("{name}.example"), format!("also.{name}.example")]
}

fn good(name: &str) -> Vec<u8> {
    let names = both(name);
    csr(KeyAlgorithm::EcdsaP256, &[&names[0], &names[1]])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_as_ordered_is_reported_and_never_signed() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let cases = ["more", "fewer", "others", "kind", "broken", "noise", "empty"];
    let (host, _honest) = setup(&ca, &cases).await;
    let signed = ca.calls_of("/1.0/sign");
    let rogue = Rogue::join(&host, "1002").await;
    for case in cases {
        let mut wire = rogue.link().await;
        let order = wire.ordered(case, 1).await.ordered.expect("ordered");
        let [one, two] = both(case);
        let (request, words) = match case {
            "more" => (csr(KeyAlgorithm::EcdsaP256, &[&one, &two, "web.example"]), "its names are not those"),
            "fewer" => (csr(KeyAlgorithm::EcdsaP256, &[&one]), "its names are not those"),
            "others" => (csr(KeyAlgorithm::EcdsaP256, &["web.example", "also.web.example"]), "its names are not those"),
            "kind" => (csr(KeyAlgorithm::EcdsaP384, &[&one, &two]), "not ecdsa-p256"),
            "broken" => {
                let mut request = good(case);
                let last = request.len() - 1;
                request[last] ^= 1;
                (request, "not signed by its own key")
            }
            "noise" => (vec![0x30; 900], "malformed"),
            _ => (pinion_agent::identity::IdentityRequest::make().expect("a key").csr, "its names are not those"),
        };
        assert!(wire.report(requested(case, order, request)).await);
        let words = [&format!("{case}@1002"), words];
        journal::wait_event(&host, Kind::Refused, &words).expect("the operator is told");
    }
    assert_eq!(ca.calls_of("/1.0/sign"), signed, "the CA was asked for nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_gets_its_own_and_nothing_of_anothers() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (host, _honest) = setup(&ca, &["mine"]).await;
    let before = ca.ordered().len();
    let mut wire = Rogue::join(&host, "1002").await.link().await;
    // It claims to hold the order for another guest's certificate, and for one that nobody has.
    for name in ["web", "nobody"] {
        assert!(wire.report(requested(name, 7, good(name))).await);
        journal::wait_event(&host, Kind::Retired, &[&format!("{name}@1002 is not in the manifest")]).expect("told");
    }
    assert_eq!(ca.ordered().len(), before, "nothing was signed for it");
    let order = wire.ordered("mine", 1).await.ordered.expect("ordered");
    assert!(wire.report(requested("mine", order, good("mine"))).await);
    let delivery = loop {
        match wire.hear().await.expect("the link stays") {
            ToAgent::Delivery(delivery) => break delivery,
            _ => continue,
        }
    };
    assert_eq!((delivery.certificate.as_str(), delivery.generation), ("mine", order));
    assert_eq!(ca.ordered().split_off(before), ["also.mine.example"]);
    assert!(host.status().expect("a status").placement("web@1002").is_some_and(|placement| placement.serial.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_claims_the_last_generation_there_is_blocks_only_itself() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (host, _honest) = setup(&ca, &["mine"]).await;
    let before = ca.ordered().len();
    let mut wire = Rogue::join(&host, "1002").await.link().await;
    wire.ordered("mine", 1).await;
    let mut report = requested("mine", u64::MAX, good("mine"));
    report.incoming = None;
    assert!(wire.report(report).await);
    let blocked = host.wait_placement("mine@1002", |placement| {
        placement.trouble.as_ref().is_some_and(|trouble| trouble.halt == Halt::Blocked)
    });
    let cause = blocked.expect("it is told").trouble.expect("a trouble").cause;
    assert!(cause.contains("last possible generation number"), "{cause}");
    assert_eq!(ca.ordered().len(), before);
    host.renew(&["web"], "installed").expect("the others go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_throws_its_certificates_away_does_not_use_up_the_ca() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (host, _honest) = setup(&ca, &["mine"]).await;
    let before = ca.ordered().len();
    let mut wire = Rogue::join(&host, "1002").await.link().await;
    let mut generation = wire.ordered("mine", 1).await.ordered.expect("ordered");
    let mut delivered = 0;
    // It asks for the next one as soon as one has come.
    while delivered < 40 {
        assert!(wire.report(requested("mine", generation, good("mine"))).await);
        match wire.hear().await.expect("the link stays") {
            ToAgent::Delivery(_) => {
                delivered += 1;
                generation += 1;
            }
            ToAgent::Desired(specs) if specs.iter().any(|spec| spec.trouble.is_some()) => break,
            _ => {}
        }
    }
    let signed = ca.ordered().len() - before;
    assert!((1..=12).contains(&signed), "{signed} were signed");
    journal::wait_event(&host, Kind::Failed, &["mine@1002", "10 certificates were signed", "one a minute"])
        .expect("the operator is told");
    host.renew(&["web"], "installed").expect("the others go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_reports_is_cut_off_and_hides_nothing() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (mut host, _honest) = setup(&ca, &["mine"]).await;
    let before = resident(&mut host);
    let rogue = Rogue::join(&host, "1002").await;
    // Placements that it invents, each as large as may be.
    let wire = rogue.link().await;
    let path = format!("/{}/{}", "x".repeat(250), "y".repeat(250));
    let mut invented = 0;
    loop {
        let mut report = requested(&format!("c{invented}"), 1, good("mine"));
        report.left_behind = vec![path.parse().expect("a path"); 100];
        if invented >= 5000 || !wire.report(report).await {
            break;
        }
        invented += 1;
    }
    assert!(invented < 1200, "{invented} were taken");
    journal::wait_event(&host, Kind::Refused, &["1002 reports"]).expect("the operator is told");
    host.renew(&["web"], "installed").expect("the others go on");

    // A trouble that is another one each time, for the journal.
    let wire = rogue.link().await;
    let flood = tokio::spawn(async move {
        for n in 0..3000 {
            let mut report = requested("mine", 1, Vec::new());
            report.trouble = Some(Trouble {
                halt: Halt::Blocked,
                attempt: format!("try {n}"),
                cause: "x".repeat(4000),
                remedy: "y".repeat(4000),
                retry_at: None,
            });
            assert!(wire.report(report).await, "slowed down, and not cut off");
        }
    });
    host.renew(&["web"], "installed").expect("the others go on meanwhile");
    flood.await.expect("said");
    journal::wait_event(&host, Kind::Refused, &["1002", "not recorded"]).expect("the operator is told");
    let events = journal::events(&host).expect("the events");
    assert!(events.iter().any(|event| event.kind == Kind::Joined && event.text.contains("1001")), "nothing is lost");
    let size = std::fs::metadata(host.root().join("var/lib/pinion/local/events.jsonl")).expect("the journal").len();
    assert!(size < 4 * 1024 * 1024, "{size} bytes");

    let grown = resident(&mut host).saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    let status = host.wait_placement("web@1001", |placement| placement.stage >= Stage::Installed);
    assert_eq!(status.expect("the honest guest").trouble, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_make_no_sense_end_the_link_of_the_one_who_sent_them() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let (host, _honest) = setup(&ca, &["mine"]).await;
    let rogue = Rogue::join(&host, "1002").await;
    let name = |name: &str| pb::PlacementReport { certificate: name.into(), ..pb::PlacementReport::default() };
    use pb::to_controller::Message;
    for message in [
        None,
        Some(Message::Purged(pb::Purged { certificate: "../../etc/passwd".into(), ..pb::Purged::default() })),
        Some(Message::Report(name("a\nb"))),
        Some(Message::Report(pb::PlacementReport { stage: "perfect".into(), ..name("mine") })),
        Some(Message::IdentityCsrDer(vec![0; 70_000])),
        Some(Message::Report(pb::PlacementReport { left_behind: vec!["/x".into(); 2000], ..name("mine") })),
    ] {
        let mut wire = rogue.link().await;
        assert!(wire.say_raw(pb::ToController { message }).await);
        wire.end().await;
    }
    // A request for an identity that is none, over and over, is answered with nothing.
    let wire = rogue.link().await;
    for _ in 0..20 {
        assert!(wire.say(ToController::RenewIdentity(vec![0x30, 0])).await);
    }
    journal::wait_event(&host, Kind::Refused, &["identity renewal"]).expect("the operator is told");
    host.renew(&["web"], "installed").expect("the others go on");
}

/// What the controller's process has in memory, in KiB.
fn resident(host: &mut Host) -> u64 {
    let id = host.controller().map(|process| Process::id(process)).expect("it runs");
    until("the controller's memory", PATIENCE, || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).map_err(|error| error.to_string())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        line.trim().trim_end_matches(" kB").parse::<u64>().map_err(|error| error.to_string())
    })
    .expect("its memory")
}
