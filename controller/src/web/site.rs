//! What the page is made from, and under which names it is asked for.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicBool},
};

use pinion_proto::clock::{Clock, Timestamp};
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::{Semaphore, mpsc};

use super::{access::WebAccess, gate::Site, login::ProxmoxLogin};
use crate::{
    admin::question::Request, channel::client::Client, config::WebConfig, events::Events, identity::Identities,
    issuer::Issuers, link::LinkInput,
};

/// More open pages than people have.
const MAX_STREAMS: usize = 64;

/// What the web listener answers from.
#[derive(Debug, Clone)]
pub struct Web {
    /// The loop.
    pub requests: mpsc::Sender<Request>,
    /// The links' messages for the loop.
    pub links: mpsc::WeakSender<LinkInput>,
    /// Which guests are locked.
    pub identities: Arc<Identities>,
    /// Issuers.
    pub issuers: Arc<Issuers>,
    /// Events.
    pub events: Arc<Events>,
    /// How long the loop's passes took.
    pub passes: Histogram,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// When the controller started.
    pub started: Timestamp,
    /// What this host is called.
    pub host: String,
    /// Who may look.
    pub access: Arc<WebAccess>,
    /// The root process, which asks Proxmox who may.
    pub channel: Client,
}

/// A [`Web`] on an address.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) web: Web,
    pub(super) site: Site,
    /// Who may read the metrics without a token.
    pub(super) metrics_from: Vec<IpAddr>,
    /// Whether a session may renew certificates, if its right says so.
    pub(super) renew: bool,
    pub(super) streams: Arc<Semaphore>,
    /// Proxmox's login, if it is on.
    pub(super) login: Option<ProxmoxLogin>,
    /// Whether a browser has sent Proxmox's cookie here, which is logged once.
    pub(super) shares_cookies: AtomicBool,
}

impl Shown {
    /// On this address.
    pub(super) fn new(web: Web, config: &WebConfig, address: SocketAddr) -> Self {
        let site = Site { hosts: hosts(config, address), is_tls: config.pair.is_some() };
        web.access.is_at(url(config, address));
        let login = config.proxmox_login.is_some().then(|| {
            let Web { channel, access, events, clock, .. } = web.clone();
            ProxmoxLogin::new(channel, access, events, clock)
        });
        Self {
            web,
            site,
            metrics_from: config.metrics_from.clone(),
            renew: config.renew,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            login,
            shares_cookies: AtomicBool::new(false),
        }
    }
}

/// The URL that is printed.
fn url(config: &WebConfig, address: SocketAddr) -> String {
    let scheme = if config.pair.is_some() { "https" } else { "http" };
    if let Some(name) = &config.proxmox_login {
        return format!("{scheme}://{}:{}", name.as_str(), address.port());
    }
    match config.names.first() {
        Some(name) if !address.ip().is_loopback() => format!("{scheme}://{name}:{}", address.port()),
        _ => format!("{scheme}://{address}"),
    }
}

/// Under which names a browser may ask for this address. With Proxmox's login there is one: a browser keeps cookies by name, not by
/// port, so under the others it would send Proxmox's, and send this page's to Proxmox.
fn hosts(config: &WebConfig, address: SocketAddr) -> Vec<String> {
    let port = address.port();
    if let Some(name) = &config.proxmox_login {
        return vec![format!("{}:{port}", name.as_str()), name.as_str().to_owned()];
    }
    let mut hosts = vec![format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")];
    hosts.push(address.to_string());
    hosts.extend(config.names.iter().flat_map(|name| [format!("{name}:{port}"), name.clone()]));
    hosts
}
