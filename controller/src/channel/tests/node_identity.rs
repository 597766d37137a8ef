//! A controller whose identity root is the root process's: what it has of it, and what it does without it.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{
    bundle::Fingerprint,
    clock::{Clock, SystemClock, Timestamp},
    id::TrustDomain,
};
use tempfile::TempDir;

use super::hypervisor::Hypervisor;
use crate::{
    events::Events,
    identity::{Identities, IdentityError, NoMachines, renewal::keep},
    store::Store,
};

/// A clock whose time passes when somebody waits for it, so many times; then it stands still.
#[derive(Debug)]
struct Hands {
    now: AtomicI64,
    waits: AtomicUsize,
}

impl Hands {
    fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self { now: AtomicI64::new(now.unix()), waits: AtomicUsize::new(0) })
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.now.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, moment: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        if self.waits.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waits| waits.checked_sub(1)).is_err() {
            return Box::pin(std::future::pending());
        }
        self.now.store(moment.unix(), Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

/// A controller's state.
struct State {
    directory: TempDir,
    clock: Arc<Hands>,
}

impl State {
    fn new() -> Self {
        Self { directory: TempDir::new().expect("a directory"), clock: Hands::at(SystemClock.now()) }
    }

    fn has(&self, file: &str) -> bool {
        self.directory.path().join(file).exists()
    }

    fn store(&self) -> Arc<Store> {
        let path = |area: &str| self.directory.path().join(area);
        Arc::new(Store::open(&path("local"), &path("shared")).expect("a store"))
    }

    async fn open(&self, hypervisor: &Hypervisor, begins_there: bool) -> Result<Identities, IdentityError> {
        self.open_as(hypervisor, hypervisor.root(), begins_there, None).await
    }

    async fn open_as(
        &self,
        hypervisor: &Hypervisor,
        host: &Path,
        begins_there: bool,
        domain: Option<&TrustDomain>,
    ) -> Result<Identities, IdentityError> {
        let on_host = (host, &hypervisor.client, begins_there);
        Identities::open_on_host(&self.store(), self.clock.clone(), domain, Arc::new(NoMachines), on_host).await
    }

    /// When this node's authority ends.
    fn authority_ends(&self) -> Timestamp {
        let text = std::fs::read(self.directory.path().join("local/identity-node.json")).expect("kept");
        let document: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let der = STANDARD.decode(document["data"]["certificate"].as_str().expect("text")).expect("base64");
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("X.509");
        Timestamp::from_unix(certificate.validity().not_after.timestamp())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_installation_is_under_the_root_processs_root_and_starts_again_without_asking() {
    let (hypervisor, state) = (Hypervisor::new(), State::new());
    let identities = state.open(&hypervisor, true).await.expect("under the root");
    let root = identities.root().fingerprint();
    assert_eq!(identities.node(), Some((state.clock.now(), root)));
    assert!(state.has("shared/identity-root.json") && state.has("local/identity-node.json"));
    assert!(!state.has("shared/identity-ca.json"), "its key is not here");
    assert_eq!(identities.issue_controller().expect("issued").chain.len(), 2, "its own, and this node's authority");
    let made = state.clock.now();
    drop(identities);
    // What was given is kept until it ends, and a root process that is away is not needed for it.
    let away = Hypervisor::new();
    state.clock.now.store(state.authority_ends().unix() - 1, Ordering::SeqCst);
    for begins_there in [true, false] {
        let identities = state.open_as(&away, hypervisor.root(), begins_there, None).await.expect("it was kept");
        assert_eq!(identities.node(), Some((made, root)), "{begins_there}");
    }
    // It is not used for longer than it lasts; and another root process has another root.
    state.clock.now.store(state.authority_ends().unix() + 1, Ordering::SeqCst);
    let error = state.open_as(&away, hypervisor.root(), false, None).await.expect_err("it is over");
    assert!(matches!(error, IdentityError::RootProcess(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_authority_of_the_node_is_given_again_under_the_root_that_is_known() {
    let (hypervisor, state) = (Hypervisor::new(), State::new());
    let root = state.open(&hypervisor, true).await.expect("under the root").root().fingerprint();
    for lost in ["{", ""] {
        std::fs::write(state.directory.path().join("local/identity-node.json"), lost).expect("written");
        let identities = state.open(&hypervisor, false).await.expect("given again");
        assert_eq!(identities.root().fingerprint(), root);
    }
    std::fs::remove_file(state.directory.path().join("local/identity-node.json")).expect("removed");
    let identities = state.open(&hypervisor, false).await.expect("given again");
    assert_eq!(identities.node().map(|(_, root)| root), Some(root));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_its_root_keeps_it_and_who_does_not_begin_there_makes_its_own() {
    let (hypervisor, state) = (Hypervisor::new(), State::new());
    let identities = state.open(&hypervisor, false).await.expect("a root of its own");
    let root = identities.root().fingerprint();
    assert!(identities.node().is_none() && state.has("shared/identity-ca.json"));
    drop(identities);
    let identities = state.open(&hypervisor, true).await.expect("the root that is there");
    assert_eq!((identities.root().fingerprint(), identities.node()), (root, None));
    assert!(!hypervisor.root().join("var/lib/pinion-channel/identity-ca.json").exists(), "nobody asked for one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_lost_its_state_does_not_go_on_under_a_root_that_was_there() {
    let hypervisor = Hypervisor::new();
    drop(State::new().open(&hypervisor, true).await.expect("under the root"));
    // Whether the file that names the root is there, or lost too.
    let elsewhere = TempDir::new().expect("a directory");
    for host in [hypervisor.root(), elsewhere.path()] {
        let state = State::new();
        let error = state.open_as(&hypervisor, host, true, None).await.expect_err("its state is lost");
        let text = pinion_proto::causes::chain(&error);
        assert!(text.contains("pinion identity new-root --yes"), "{text}");
        assert!(!state.has("shared/identity-ca.json") && !state.has("shared/identity-root.json"));
    }
    // A person says that it goes on.
    let state = State::new();
    let wish = r#"{"version":1,"data":{"asked_at":"2027-01-15T08:00:00Z","keep":true}}"#;
    drop(state.store());
    std::fs::write(state.directory.path().join("local/new-root.json"), wish).expect("written");
    assert!(state.open(&hypervisor, true).await.expect("it goes on").node().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_the_administrators_file_does_not_name_is_not_taken() {
    let (hypervisor, state, host) = (Hypervisor::new(), State::new(), TempDir::new().expect("a directory"));
    std::fs::create_dir_all(host.path().join("etc/pinion")).expect("made");
    let pin = host.path().join("etc/pinion/identity-root");
    std::fs::write(pin, Fingerprint::of(b"another root").to_string()).expect("written");
    state.open_as(&hypervisor, host.path(), true, None).await.expect_err("it is another one");
    assert!(!state.has("shared/identity-root.json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trust_domain_is_the_root_processs() {
    let (hypervisor, state) = (Hypervisor::new(), State::new());
    let domain = state.open(&hypervisor, true).await.expect("under the root").trust_domain().clone();
    let open = async |domain: &TrustDomain| state.open_as(&hypervisor, hypervisor.root(), true, Some(domain)).await;
    assert_eq!(*open(&domain).await.expect("the same").trust_domain(), domain);
    let error = open(&"x.pinion".parse().expect("a domain")).await.expect_err("another");
    assert!(matches!(error, IdentityError::Domain { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_authority_is_renewed_after_a_day_and_not_before() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let (hypervisor, state) = (Hypervisor::new(), State::new());
    let (store, on_host) = (state.store(), (hypervisor.root(), &hypervisor.client, true));
    let opened = Identities::open_on_host(&store, state.clock.clone(), None, Arc::new(NoMachines), on_host).await;
    let identities = Arc::new(opened.expect("under the root"));
    let (made, root) = identities.node().expect("of the root process");
    let events = Arc::new(Events::open(&state.directory.path().join("local")));
    let keeping = |identities: &Arc<Identities>| {
        let client = hypervisor.client.clone();
        tokio::spawn(keep(identities.clone(), store.clone(), client, events.clone(), state.clock.clone()))
    };
    // A second before nothing is asked for: it waits for a moment that does not come.
    state.clock.now.store((made + DAY).unix() - 1, Ordering::SeqCst);
    let waiting = keeping(&identities);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(identities.node(), Some((made, root)));
    waiting.abort();
    drop(waiting.await);
    state.clock.waits.store(1, Ordering::SeqCst);
    let renewing = keeping(&identities);
    while identities.node() == Some((made, root)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(identities.node(), Some((made + DAY, root)));
    renewing.abort();
}
