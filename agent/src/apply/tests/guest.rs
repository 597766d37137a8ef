//! A guest in a directory, and a controller's side with a CA of its own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pinion_proto::{
    bundle::{Chain, Leaf, RootCertificate},
    clock::{Clock, SystemClock, Timestamp},
    content::{Content, LeafSpec},
    id::CertificateName,
    key::KeyPolicy,
    message::Delivery,
    names::{SubjectName, SubjectNames},
    private_key::PrivateKey,
    report::{PlacementReport, Progress},
    spec::{Layout, PlacementSpec, Probe, Reload},
    stage::Stage,
};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateSigningRequestDer;
use tokio::time::timeout;

pub(super) use super::tls_service::Service;
use crate::{
    apply::{Context, Placements, Reports, StartError},
    config::{Config, Retry},
    install::files::{Files, RealFiles},
};

/// Longer than anything here takes, on a machine that is busy with other things.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// Signs what is asked for.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    issued: AtomicU64,
    pub(super) root: RootCertificate,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "Test root");
        parameters.not_before = offset(-3600);
        parameters.not_after = offset(90 * 86_400);
        let certificate = parameters.self_signed(&key).expect("a root");
        let root = RootCertificate::parse(certificate.der()).expect("a root");
        Self { issuer: Issuer::new(parameters, key), issued: AtomicU64::new(0x1000), root }
    }

    /// A certificate for a request, valid from and for so many seconds from now.
    pub(super) fn sign(&self, request: &[u8], from: i64, until: i64) -> Chain {
        let request = CertificateSigningRequestDer::from(request.to_vec());
        let mut request = CertificateSigningRequestParams::from_der(&request).expect("a request");
        request.params.not_before = offset(from);
        request.params.not_after = offset(until);
        // rcgen's own choice is a function of the key, and a renewal with the same key has another serial number.
        request.params.serial_number = Some(self.issued.fetch_add(1, Ordering::SeqCst).into());
        let certificate = request.signed_by(&self.issuer).expect("a certificate");
        Chain::from_der(&[certificate.der().to_vec()]).expect("a chain")
    }

    pub(super) fn delivery(&self, name: &CertificateName, generation: u64, request: &[u8]) -> Delivery {
        Delivery {
            certificate: name.clone(),
            generation,
            chain: self.sign(request, -60, 86_400),
            root: self.root.clone(),
            issuer: "embedded".parse().expect("a name"),
            shared_key: None,
        }
    }
}

pub(super) fn offset(seconds: i64) -> time::OffsetDateTime {
    Timestamp::from_unix(SystemClock.now().unix() + seconds).into()
}

/// A guest's root directory and what runs in it.
pub(super) struct Guest {
    _kept: tempfile::TempDir,
    pub(super) config: Config,
    pub(super) files: Arc<dyn Files>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) authority: Authority,
}

