//! The daemon: joins its parts, runs until it is told to stop, drains.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use pinion_proto::{
    causes::chain,
    clock::Clock,
    daemon, lines,
    spec::PlainName,
    tls::{self, IdentityCell},
};
use prometheus_client::metrics::histogram::Histogram;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tracing::{info, warn};

use crate::{
    admin::{Admin, caller::Access, callers::Callers},
    channel::{
        client::Client,
        follow::{Follower, KnownGuests},
    },
    config::{
        Config,
        advertise::{self, SystemResolver},
    },
    enroll,
    events::{Events, HostEvent, What},
    identity::{ControllerIdentity, Identities, renewal::keep as keep_node},
    issuer::{self, Issuers},
    link::{LinkInput, listener, service::Services},
    manifest::file::ManifestFile,
    notify::{Notifier, Surroundings},
    reconcile::{self, Inputs, Resources},
    store::Store,
    web::{self, Web, access::WebAccess},
};

/// How many of the links' messages wait for the loop, before the links wait.
const LINK_QUEUE: usize = 4096;

/// How many questions wait for the loop.
const REQUEST_QUEUE: usize = 64;

/// How long the last writes may take at shutdown.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Upper bounds of the histogram of the loop's passes (seconds).
const PASS_BUCKETS: [f64; 8] = [0.001, 0.005, 0.02, 0.1, 0.25, 1.0, 2.5, 10.0];

/// When issuing the controller's own identity fails, it is tried again after this long.
const IDENTITY_RETRY: Duration = Duration::from_secs(60);

/// A running controller, for the daemon and for tests that keep one in their own process.
#[derive(Debug)]
pub struct Controller {
    /// Where agents dial in.
    pub address: SocketAddr,
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
    manifest: Arc<ManifestFile>,
    tasks: JoinSet<()>,
    reconcile: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Controller {
    /// Starts everything.
    ///
    /// # Errors
    /// State, manifest, port or socket cannot be used: what and where is told.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let store = Arc::new(Store::open(&config.local, &config.shared)?);
        // First, so that guests which dial meanwhile wait in the queue, instead of coming again later.
        let listener = listener::listen(config.listen)
            .with_context(|| format!("cannot listen on {}; is another program there?", config.listen))?;
        let events = Arc::new(Events::open(&config.local));
        let issuers = Arc::new(Issuers::from_config(&config.issuers, &store, clock.clone(), &config.root));
        let without_roots = issuers.without_roots();
        let manifest = Arc::new(ManifestFile::open(&config.manifest, store.clone(), clock.clone(), without_roots)?);
        let mut tasks = JoinSet::new();
        let channel = Client::new(&config.channel.socket);
        let told = guests(&config, &channel, &mut tasks).await;
        let inventory = told.inventory();
        let machines = Arc::new(told);
        let on_host = (config.root.as_path(), &channel, config.channel.identity_root);
        let domain = config.trust_domain.as_ref();
        let identities = Arc::new(Identities::open_on_host(&store, clock.clone(), domain, machines, on_host).await?);

        let own = identities.issue_controller()?;
        let cell = IdentityCell::new(&own.chain, &own.key)?;
        let tls = Arc::new(tls::server_config_for(cell.clone(), &identities.trusted_roots(), clock.clone())?);
        let address = listener.local_addr().context("cannot tell the port")?;
        let socket = lines::bind(&config.socket, 0o660)
            .with_context(|| format!("cannot listen on {}", config.socket.display()))?;
        let reachable = advertise::begin(&config.advertise, address);
        let advertise = reachable.subscribe();
        tasks.spawn(advertise::keep(config.advertise.clone(), address, SystemResolver, reachable));

        let surroundings = Surroundings {
            root: &config.root,
            host: host_name(&config),
            clock: clock.clone(),
            store: store.clone(),
            identities: identities.clone(),
            inventory: inventory.clone(),
        };
        let notifier = Arc::new(Notifier::start(&config.notify, surroundings, &mut tasks));
        let (link_inputs, links) = mpsc::channel(LINK_QUEUE);
        let (requests, asked) = mpsc::channel(REQUEST_QUEUE);
        let admin = Admin {
            requests,
            notifier: notifier.clone(),
            manifest: manifest.clone(),
            identities: identities.clone(),
            issuers: issuers.clone(),
            events: events.clone(),
            inventory: inventory.clone(),
            channel: config.proxmox.is_some().then(|| channel.clone()),
            clock: clock.clone(),
            advertise: advertise.clone(),
            web: Arc::new(WebAccess::open(store.clone(), clock.clone())),
            access: Access::new(config.root.clone()),
            callers: Callers::new(),
        };
        let enrolling = config.proxmox.clone().map(|proxmox| enroll::Tools {
            channel: channel.clone(),
            identities: identities.clone(),
            advertise: admin.advertise.clone(),
            proxmox,
        });
        let passes = Histogram::new(PASS_BUCKETS);
        let web = page(&admin, &channel, link_inputs.downgrade(), passes.clone(), host_name(&config));
        let resources = Resources {
            clock: clock.clone(),
            events: events.clone(),
            store: store.clone(),
            identities: identities.clone(),
            issuers,
            notifier,
            backoff: config.retry,
            node: node(&config),
            passes,
        };
        let (stop, stopped) = oneshot::channel();
        let inputs = Inputs {
            links,
            questions: asked,
            manifest: manifest.in_force(),
            inventory,
            reachable: advertise,
            stop: stopped,
        };
        let services = Services::new(identities.clone(), clock.clone(), link_inputs);

        let (trust_domain, root) = (identities.trust_domain().to_string(), identities.root().fingerprint());
        events.record(What::Host(HostEvent::Started { address, trust_domain, root }).at(clock.now()));
        let reconcile = tokio::spawn(reconcile::run(resources, enrolling, inputs));
        let watched = manifest.clone();
        tasks.spawn(async move { watched.watch().await });
        tasks.spawn(keep_node(identities.clone(), store.clone(), channel, events.clone(), clock.clone()));
        tasks.spawn(keep_identity(identities, cell, own, clock.clone()));
        tasks.spawn(Arc::new(admin).serve(socket));
        tasks.spawn(listener::serve(listener, tls, services));
        tasks.spawn(issuer::watch::watch(web.issuers.clone(), manifest.in_force()));
        if let Some(textfile) = config.web.textfile.clone() {
            tasks.spawn(web::textfile::keep(web.clone(), textfile));
        }
        tasks.spawn(web::serve(web, config.web));
        Ok(Self { address, events, clock, manifest, tasks, reconcile, stop })
    }

