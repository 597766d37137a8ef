//! The controller's own configuration: `/etc/pinion/controller.toml`.
//!
//! Answers: where is everything, who signs, on which port? The manifest says what should exist.

mod proxmox;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use pinion_proto::{
    id::{TrustDomain, Vmid},
    place::line_and_column,
    spec::PlainName,
};
use serde::Deserialize;
use thiserror::Error;

pub use proxmox::{Enroll, Proxmox};

use crate::{issuer::IssuerConfig, planner::backoff::Backoff};
use proxmox::WrittenProxmox;

/// The port of every example and firewall rule.
const PORT: u16 = 7443;

/// The user that the package makes.
const USER: &str = "pinion";

/// A configuration is a screenful; whatever is larger is not one (bytes).
const MOST: u64 = 1024 * 1024;

/// Where everything is, who signs, on which port.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory that stands for `/`.
    pub root: PathBuf,
    /// The manifest.
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
    pub advertise: Vec<SocketAddr>,
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
    /// The root process.
    pub channel: ChannelConfig,
}

/// The root process, and who may ask it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelConfig {
    /// Where it answers.
    pub socket: PathBuf,
    /// The user that `pinion serve` runs as, by name or number.
    pub user: String,
    /// Where pct, qm and pvesh are, instead of the usual places.
    pub tools: Option<PathBuf>,
}

impl Config {
    /// Reads `etc/pinion/controller.toml` below `root`; a missing file means the defaults.
    ///
    /// # Errors
    /// The file cannot be read or says something wrong: file, place and remedy are told.
    pub fn load(root: &Path) -> Result<Self, ConfigError> {
        let path = root.join("etc/pinion/controller.toml");
        let written = match read(&path) {
            Ok(Some(text)) => parse(&path, &text)?,
            Ok(None) => Written::default(),
            Err(error) => return Err(error),
        };
        let listen = written.listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], PORT)));
        let advertise = match written.advertise {
            Some(addresses) => addresses,
            None if listen.ip().is_unspecified() => Vec::new(),
            None => vec![listen],
        };
        let standard = Backoff::default();
        let retry = written.retry.unwrap_or_default();
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
                initial: retry.initial.unwrap_or(standard.initial),
                max: retry.max.unwrap_or(standard.max),
            },
            guests: written.guests,
            proxmox: Proxmox::settled(root, written.proxmox),
            channel: ChannelConfig {
                socket: root.join("run/pinion-channel/channel.sock"),
                user: written.channel.user.unwrap_or_else(|| USER.to_owned()),
                tools: written.channel.tools,
            },
        })
    }
}

/// What the file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    trust_domain: Option<TrustDomain>,
    listen: Option<SocketAddr>,
    advertise: Option<Vec<SocketAddr>>,
    #[serde(default)]
    issuers: BTreeMap<PlainName, IssuerConfig>,
    retry: Option<WrittenRetry>,
    #[serde(default)]
    guests: BTreeMap<String, Vmid>,
    proxmox: Option<WrittenProxmox>,
    #[serde(default)]
    channel: WrittenChannel,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenChannel {
    user: Option<String>,
    tools: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRetry {
    #[serde(default, deserialize_with = "duration")]
    initial: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    max: Option<Duration>,
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = humantime::parse_duration(&text).map_err(serde::de::Error::custom)?;
    if parsed.is_zero() {
        return Err(serde::de::Error::custom("a pause of nothing would be a storm: use 1s or more"));
    }
    Ok(Some(parsed))
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let fail = |source| ConfigError::Read { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(fail(source)),
    };
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MOST {
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

fn parse(path: &Path, text: &str) -> Result<Written, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let (line, column) = line_and_column(text, error.span().map_or(0, |span| span.start));
        ConfigError::Wrong { path: path.into(), line, column, why: error.message().to_owned() }
    })
}

/// What is wrong with the configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is far too large.
    #[error("{path} is larger than 1 MiB and no configuration of pinion's: put the right file there")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is empty, cut off perhaps.
    #[error("{path} is empty: restore it from a backup, or remove it to run with the defaults")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is not text.
    #[error("{path}:{line}: not UTF-8 text: save the file as UTF-8, or restore it from a backup")]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The first line that is not, counted from 1.
        line: usize,
    },
    /// It says something wrong.
    #[error("{path}:{line}:{column}: {why}: correct it, and see docs/controller.md for every setting")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// The parser's reason.
        why: String,
    },
}
