//! A world for the parts' tests: made from a manifest and what guests report, without a task or a disk.

use std::{num::NonZeroU16, sync::Arc};

use jiff::tz::TimeZone;
use pinion_proto::{
    bundle::{Chain, Leaf, RootCertificate},
    clock::{SystemClock, Timestamp},
    id::{Guest, PlacementId},
    message::{Delivery, Hello},
    report::{GuestFacts, Held, Incoming, PlacementReport, Progress},
    stage::{Halt, Stage, Trouble},
};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyPair, SerialNumber};
use tempfile::TempDir;

use super::{clock_watch::ClockWatch, delivery::Undelivered, parts::Parts, resources::Resources, roots::RootQueries};
use crate::{
    admin::caller::Caller,
    events::Events,
    identity::{Identities, NoMachines},
    issuer::{
        self, BoxFuture, Issuer, IssuerCheck, IssuerError, Issuers, Revocation, Roots, Serial, Signed, SigningRequest,
    },
    manifest::{Manifest, file::InForce},
    notify::Notifier,
    planner::backoff::Backoff,
    store::Store,
    world::World,
};

/// The manifest of one certificate `web` for `web.example` in guest 101.
pub(super) const WEB: &str = r#"{"version": 1, "certificates": [{"name": "web", "common_name": "web.example",
    "placements": [{"guest": 101, "recipe": "nginx"}]}]}"#;

/// The same in guests 101 and 102.
pub(super) const TWO: &str = r#"{"version": 1, "certificates": [{"name": "web", "common_name": "web.example",
    "placements": [{"guest": 101, "recipe": "nginx"}, {"guest": 102, "recipe": "nginx"}]}]}"#;

const DAY: i64 = 86_400;

/// A moment.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

pub(super) fn guest(text: &str) -> Guest {
    text.parse().expect("a guest")
}

pub(super) fn id(text: &str) -> PlacementId {
    text.parse().expect("a placement")
}

pub(super) fn root_user() -> Caller {
    Caller { uid: 0, name: Some("root".into()) }
}

pub(super) fn in_force(manifest: &str) -> InForce {
    let manifest = Manifest::parse_in(manifest.as_bytes(), &TimeZone::UTC).expect("a manifest");
    InForce { manifest: Arc::new(manifest), problem: None, since: Some(at(0)) }
}

/// A world in which nothing has been reported.
pub(super) fn world(manifest: &str) -> World {
    World::new(in_force(manifest), Backoff::default())
}

/// A guest links, and holds this.
pub(super) fn link(world: &mut World, number: &str, reports: Vec<PlacementReport>) {
    let hello =
        Hello { facts: GuestFacts::default(), identity_generation: 1, link_count: 0, reports, roots: Vec::new() };
    world.linked(guest(number), hello, at(0));
}

/// A certificate with a serial number, for 30 days from a moment on.
pub(super) fn leaf(serial: u8, from: Timestamp) -> Leaf {
    signed(&KeyPair::generate().expect("a key"), serial, from).1
}

fn params(serial: u8, from: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["web.example".to_owned()]).expect("names");
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from(vec![serial]));
    (params.not_before, params.not_after) = (from.into(), Timestamp::from_unix(from.unix() + 30 * DAY).into());
    params
}

fn signed(key: &KeyPair, serial: u8, from: Timestamp) -> (rcgen::Certificate, Leaf) {
    let certificate = params(serial, from).self_signed(key).expect("signed");
    let leaf = Leaf::parse(certificate.der()).expect("a leaf");
    (certificate, leaf)
}

/// What is held of `web`, served, in a generation of this serial number.
pub(super) fn holds(generation: u64, leaf: Leaf) -> PlacementReport {
    let held = Held {
        generation,
        leaf,
        issuer: "embedded".parse().expect("a name"),
        common_name: Some("web.example".parse().expect("a name")),
        root: None,
        chain_ends: None,
        adopted: false,
    };
    PlacementReport {
        last_generation: generation,
        stage: Stage::Served,
        held: Some(held),
        ..PlacementReport::nothing("web".parse().expect("a name"))
    }
}

/// Nothing held of a certificate.
pub(super) fn nothing(certificate: &str) -> PlacementReport {
    PlacementReport::nothing(certificate.parse().expect("a name"))
}

/// The same, with a generation on its way.
pub(super) fn incoming(report: PlacementReport, generation: u64, progress: Progress) -> PlacementReport {
    PlacementReport { last_generation: generation, incoming: Some(Incoming { generation, progress }), ..report }
}

