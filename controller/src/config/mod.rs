//! The controller's own configuration: `/etc/pinion/controller.toml`.
//!
//! Answers: where is everything, who signs, on which port? The manifest says what should exist.

pub mod check;
pub mod advertise;
mod proxmox;
mod tables;
mod web;
mod written;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use pinion_proto::{
    id::{TrustDomain, Vmid},
    spec::PlainName,
};
use thiserror::Error;

pub use advertise::Advertised;
pub use proxmox::{Enroll, Proxmox};
pub use tables::TABLES;
pub use web::{HostName, WebConfig};
use written::Written;

use crate::{
    issuer::IssuerConfig,
    notify::{NotifyConfig, TargetConfig},
    planner::backoff::Backoff,
    settings::{self, Mistakes},
};

/// The port of every example and firewall rule.
pub const PORT: u16 = 7443;

/// Where pvedaemon listens: the port is root's, and nobody reaches it from the network.
const PVEDAEMON: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 85);

/// The user that the package makes.
const USER: &str = "pinion";

/// A configuration is a screenful; whatever is larger is not one (bytes).
const MAX_BYTES: u64 = 1024 * 1024;

/// Where everything is, who signs, on which port.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that stands for `/`.
    pub root: PathBuf,
    /// Path of the manifest.
    pub manifest: PathBuf,
    /// State of this host alone.
    pub local: PathBuf,
    /// State that a cluster's nodes share.
    pub shared: PathBuf,
    /// The socket of the command line.
    pub socket: PathBuf,
    /// Where agents dial in.
    pub listen: SocketAddr,
    /// The addresses that agents are told to dial: this host's, on each network that guests are on.
    pub advertise: Vec<Advertised>,
    /// The SPIFFE trust domain of identities; made at first start when it is not given.
    pub trust_domain: Option<TrustDomain>,
    /// Who signs, by name.
    pub issuers: BTreeMap<PlainName, IssuerConfig>,
    /// How long to wait after failures.
    pub retry: Backoff,
    /// Names for guests that Proxmox does not tell.
    pub guests: BTreeMap<String, Vmid>,
    /// Proxmox, on a host of its.
    pub proxmox: Option<Proxmox>,
    /// Who is told when something is wrong.
    pub notify: NotifyConfig,
    /// How the root process is reached, and whom it answers.
    pub channel: ChannelConfig,
    /// The page and the metrics.
    pub web: WebConfig,
}

/// The root process, and who may ask it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelConfig {
    /// The Unix socket on which the root process answers.
    pub socket: PathBuf,
    /// The user that `pinion serve` runs as, by name or number.
    pub user: String,
    /// Where pct and qm are, instead of the usual places.
    pub tools: Option<PathBuf>,
    /// Where Proxmox's own daemon listens on this machine.
    pub pvedaemon: SocketAddr,
    /// Whether a new installation's identity root is made and kept by the root process, where there is one.
    pub identity_root: bool,
}

impl Config {
    /// Reads `etc/pinion/controller.toml` below `root`; a missing file means the defaults.
    ///
    /// # Errors
    /// The file cannot be read or says something wrong: file, place and remedy are told.
    pub fn load(root: &Path) -> Result<Self, ConfigError> {
        let path = path(root);
        let written = match read(&path) {
            Ok(Some(text)) => {
                settings::read(&text, written::read).map_err(|mistakes| ConfigError::Wrong { path, mistakes })?
            }
            Ok(None) => Written::default(),
            Err(error) => return Err(error),
        };
        let listen = written.listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], PORT)));
        let advertise = match written.advertise {
            Some(entries) => entries,
            None if listen.ip().is_unspecified() => Vec::new(),
            None => vec![Advertised::Address(listen)],
        };
        let standard = Backoff::default();
        let retry = written.retry;
        Ok(Self {
            root: root.to_owned(),
            manifest: root.join("etc/pinion/certificate-manifest.json"),
            local: root.join("var/lib/pinion/local"),
            shared: root.join("var/lib/pinion/shared"),
            socket: root.join("run/pinion/controller.sock"),
            listen,
            advertise,
            trust_domain: written.trust_domain,
            issuers: written.issuers,
            retry: Backoff {
                initial: retry.initial.map_or(standard.initial, |pause| pause.0),
                max: retry.max.map_or(standard.max, |pause| pause.0),
            },
            guests: written.guests,
            proxmox: Proxmox::settled(root, written.proxmox),
            notify: written.notify,
            channel: ChannelConfig {
                socket: root.join("run/pinion-channel/channel.sock"),
                user: written.channel.user.unwrap_or_else(|| USER.to_owned()),
                tools: written.channel.tools,
                pvedaemon: written.channel.pvedaemon.unwrap_or(PVEDAEMON),
                identity_root: written.channel.identity_root.unwrap_or(true),
            },
            web: written.web.settled(root),
        })
    }
}

/// Looks whether this could be the text of the configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn check_text(text: &str) -> Result<(), String> {
    settings::read(text, written::read).map(drop).map_err(|mistakes| mistakes.to_string())
}

/// The files with secrets of issuers and targets that a configuration's text names; none where it is wrong.
pub(crate) fn secret_files(text: &str) -> Vec<PathBuf> {
    let Ok(written) = settings::read(text, written::read) else { return Vec::new() };
    let issuers = written.issuers.values().flat_map(IssuerConfig::secret_files);
    let targets = written.notify.targets.values().flat_map(TargetConfig::secret_files);
    issuers.chain(targets).map(|(_, file)| file.clone()).collect()
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let fail = |source| ConfigError::Read { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(fail(source)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ConfigError::TooLarge { path: path.into() });
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ConfigError::Empty { path: path.into() });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
        ConfigError::NotUtf8 { path: path.into(), line }
    })?;
    Ok(Some(text))
}

/// What is wrong with the configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The `controller.toml` that was read.
        path: PathBuf,
        /// Why the system could not read it.
        source: io::Error,
    },
    /// It is far too large.
    #[error("{path} is larger than 1 MiB, so it is not a configuration of pinion: put the right file there")]
    TooLarge {
        /// The `controller.toml` that was read.
        path: PathBuf,
    },
    /// It is empty, cut off perhaps.
    #[error("{path} is empty: restore it from a backup, or remove it to run with the defaults")]
    Empty {
        /// The `controller.toml` that was read.
        path: PathBuf,
    },
    /// It is not text.
    #[error("{path}:{line}: not UTF-8 text: save the file as UTF-8, or restore it from a backup")]
    NotUtf8 {
        /// The `controller.toml` that was read.
        path: PathBuf,
        /// The first line that is not, counted from 1.
        line: usize,
    },
    /// It says something wrong.
    #[error("{}\ncorrect it; docs/reference/configuration.md describes every setting", mistakes.lines(path))]
    Wrong {
        /// The `controller.toml` that was read.
        path: PathBuf,
        /// All that is wrong.
        mistakes: Mistakes,
    },
}

/// Where the configuration is.
#[must_use]
pub fn path(root: &Path) -> PathBuf {
    root.join("etc/pinion/controller.toml")
}