    /// Looks at the manifest's file now.
    pub fn reload(&self) {
        self.manifest.look();
    }

    /// Ends the links, writes down what is known, and returns.
    pub async fn stop(mut self) {
        self.events.record(What::Host(HostEvent::Stops).at(self.clock.now()));
        // The links end first, so that what the loop writes down is the last word.
        self.tasks.shutdown().await;
        drop(self.stop);
        match timeout(DRAIN_TIME, &mut self.reconcile).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "The loop failed; the agents report again after the next start"),
            Err(_) => {
                self.reconcile.abort();
                warn!("Storing the reports took too long; the agents report again");
            }
        }
    }
}

/// What the page is made from.
fn page(admin: &Admin, channel: &Client, links: mpsc::WeakSender<LinkInput>, passes: Histogram, host: String) -> Web {
    Web {
        requests: admin.requests.clone(),
        links,
        identities: admin.identities.clone(),
        issuers: admin.issuers.clone(),
        events: admin.events.clone(),
        passes,
        clock: admin.clock.clone(),
        started: admin.clock.now(),
        host,
        access: admin.web.clone(),
        channel: channel.clone(),
    }
}

/// Which guests there are, now and at each change: as Proxmox says, where it is, and as the configuration says.
async fn guests(config: &Config, channel: &Client, tasks: &mut JoinSet<()>) -> KnownGuests {
    if config.proxmox.is_none() {
        return KnownGuests::configured(config.guests.clone());
    }
    let mut follower = Follower::new(channel.clone(), config.guests.clone());
    // The first plan is made from what is there, not from nothing.
    follower.first().await;
    let told = follower.known_guests();
    tasks.spawn(follower.run());
    told
}

/// The name of this node: Proxmox's, where there is one.
fn node(config: &Config) -> PlainName {
    let name = config.proxmox.as_ref().and_then(|proxmox| proxmox.node.parse().ok());
    name.unwrap_or_else(|| "controller".parse().expect("a plain name"))
}

/// The name by which people know this host.
fn host_name(config: &Config) -> String {
    let proxmox = config.proxmox.as_ref().map(|proxmox| proxmox.node.clone());
    proxmox.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// Renews the controller's own identity at two thirds of its life, without dropping a connection; and when the clock
/// was set back to before it was made, because agents would not take it until then.
async fn keep_identity(
    identities: Arc<Identities>,
    cell: IdentityCell,
    mut own: ControllerIdentity,
    clock: Arc<dyn Clock>,
) {
    loop {
        let made = clock.now();
        let due = made + own.not_after.since(made) * 2 / 3;
        while (made..due).contains(&clock.now()) {
            clock.sleep_until(due).await;
        }
        loop {
            let next = identities.issue_controller();
            match next.map_err(anyhow::Error::from).and_then(|next| Ok((cell.swap(&next.chain, &next.key)?, next))) {
                Ok(((), next)) => {
                    info!(not_after = %next.not_after, "Controller's identity renewed");
                    own = next;
                    break;
                }
                Err(error) => {
                    warn!("Cannot renew the controller's identity: {}", chain(error.as_ref()));
                    tokio::time::sleep(IDENTITY_RETRY).await;
                }
            }
        }
    }
}

/// Runs the daemon until SIGTERM or SIGINT; SIGHUP looks at the manifest.
///
/// # Errors
/// It cannot start.
pub async fn run(config: Config, clock: Arc<dyn Clock>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let controller = Controller::start(config, clock).await?;
    daemon::ready();
    let reload = async {
        loop {
            hangup.recv().await;
            info!("Looking at the manifest");
            controller.reload();
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = daemon::watchdog() => {}
        () = reload => {}
    }
    daemon::stopping();
    controller.stop().await;
    Ok(())
}
