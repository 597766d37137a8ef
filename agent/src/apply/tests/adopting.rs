//! A pair that was there before Pinion is taken over as it is, where it is as good as one that Pinion would make.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use pinion_proto::{
    bundle::{Chain, Fingerprint, certificates_to_pem},
    message::Purge,
    private_key::PrivateKey,
    report::{Found, FoundPair, PlacementReport},
    spec::{Adoption, AdoptionDecision, FileSpec, Layout, Part, PlacementSpec},
    stage::Stage,
};
use rcgen::{CertificateParams, KeyPair};

use super::guest::{
    Authority, CRT, Guest, KEY, Service, at_stage, deliver, issue, name, ordered, report, request, spec, until,
};
use crate::apply::Placements;

pub(super) const CA: &str = "etc/ssl/ca.crt";

/// What somebody has put in the placement's places.
pub(super) struct Planted {
    chain: Chain,
    key: PrivateKey,
}

/// A pair by this authority, for these names, from and for so many seconds from now.
fn made(authority: &Authority, names: &[&str], from: i64, until: i64) -> Planted {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let request = CertificateParams::new(names).and_then(|names| names.serialize_request(&key)).expect("a request");
    let key = PrivateKey::from_foreign_pem(key.serialize_pem().as_bytes()).expect("a key");
    Planted { chain: authority.sign(request.der(), from, until), key }
}

impl Planted {
    pub(super) fn good(guest: &Guest) -> Self {
        made(&guest.authority, NAMES, -60, 3600)
    }

    pub(super) fn leaf(&self) -> Fingerprint {
        Fingerprint::of(self.chain.leaf().der())
    }

    fn pem(&self) -> String {
        certificates_to_pem(self.chain.certificates())
    }

    /// In its places, with words of the person's own.
    pub(super) fn put(&self, guest: &Guest) {
        write(&guest.at(CRT), &format!("# made by hand\n{}", self.pem()), 0o644);
        write(&guest.at(KEY), &format!("# the key\n{}", *self.key.to_pem()), 0o600);
    }

    /// The same, shown by the service.
    fn plant(&self, guest: &Guest, service: &Service) {
        self.put(guest);
        service.show(&self.pem(), &self.key.to_pem());
    }
}

const NAMES: &[&str] = &["web.example", "127.0.0.1"];

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode");
}

pub(super) fn adoption(decision: AdoptionDecision) -> Option<Adoption> {
    Some(Adoption { issuer: "embedded".parse().expect("a name"), decision })
}

/// The placement, of which the controller has decided this.
fn wanted(guest: &Guest, decision: AdoptionDecision) -> PlacementSpec {
    let roots = vec![guest.authority.root.clone()];
    let web =
        PlacementSpec { roots, adoption: adoption(decision), layout: Some(Layout::Symlink), ..spec("web", "web") };
    ordered(&web, 1)
}

async fn found(placements: &Placements) -> PlacementReport {
    report(placements, "web", "found", |report| report.found.is_some()).await
}

/// Adopts the pair, and waits until it is.
async fn adopted(guest: &Guest, placements: &Placements, planted: &Planted) -> PlacementReport {
    placements.desire(vec![wanted(guest, AdoptionDecision::Adopt(planted.leaf()))]);
    at_stage(placements, "web", 1, Stage::Served).await
}

/// Content, mode, owner and time of change of both files.
fn files(guest: &Guest) -> Vec<(Vec<u8>, u32, u32, i64)> {
    let one = |path: &str| {
        let about = fs::symlink_metadata(guest.at(path)).expect("there");
        (fs::read(guest.at(path)).expect("read"), about.mode(), about.uid(), about.mtime_nsec())
    };
    [CRT, KEY].map(one).to_vec()
}

