//! A controller that lies to a real agent: what was not ordered is not taken, what is not allowed is not done.

use std::{fs, os::unix::fs::symlink, time::Duration};

use pinion_proto::{
    bundle::{CertificateRequest, Chain, RootCertificate},
    content::{Content, LeafSpec},
    key::{KeyAlgorithm, KeyPolicy},
    message::{Delivery, ToAgent},
    names::{SubjectName, SubjectNames},
    private_key::PrivateKey,
    spec::{FileSpec, Part, PlacementSpec, Probe, Reload, Validate},
    stage::{Halt, Stage},
    wire::{self, pb},
};
use pinion_tests::guest::{Guest, GuestOptions};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateSigningRequestDer;
use time::OffsetDateTime;

use super::fake_controller::{FakeController, Link};

/// A CA in the liar's hands.
pub(super) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    root: RootCertificate,
}

impl Ca {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Root");
        let key = KeyPair::generate().expect("a key");
        let root = RootCertificate::parse(params.self_signed(&key).expect("a root").der()).expect("a root");
        Self { issuer: Issuer::new(params, key), root }
    }

    /// What answers this request, changed.
    pub(super) fn delivery(
        &self,
        generation: u64,
        csr: &[u8],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Delivery {
        let csr = CertificateSigningRequestDer::from(csr);
        let mut request = CertificateSigningRequestParams::from_der(&csr).expect("a request");
        request.params.not_before = OffsetDateTime::now_utc() - Duration::from_secs(60);
        request.params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(3600);
        change(&mut request.params);
        let leaf = request.signed_by(&self.issuer).expect("signed");
        Delivery {
            certificate: "web".parse().expect("a name"),
            generation,
            chain: Chain::from_der(&[leaf.der().to_vec()]).expect("a chain"),
            root: self.root.clone(),
            issuer: "embedded".parse().expect("a name"),
            shared_key: None,
        }
    }
}

pub(super) fn spec(certificate: &str, directory: &str, ordered: Option<u64>) -> PlacementSpec {
    let names: Vec<SubjectName> = vec!["web.example".parse().expect("a name")];
    let file = |kind: &str| {
        let path = format!("{directory}/{certificate}.{kind}").parse().expect("a path");
        FileSpec { path: Some(path), ..FileSpec::default() }
    };
    PlacementSpec {
        certificate: certificate.parse().expect("a name"),
        content: Content::Leaf(LeafSpec {
            common_name: names[0].clone(),
            names: SubjectNames::try_from(names).expect("names"),
            key: KeyPolicy::default(),
            shared: false,
        }),
        roots: Vec::new(),
        recipe: None,
        files: [(Part::Fullchain, file("crt")), (Part::Key, file("key"))].into(),
        validate: Some(Validate::Nothing),
        reload: Some(Reload::Nothing),
        probe: Some(Probe::Nothing),
        more_reloads: Vec::new(),
        more_probes: Vec::new(),
        layout: None,
        window: None,
        requires_mount: None,
        usage: None,
        purge: false,
        ordered,
        trouble: None,
        adoption: None,
    }
}

/// A guest that holds `web`, generation 1, and its link.
pub(super) async fn setup() -> (FakeController, Ca, Guest, Link) {
    let mut fake = FakeController::start().await;
    let mut guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest");
    guest.join_with(&fake.token("1001")).expect("it runs").succeeded().expect("joined");
    guest.start().expect("an agent");
    let mut link = fake.link().await;
    let ca = Ca::new();
    link.desire(&[&spec("web", "/etc/ssl", Some(1))]).await;
    let csr = link.request(1).await;
    link.deliver(ca.delivery(1, &csr, |_| {})).await;
    link.report(|report| (report.stage == Stage::Reloaded && report.held.is_some()).then_some(())).await;
    (fake, ca, guest, link)
}