impl Guest {
    pub(super) fn new() -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::shipped(kept.path().canonicalize().expect("a real path"));
        config.retry = Retry {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(100),
            blocked: Duration::from_millis(150),
        };
        config.check_every = Duration::from_millis(300);
        config.allow.directories.push("/etc/ssl".parse().expect("a path"));
        for directory in [&config.hooks, &config.recipes, &config.root.join("etc/ssl")] {
            std::fs::create_dir_all(directory).expect("directory is made");
        }
        Self {
            _kept: kept,
            config,
            files: Arc::new(RealFiles),
            clock: Arc::new(SystemClock),
            authority: Authority::new(),
        }
    }

    /// A guest that allows its unit `web`, that service, and the agent at work in it.
    pub(super) async fn at_work() -> (Self, Service, Placements) {
        let mut guest = Self::new();
        guest.allow_units(&["web"]);
        let service = guest.service("web").await;
        let placements = guest.start().await;
        (guest, service, placements)
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.config.root.join(path.trim_start_matches('/'))
    }

    pub(super) async fn start(&self) -> Placements {
        self.try_start().await.expect("the agent starts")
    }

    pub(super) async fn try_start(&self) -> Result<Placements, StartError> {
        let context =
            Context { config: self.config.clone(), clock: Arc::clone(&self.clock), files: Arc::clone(&self.files) };
        Placements::start(Arc::new(context)).await
    }

    /// Installs a service: its unit's hook, which logs its verbs, and a recipe of the same name.
    pub(super) async fn service(&self, name: &str) -> Service {
        let service = Service::start(self, name).await;
        self.recipe(name, service.address, "");
        service
    }

    pub(super) fn recipe(&self, name: &str, connect: SocketAddr, more: &str) {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let text = format!(
            "{more}\nreload = {{ reload = \"nginx.service\" }}\nescalate = [\"restart\"]\n\
             [files.fullchain]\npath = \"/etc/ssl/{{common_name}}.crt\"\nowner = \"{uid}\"\ngroup = \"{gid}\"\n\
             [files.key]\npath = \"/etc/ssl/{{common_name}}.key\"\nowner = \"{uid}\"\ngroup = \"{gid}\"\n\
             [probe]\nconnect = \"{connect}\"\nsettle = \"400ms\"\n"
        );
        let text = text.replace("nginx.service", &format!("{name}.service"));
        std::fs::write(self.config.recipes.join(format!("{name}.toml")), text).expect("recipe is written");
    }

    pub(super) fn allow_units(&mut self, names: &[&str]) {
        self.config
            .allow
            .only_units(names.iter().map(|name| format!("{name}.service").parse().expect("a unit")).collect());
    }

    pub(super) fn content(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.at(path)).ok()
    }

    /// Whether key and certificate of the placement `web` are both there and belong together.
    pub(super) fn has_pair(&self) -> bool {
        let text = |path| String::from_utf8(self.content(path)?).ok();
        let key = text(KEY).and_then(|key| PrivateKey::from_pem(&key).ok());
        let chain = text(CRT).and_then(|crt| Chain::from_pem(&crt).ok());
        key.zip(chain).is_some_and(|(key, chain)| key.public() == chain.leaf().key())
    }

    /// The serial of the leaf in a file.
    pub(super) fn serial(&self, path: &str) -> Option<String> {
        let text = String::from_utf8(self.content(path)?).ok()?;
        Some(Chain::from_pem(&text).ok()?.leaf().serial().to_owned())
    }
}

pub(super) fn name(text: &str) -> CertificateName {
    text.parse().expect("a certificate name")
}

/// A placement of a certificate under the recipe of the same name.
pub(in crate::apply) fn spec(certificate: &str, recipe: &str) -> PlacementSpec {
    let common_name: SubjectName = format!("{certificate}.example").parse().expect("a name");
    let names = vec![common_name.clone(), "127.0.0.1".parse().expect("a name")];
    PlacementSpec {
        certificate: name(certificate),
        content: Content::Leaf(LeafSpec {
            common_name,
            names: SubjectNames::try_from(names).expect("names"),
            key: KeyPolicy::default(),
            shared: false,
        }),
        roots: Vec::new(),
        recipe: Some(recipe.parse().expect("a name")),
        files: BTreeMap::new(),
        layout: None,
        validate: None,
        reload: None,
        probe: None,
        more_reloads: Vec::new(),
        more_probes: Vec::new(),
        window: None,
        requires_mount: None,
        usage: None,
        purge: false,
        ordered: None,
        trouble: None,
        adoption: None,
    }
}

/// The certificate that a spec asks for.
pub(in crate::apply) fn leaf(spec: &PlacementSpec) -> &LeafSpec {
    spec.content.leaf().expect("a certificate")
}

/// The same placement of another certificate.
pub(super) fn with_leaf(mut spec: PlacementSpec, change: impl FnOnce(&mut LeafSpec)) -> PlacementSpec {
    change(spec.content.leaf_mut().expect("a certificate"));
    spec
}

/// Says how often something was done, such as `cuts`, to what; `cargo xtask faults` sums it up.
#[allow(clippy::print_stdout, reason = "only shown with --nocapture")]
pub(super) fn count(what: &str, to: &str, times: usize) {
    println!("{to}; {what}: {times}");
}

/// Where the placement `web` has its files.
pub(super) const CRT: &str = "etc/ssl/web.example.crt";
pub(super) const KEY: &str = "etc/ssl/web.example.key";

/// A guest with a recipe `web` and no service.
pub(super) fn plain_guest() -> Guest {
    let mut guest = Guest::new();
    guest.recipe("web", "127.0.0.1:1".parse().expect("an address"), "");
    guest.allow_units(&["web"]);
    guest
}