#[tokio::test]
async fn a_good_pair_waits_for_the_controller_and_is_adopted_as_it_is() {
    let (guest, service, placements) = Guest::at_work().await;
    let planted = Planted::good(&guest);
    planted.plant(&guest, &service);
    let before = files(&guest);

    placements.desire(vec![wanted(&guest, AdoptionDecision::Undecided)]);
    let told = found(&placements).await;
    let good = FoundPair {
        leaf: planted.chain.leaf().clone(),
        chain_ends: planted.chain.expires(),
        root: guest.authority.root.fingerprint(),
    };
    assert_eq!(told.found.as_deref(), Some(&Found::Good(good)));
    assert_eq!((told.held, told.incoming, told.last_generation), (None, None, 0), "it is left as it is");

    let report = adopted(&guest, &placements, &planted).await;
    let held = report.held.expect("held");
    assert!(held.adopted && held.leaf == *planted.chain.leaf() && held.issuer.as_str() == "embedded");
    assert_eq!((report.last_generation, report.incoming, report.found), (1, None, None));
    assert_eq!(report.originals.len(), 2);
    for original in &report.originals {
        assert_eq!(original.key, Some(planted.key.public()));
        let kept = fs::read(guest.at(original.kept.as_ref().expect("kept").as_str())).expect("the copy");
        assert_eq!(kept, fs::read(guest.at(original.path.as_str())).expect("the file"));
    }
    service.looked_at(3).await;
    placements.shutdown().await;

    // Also by an agent that starts anew, with an order that it was sent before.
    let placements = guest.start().await;
    placements.desire(vec![PlacementSpec {
        adoption: None,
        ordered: None,
        ..wanted(&guest, AdoptionDecision::Replace)
    }]);
    service.looked_at(2).await;
    at_stage(&placements, "web", 1, Stage::Served).await;
    assert_eq!(files(&guest), before, "the files were touched");
    assert_eq!(service.calls(), Vec::<String>::new(), "the service was told of something");

    // Renewed as any other, in the layout that is wanted, and then no longer adopted.
    let renewed = issue(&guest, &placements, &wanted(&guest, AdoptionDecision::Undecided), 2).await;
    let report = at_stage(&placements, "web", 2, Stage::Served).await;
    let held = report.held.expect("held");
    assert!(!held.adopted && held.leaf == renewed && held.leaf.key() != planted.key.public());
    assert!(guest.at(CRT).is_symlink() && guest.at(KEY).is_symlink());
    assert_eq!(service.calls(), ["reload"]);
    placements.shutdown().await;
}

#[tokio::test]
async fn an_adopted_file_that_somebody_changes_is_put_right_as_it_was_found() {
    let (guest, service, placements) = Guest::at_work().await;
    let planted = Planted::good(&guest);
    planted.plant(&guest, &service);
    adopted(&guest, &placements, &planted).await;
    let content = |path: &str| guest.content(path).expect("there");
    let before = [content(CRT), content(KEY)];
    fs::remove_file(guest.at(KEY)).expect("removed");
    write(&guest.at(CRT), "nonsense", 0o666);
    until(&placements, "put right", |_| guest.content(KEY).is_some() && guest.content(CRT) == Some(before[0].clone()))
        .await;
    assert_eq!([content(CRT), content(KEY)], before);
    let mode = |path: &str| fs::symlink_metadata(guest.at(path)).expect("there").permissions().mode() & 0o7777;
    assert_eq!((mode(CRT), mode(KEY)), (0o644, 0o600));
    placements.shutdown().await;
}

#[tokio::test]
async fn what_was_adopted_is_removed_by_a_purge_and_put_back_when_that_is_asked_for() {
    for restore in [false, true] {
        let (guest, service, placements) = Guest::at_work().await;
        let planted = Planted::good(&guest);
        planted.plant(&guest, &service);
        let before = guest.content(KEY);
        adopted(&guest, &placements, &planted).await;
        placements.desire(Vec::new());
        placements.purge(Purge { restore, force: true, ..Purge::all(name("web")) });
        until(&placements, "purged", |reports| !reports.contains_key(&name("web"))).await;
        assert_eq!(guest.content(KEY), if restore { before } else { None });
        placements.shutdown().await;
    }
}