fn files(guest: &Guest) -> [String; 2] {
    ["crt", "key"].map(|kind| guest.read(&format!("/etc/ssl/web.{kind}")).expect("installed"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_not_ordered_is_refused_and_the_old_one_kept() {
    let (_fake, ca, guest, mut link) = setup().await;
    let before = files(&guest);
    let other = Ca::new();
    let cases = ["key", "names", "expired", "early", "root", "signer", "secret"];
    let mut generation = 1;
    for case in cases {
        generation += 1;
        link.desire(&[&spec("web", "/etc/ssl", Some(generation))]).await;
        let csr = link.request(generation).await;
        let good = || ca.delivery(generation, &csr, |_| {});
        let hours = |n: i64| OffsetDateTime::now_utc() + time::Duration::hours(n);
        let (delivery, words) = match case {
            "key" => {
                let names = SubjectNames::try_from(vec!["web.example".parse().expect("a name")]).expect("names");
                let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
                let theirs = key.request(&"web.example".parse().expect("a name"), &names).expect("a request");
                (ca.delivery(generation, &theirs, |_| {}), "not for the key")
            }
            "names" => {
                let more = rcgen::SanType::DnsName("evil.example".try_into().expect("ASCII"));
                (ca.delivery(generation, &csr, |params| params.subject_alt_names.push(more)), "dns:evil.example")
            }
            "expired" => (ca.delivery(generation, &csr, |params| params.not_after = hours(-1)), "expired"),
            "early" => (ca.delivery(generation, &csr, |params| params.not_before = hours(1)), "not valid before"),
            // The same name, another key.
            "root" => (Delivery { root: other.root.clone(), ..good() }, "does not end at the delivered root"),
            "signer" => (other.delivery(generation, &csr, |_| {}), "does not end at the delivered root"),
            _ => {
                let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key").to_pkcs8();
                (Delivery { shared_key: Some(key), ..good() }, "a private key was delivered")
            }
        };
        let delivery = if case == "signer" { Delivery { root: ca.root.clone(), ..delivery } } else { delivery };
        link.deliver(delivery).await;
        let trouble =
            link.report(|report| report.trouble.clone().filter(|trouble| trouble.cause.contains(words))).await;
        assert_eq!(trouble.halt, Halt::Blocked, "{case}: {trouble}");
        assert_eq!(files(&guest), before, "{case}");
    }
    // Other generations are passed over, an older one too; then the right one is still good.
    generation += 1;
    link.desire(&[&spec("web", "/etc/ssl", Some(generation))]).await;
    let csr = link.request(generation).await;
    for wrong in [generation + 5, generation - 1, 1, u64::MAX] {
        link.deliver(ca.delivery(wrong, &csr, |_| {})).await;
    }
    link.deliver(ca.delivery(generation, &csr, |_| {})).await;
    let held = link.report(|report| report.held.as_ref().map(|held| held.generation).filter(|held| *held > 1)).await;
    assert_eq!(held, generation);
    assert_ne!(files(&guest), before);
    // An order that goes back in time is not taken up.
    link.desire(&[&spec("web", "/etc/ssl", Some(2))]).await;
    link.desire(&[&spec("web", "/etc/ssl", Some(generation + 1))]).await;
    CertificateRequest::parse(&link.request(generation + 1).await).expect("the next one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_guest_does_not_allow_is_not_done() {
    let (_fake, ca, guest, mut link) = setup().await;
    let before = files(&guest);
    guest.write("etc/shadow", "root:*::\n").expect("a file");
    let web = spec("web", "/etc/ssl", None);
    let at = |part: Part, path: &str| {
        let mut evil = spec("evil", "/etc/ssl", Some(1));
        evil.files.insert(part, FileSpec { path: Some(path.parse().expect("a path")), ..FileSpec::default() });
        evil
    };
    let with = |change: &dyn Fn(&mut PlacementSpec)| {
        let mut evil = spec("evil", "/etc/ssl", Some(1));
        change(&mut evil);
        evil
    };
    let cases = [
        (at(Part::Fullchain, "/etc/shadow"), "/etc/shadow"),
        (at(Part::Key, "/etc/pinion/hooks.d/evil"), "/etc/pinion/hooks.d/evil"),
        (at(Part::Key, "/etc/pinion/agent.toml"), "/etc/pinion/agent.toml"),
        (at(Part::Cert, "/etc/sslx/web.crt"), "/etc/sslx/web.crt"),
        (at(Part::Cert, "/etc/ssl"), "/etc/ssl"),
        (at(Part::Cert, "/etc/ssl/web.key"), "the certificate `web` already has a file there"),
        (with(&|evil| evil.reload = Some(Reload::Restart("ssh.service".parse().expect("a unit")))), "ssh.service"),
        (with(&|evil| evil.recipe = Some("rootkit".parse().expect("a name"))), "rootkit"),
    ];
    for (evil, words) in cases {
        link.desire(&[&web, &evil]).await;
        let evil = |report: &pinion_proto::report::PlacementReport| {
            let here = report.certificate.as_str() == "evil" && report.incoming.is_none();
            report.trouble.clone().filter(|trouble| here && trouble.cause.contains(words))
        };
        let trouble = link.report(evil).await;
        assert_eq!(trouble.halt, Halt::Blocked, "{words}: {trouble}");
        assert!(!trouble.remedy.is_empty(), "{trouble}");
    }
    // What is no path at all does not get past the parser, and the link goes on.
    for path in ["/etc/ssl/../shadow", "etc/ssl/x", "/etc/ssl/a\nb", "/etc/ssl//x"] {
        let mut raw = wire::write_to_agent(ToAgent::Desired(vec![spec("evil", "/etc/ssl", Some(1))]));
        let Some(pb::to_agent::Message::Desired(desired)) = &mut raw.message else { panic!("a desired") };
        desired.placements[0].files[0].path = Some(path.into());
        link.say_raw(raw).await;
    }
    // A link in an allowed directory leads out of it; a hook that is not there is nobody's.
    fs::create_dir_all(guest.path("/srv/outside")).expect("a directory");
    symlink(guest.path("/srv/outside"), guest.path("/etc/ssl/way-out")).expect("a link");
    let hook = with(&|evil| evil.validate = Some(Validate::Hook("nobody".parse().expect("a name"))));
    for (mut evil, words) in [(spec("evil", "/etc/ssl/way-out", Some(1)), "way-out"), (hook, "nobody")] {
        evil.ordered = Some(if words == "nobody" { 2 } else { 1 });
        link.desire(&[&web, &evil]).await;
        let csr = link.request(evil.ordered.expect("an order")).await;
        let delivery = ca.delivery(evil.ordered.expect("an order"), &csr, |_| {});
        link.deliver(Delivery { certificate: "evil".parse().expect("a name"), ..delivery }).await;
        link.report(|report| report.trouble.clone().filter(|trouble| trouble.cause.contains(words))).await;
        assert_eq!(fs::read_dir(guest.path("/srv/outside")).expect("a directory").count(), 0);
        assert!(!guest.path("/etc/ssl/evil.crt").exists(), "{words}");
    }
    assert_eq!(guest.read("etc/shadow").expect("a file"), "root:*::\n");
    assert_eq!(files(&guest), before, "what is good stays");
}