/// A placement `web` that notifies nobody and looks at nothing.
pub(super) fn plain(layout: Layout) -> PlacementSpec {
    let (probe, reload) = (Some(Probe::Nothing), Some(Reload::Nothing));
    PlacementSpec { probe, reload, layout: Some(layout), ..spec("web", "web") }
}

/// A guest whose placement `web` is served, or has nobody to look at it, and how far it comes then.
pub(super) struct Subject {
    pub(super) guest: Guest,
    pub(super) web: PlacementSpec,
    pub(super) goal: Stage,
    /// Runs as long as this is kept.
    pub(super) service: Option<Service>,
}

impl Subject {
    pub(super) fn plain(layout: Layout) -> Self {
        Self { guest: plain_guest(), web: plain(layout), goal: Stage::Reloaded, service: None }
    }

    pub(super) async fn served(layout: Layout) -> Self {
        let mut guest = Guest::new();
        guest.allow_units(&["web"]);
        let service = guest.service("web").await;
        let web = PlacementSpec { layout: Some(layout), ..spec("web", "web") };
        Self { guest, web, goal: Stage::Served, service: Some(service) }
    }
}

/// Writes an executable script.
pub(super) fn script(path: &Path, body: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("directory is made");
    let new = path.with_extension("new");
    std::fs::write(&new, format!("#!/bin/sh\n{body}\n")).expect("script is written");
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).expect("script is executable");
    std::fs::rename(&new, path).expect("script is in place");
}

pub(super) fn ordered(spec: &PlacementSpec, generation: u64) -> PlacementSpec {
    PlacementSpec { ordered: Some(generation), ..spec.clone() }
}

/// Waits until the reports are as they should be.
pub(super) async fn until(placements: &Placements, what: &str, mut is: impl FnMut(&Reports) -> bool) -> Reports {
    let mut reports = placements.reports();
    let waited = timeout(DEADLINE, async { reports.wait_for(|reports| is(reports)).await.map(|seen| seen.clone()) });
    match waited.await {
        Ok(Ok(seen)) => seen,
        _ => panic!("never {what}: {:#?}", placements.reports().borrow().values().collect::<Vec<_>>()),
    }
}

/// Waits until one report is as it should be.
pub(super) async fn report(
    placements: &Placements,
    certificate: &str,
    what: &str,
    mut is: impl FnMut(&PlacementReport) -> bool,
) -> PlacementReport {
    let name = name(certificate);
    let reports = until(placements, what, |reports| reports.get(&name).is_some_and(&mut is)).await;
    reports.get(&name).expect("just seen").clone()
}

/// The request of an ordered generation.
pub(super) async fn request(placements: &Placements, certificate: &str, generation: u64) -> Vec<u8> {
    let seen = report(placements, certificate, "requested", |report| {
        report.incoming.as_ref().is_some_and(|incoming| {
            incoming.generation == generation && matches!(incoming.progress, Progress::Requested(_))
        })
    });
    match seen.await.incoming.expect("just seen").progress {
        Progress::Requested(request) => request,
        Progress::Delivered => unreachable!("just seen"),
    }
}

/// Orders a generation of one placement, and delivers it; its leaf.
pub(super) async fn issue(guest: &Guest, placements: &Placements, spec: &PlacementSpec, generation: u64) -> Leaf {
    placements.desire(vec![ordered(spec, generation)]);
    deliver(guest, placements, spec.certificate.as_str(), generation).await
}

pub(super) async fn deliver(guest: &Guest, placements: &Placements, certificate: &str, generation: u64) -> Leaf {
    let request = request(placements, certificate, generation).await;
    let delivery = guest.authority.delivery(&name(certificate), generation, &request);
    let leaf = delivery.chain.leaf().clone();
    placements.deliver(delivery);
    leaf
}

/// Waits until a generation is at a stage, and nothing holds it up.
pub(super) async fn at_stage(
    placements: &Placements,
    certificate: &str,
    generation: u64,
    stage: Stage,
) -> PlacementReport {
    report(placements, certificate, "at the stage", |report| {
        report.stage == stage
            && report.trouble.is_none()
            && report.held.as_ref().is_some_and(|held| held.generation == generation)
    })
    .await
}