/// A key of a guest: its request, and what is signed for that.
pub(super) struct GuestKey(KeyPair);

impl GuestKey {
    pub(super) fn new() -> Self {
        Self(KeyPair::generate().expect("a key"))
    }

    /// This key: PKCS #8, DER.
    pub(super) fn of(pkcs8: &[u8]) -> Self {
        Self(KeyPair::try_from(pkcs8).expect("a key"))
    }

    /// The request for `web.example`.
    pub(super) fn request(&self) -> Progress {
        let mut params = CertificateParams::new(vec!["web.example".to_owned()]).expect("names");
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.0).expect("a request");
        Progress::Requested(request.der().to_vec())
    }

    /// The certificate that is on its way.
    pub(super) fn undelivered(&self, generation: u64, from: Timestamp) -> Undelivered {
        let (certificate, _) = signed(&self.0, 0x2A, from);
        let chain = Chain::from_der(&[certificate.der().to_vec()]).expect("a chain");
        let delivery = Delivery {
            certificate: "web".parse().expect("a name"),
            generation,
            chain,
            root: root(),
            issuer: "embedded".parse().expect("a name"),
            shared_key: None,
        };
        Undelivered { delivery, common_name: "web.example".parse().expect("a name") }
    }
}

/// A root of some issuer.
pub(super) fn root() -> RootCertificate {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("signed");
    RootCertificate::parse(certificate.der()).expect("a root")
}

pub(super) fn trouble(halt: Halt, cause: &str) -> Trouble {
    Trouble { halt, attempt: "try it".into(), cause: cause.into(), remedy: "see to it".into(), retry_at: None }
}

/// Parts in which nothing has happened yet.
pub(super) fn parts() -> Parts {
    Parts {
        clock_watch: ClockWatch::start(at(0)),
        departures: Default::default(),
        evictions: Default::default(),
        enrolment: Default::default(),
        examining: Default::default(),
        guest_names: Default::default(),
        signing: Default::default(),
        timings: Default::default(),
        deliveries: Default::default(),
        revocations: Default::default(),
        roots: RootQueries::new().0,
        purging: Default::default(),
    }
}

/// Resources in a directory of their own, with these issuers.
pub(super) fn resources(issuers: Issuers) -> (TempDir, Resources) {
    let directory = TempDir::new().expect("a directory");
    let (local, shared) = (directory.path().join("local"), directory.path().join("shared"));
    let store = Arc::new(Store::open(&local, &shared).expect("a store"));
    let identities = Identities::open(&store, Arc::new(SystemClock), None, Arc::new(NoMachines)).expect("identities");
    let resources = Resources {
        clock: Arc::new(SystemClock),
        events: Arc::new(Events::open(&local)),
        store,
        identities: Arc::new(identities),
        issuers: Arc::new(issuers),
        notifier: Arc::new(Notifier::nobody(Arc::new(SystemClock))),
        backoff: Backoff::default(),
        passes: prometheus_client::metrics::histogram::Histogram::new([]),
        node: "pve1".parse().expect("a name"),
    };
    (directory, resources)
}

/// An issuer that can revoke; it is never called.
#[derive(Debug)]
struct Revoking {
    of_replaced: bool,
}

fn not_called<T>() -> BoxFuture<'static, Result<T, IssuerError>>
where
    T: Send + 'static,
{
    Box::pin(async { Err(IssuerError::Unavailable { message: "it is not called".into() }) })
}

impl Issuer for Revoking {
    fn sign<'a>(&'a self, _: &'a SigningRequest) -> BoxFuture<'a, Result<Signed, IssuerError>> {
        not_called()
    }

    fn roots(&self) -> Option<&dyn Roots> {
        None
    }

    fn check(&self) -> BoxFuture<'_, Result<IssuerCheck, IssuerError>> {
        not_called()
    }

    fn revocation(&self) -> Option<&dyn issuer::Revocations> {
        Some(self)
    }
}

impl issuer::Revocations for Revoking {
    fn of_replaced(&self) -> bool {
        self.of_replaced
    }

    fn revoke<'a>(&'a self, _: &'a Serial, _: Revocation) -> BoxFuture<'a, Result<(), IssuerError>> {
        not_called()
    }
}

/// One issuer that can revoke, and whether it is to revoke what was replaced.
pub(super) fn revoking(name: &str, of_replaced: bool) -> Issuers {
    let issuer: Box<dyn Issuer> = Box::new(Revoking { of_replaced });
    Issuers::of([(name.parse().expect("a name"), issuer, NonZeroU16::MIN)])
}