#[tokio::test]
async fn another_root_comes_into_the_file_of_roots_and_the_pair_stays() {
    let (guest, service, placements) = Guest::at_work().await;
    let planted = Planted::good(&guest);
    planted.plant(&guest, &service);
    let root = certificates_to_pem([guest.authority.root.der()]);
    write(&guest.at(CA), &format!("# ours\n{root}"), 0o644);
    let mut web = wanted(&guest, AdoptionDecision::Adopt(planted.leaf()));
    let ca = FileSpec { path: Some("/etc/ssl/ca.crt".parse().expect("a path")), ..FileSpec::default() };
    web.files.insert(Part::Ca, ca);
    placements.desire(vec![web.clone()]);
    let report = at_stage(&placements, "web", 1, Stage::Served).await;
    assert_eq!(*report.roots, [guest.authority.root.fingerprint()]);
    let before = files(&guest);
    service.looked_at(2).await;
    assert!(guest.content(CA).expect("there").starts_with(b"# ours"));

    let next = Authority::new();
    web.roots.push(next.root.clone());
    placements.desire(vec![web]);
    let both = certificates_to_pem([guest.authority.root.der(), next.root.der()]);
    until(&placements, "with both roots", |_| guest.content(CA).is_some_and(|text| text == both.as_bytes())).await;
    super::guest::report(&placements, "web", "told", |report| report.roots.len() == 2).await;
    service.looked_at(2).await;
    assert_eq!(guest.content(CA).expect("there"), both.as_bytes(), "it stays so");
    assert_eq!(files(&guest), before, "the pair was touched");
    placements.shutdown().await;
}

#[tokio::test]
async fn a_file_of_roots_that_is_missing_is_added_and_nobody_is_told() {
    let (guest, service, placements) = Guest::at_work().await;
    let planted = Planted::good(&guest);
    planted.plant(&guest, &service);
    let before = files(&guest);
    let mut web = wanted(&guest, AdoptionDecision::Adopt(planted.leaf()));
    let ca = FileSpec { path: Some("/etc/ssl/ca.crt".parse().expect("a path")), ..FileSpec::default() };
    web.files.insert(Part::Ca, ca);
    placements.desire(vec![web]);
    let report = at_stage(&placements, "web", 1, Stage::Served).await;
    assert!(report.held.expect("held").adopted);
    assert_eq!(*report.roots, [guest.authority.root.fingerprint()]);
    service.looked_at(2).await;
    assert_eq!(guest.content(CA).expect("added"), certificates_to_pem([guest.authority.root.der()]).as_bytes());
    assert_eq!(files(&guest), before);
    assert_eq!(service.calls(), Vec::<String>::new());
    placements.shutdown().await;
}

#[tokio::test]
async fn what_is_not_as_good_is_told_and_replaced() {
    type Spoil = fn(&Guest, &Service);
    let cases: [(&str, Spoil); 16] = [
        ("/etc/ssl/web.example.key is not there", |guest, _| fs::remove_file(guest.at(KEY)).expect("removed")),
        ("cannot read the private key in /etc/ssl/web.example.key", |guest, _| {
            write(&guest.at(KEY), "nonsense", 0o600)
        }),
        ("cannot read the certificates in /etc/ssl/web.example.crt", |guest, _| {
            write(&guest.at(CRT), "nonsense", 0o644)
        }),
        ("/etc/ssl/web.example.key does not belong to /etc/ssl/web.example.crt", |guest, _| {
            write(&guest.at(KEY), &Planted::good(guest).key.to_pem(), 0o600);
        }),
        (
            "names are not those that were ordered: missing dns:web.example; not ordered dns:other.example",
            |guest, service| {
                made(&guest.authority, &["other.example", "127.0.0.1"], -60, 3600).plant(guest, service);
            },
        ),
        ("the certificate expired at", |guest, service| {
            made(&guest.authority, NAMES, -3600, -60).plant(guest, service)
        }),
        ("the certificate is not valid before", |guest, service| {
            made(&guest.authority, NAMES, 3600, 7200).plant(guest, service);
        }),
        ("the certificate is not signed by its issuer", |guest, service| {
            made(&Authority::new(), NAMES, -60, 3600).plant(guest, service);
        }),
        ("the certificate's key is", |guest, service| {
            let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
            let names = NAMES.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let request = CertificateParams::new(names).and_then(|names| names.serialize_request(&key)).expect("one");
            let key = PrivateKey::from_foreign_pem(key.serialize_pem().as_bytes()).expect("a key");
            Planted { chain: guest.authority.sign(request.der(), -60, 3600), key }.plant(guest, service);
        }),
        ("/etc/ssl/web.example.key has mode 0644", |guest, _| chmod(guest, KEY, 0o644)),
        ("/etc/ssl/web.example.key has mode 0660", |guest, _| chmod(guest, KEY, 0o660)),
        ("/etc/ssl/web.example.crt has mode 0666", |guest, _| chmod(guest, CRT, 0o666)),
        ("/etc/ssl/web.example.key belongs to user 33", |guest, _| {
            chown(guest.at(KEY), Some(33), None).expect("given")
        }),
        ("/etc/ssl/web.example.key may be read by group 33", |guest, _| {
            chown(guest.at(KEY), None, Some(33)).expect("given");
            chmod(guest, KEY, 0o640);
        }),
        ("shows another certificate, with serial", |_, service| service.show_own()),
        ("does not show it", |guest, service| {
            service.show("", "");
            drop(guest.content(CRT));
        }),
    ];
    for (why, spoil) in cases {
        let (guest, service, placements) = Guest::at_work().await;
        Planted::good(&guest).plant(&guest, &service);
        spoil(&guest, &service);
        placements.desire(vec![wanted(&guest, AdoptionDecision::Undecided)]);
        let report = found(&placements).await;
        match report.found.as_deref() {
            Some(Found::Unfit(told)) if told.contains(why) => {}
            other => panic!("{why}: {other:?}"),
        }
        // It is asked for at once, and until then nothing of it was changed.
        request(&placements, "web", 1).await;
        assert_eq!(service.calls(), Vec::<String>::new(), "{why}");
        placements.shutdown().await;
    }
}

