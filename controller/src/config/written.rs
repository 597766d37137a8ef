//! What `controller.toml` may say.
//!
//! Invariant: every setting is read here, or by the reader of an issuer's table, and one that is not known is a mistake.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use pinion_proto::{
    id::{TrustDomain, Vmid},
    spec::PlainName,
};

use super::{
    advertise::Advertised,
    proxmox::WrittenProxmox,
    tables::{CHANNEL, RETRY, TOP},
    web::WrittenWeb,
};
use crate::{
    issuer::IssuerConfig,
    notify::NotifyConfig,
    settings::{Fields, Pause},
};

/// The file's content; what could not be read is as if it were not there, and has been complained about.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) trust_domain: Option<TrustDomain>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) advertise: Option<Vec<Advertised>>,
    pub(super) issuers: BTreeMap<PlainName, IssuerConfig>,
    pub(super) retry: WrittenRetry,
    pub(super) guests: BTreeMap<String, Vmid>,
    pub(super) proxmox: Option<WrittenProxmox>,
    pub(super) channel: WrittenChannel,
    pub(super) notify: NotifyConfig,
    pub(super) web: WrittenWeb,
}

#[derive(Debug, Default)]
pub(super) struct WrittenChannel {
    pub(super) user: Option<String>,
    pub(super) tools: Option<PathBuf>,
    pub(super) pvedaemon: Option<SocketAddr>,
    pub(super) identity_root: Option<bool>,
}

#[derive(Debug, Default)]
pub(super) struct WrittenRetry {
    pub(super) initial: Option<Pause>,
    pub(super) max: Option<Pause>,
}

/// Reads the whole file.
pub(super) fn read(top: &Fields<'_>) -> Written {
    top.known(&TOP.names());
    Written {
        trust_domain: top.optional("trust_domain"),
        listen: top.optional("listen"),
        advertise: top.optional("advertise"),
        issuers: top.table("issuers").map(|issuers| read_issuers(&issuers)).unwrap_or_default(),
        retry: top.table("retry").map(|retry| read_retry(&retry)).unwrap_or_default(),
        guests: top.table("guests").map(|guests| read_guests(&guests)).unwrap_or_default(),
        proxmox: top.table("proxmox").map(|proxmox| WrittenProxmox::read(&proxmox)),
        notify: top.table("notify").map(|notify| NotifyConfig::read(&notify)).unwrap_or_default(),
        channel: top.table("channel").map(|channel| read_channel(&channel)).unwrap_or_default(),
        web: top.table("web").map(|web| WrittenWeb::read(&web)).unwrap_or_default(),
    }
}

fn read_issuers(issuers: &Fields<'_>) -> BTreeMap<PlainName, IssuerConfig> {
    let read = |written: &str| {
        let name = written.parse().map_err(|error| issuers.problem_with_name(written, error)).ok();
        let issuer = IssuerConfig::read(&issuers.table(written)?);
        Some((name?, issuer?))
    };
    issuers.names().filter_map(read).collect()
}

fn read_retry(retry: &Fields<'_>) -> WrittenRetry {
    retry.known(&RETRY.names());
    let read = WrittenRetry { initial: retry.optional("initial"), max: retry.optional("max") };
    if let (Some(initial), Some(max)) = (&read.initial, &read.max)
        && initial.0 > max.0
    {
        retry.problem("max", "`max`, the longest pause, is shorter than `initial`, the first one");
    }
    read
}

fn read_guests(guests: &Fields<'_>) -> BTreeMap<String, Vmid> {
    guests.names().filter_map(|name| Some((name.to_owned(), guests.optional(name)?))).collect()
}

fn read_channel(channel: &Fields<'_>) -> WrittenChannel {
    channel.known(&CHANNEL.names());
    let read = WrittenChannel {
        user: channel.optional("user"),
        tools: channel.optional("tools"),
        pvedaemon: channel.optional("pvedaemon"),
        identity_root: channel.optional("identity_root"),
    };
    if read.pvedaemon.is_some_and(|address| !address.ip().is_loopback()) {
        channel.problem("pvedaemon", "tickets are sent to a process on this machine only: write a loopback address");
    }
    read
}