fn chmod(guest: &Guest, path: &str, mode: u32) {
    fs::set_permissions(guest.at(path), fs::Permissions::from_mode(mode)).expect("its mode");
}

#[tokio::test]
async fn what_the_controller_wants_replaced_is_and_so_it_is_by_one_that_adopts_nothing() {
    for decision in [Some(AdoptionDecision::Replace), None] {
        let (guest, service, placements) = Guest::at_work().await;
        Planted::good(&guest).plant(&guest, &service);
        let web = wanted(&guest, AdoptionDecision::Undecided);
        let web = PlacementSpec { adoption: decision.and_then(adoption), ..web };
        placements.desire(vec![web]);
        deliver(&guest, &placements, "web", 1).await;
        let report = at_stage(&placements, "web", 1, Stage::Served).await;
        assert!(!report.held.expect("held").adopted);
        assert_eq!(service.calls(), ["reload"]);
        placements.shutdown().await;
    }
}

#[tokio::test]
async fn another_pair_than_the_accepted_one_is_left_as_it_is_until_it_is_decided_of() {
    let (guest, service, placements) = Guest::at_work().await;
    let (first, second) = (Planted::good(&guest), Planted::good(&guest));
    second.plant(&guest, &service);
    placements.desire(vec![wanted(&guest, AdoptionDecision::Adopt(first.leaf()))]);
    let told = found(&placements).await;
    assert!(matches!(told.found.as_deref(), Some(Found::Good(pair)) if pair.leaf == *second.chain.leaf()));
    service.looked_at(2).await;
    let told = found(&placements).await;
    assert_eq!((told.held, told.incoming), (None, None));
    adopted(&guest, &placements, &second).await;
    placements.shutdown().await;
}

#[tokio::test]
async fn while_the_issuers_roots_are_unknown_what_is_there_is_left_as_it_is() {
    let (guest, service, placements) = Guest::at_work().await;
    let planted = Planted::good(&guest);
    planted.plant(&guest, &service);
    let web = wanted(&guest, AdoptionDecision::Undecided);
    placements.desire(vec![PlacementSpec { roots: Vec::new(), ..web.clone() }]);
    let told = report(&placements, "web", "surveyed", |report| report.originals.len() == 2).await;
    assert_eq!((told.found, told.incoming, told.held), (None, None, None));
    placements.desire(vec![web]);
    found(&placements).await;
    adopted(&guest, &placements, &planted).await;
    assert_eq!(service.calls(), Vec::<String>::new());
    placements.shutdown().await;
}
