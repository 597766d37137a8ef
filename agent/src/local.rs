//! The agent's socket in the guest: who asks there learns what is held and why something is not.
//!
//! Invariant: the socket answers; the only thing it changes is when the next try is.

use std::{collections::BTreeMap, io, sync::Arc};

use pinion_proto::{
    clock::Timestamp,
    id::{CertificateName, Guest},
    lines,
    names::SubjectNames,
    report::{PlacementReport, Progress, WatchedCertificate},
    spec::PlacementSpec,
    stage::{Stage, Trouble},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::BufReader,
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::{Notify, watch},
};
use tracing::{debug, warn};

use crate::{apply::Placements, link::LinkStatus};

/// Which look somebody waits for, by name; none of what was not known when it was asked for.
type Looks = BTreeMap<CertificateName, Option<u64>>;

/// The longest request (bytes): a few hundred names.
const MAX_REQUEST: u64 = 64 * 1024;

/// What a command line asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LocalAsk {
    /// One [`LocalStatus`].
    Status,
    /// A [`LocalStatus`] now and at each change. Placements named here are looked at at once, and tried again if they
    /// were put off.
    Watch(Vec<CertificateName>),
    /// The identity on disk is new: use it.
    Joined,
}

/// Everything about this guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LocalStatus {
    /// The agent's version.
    pub version: String,
    /// Which guest this is; null before it has joined.
    pub guest: Option<Guest>,
    /// The last second of the identity's validity.
    pub identity_not_after: Option<Timestamp>,
    /// How the link is.
    pub link: LinkStatus,
    /// Every placement, by name.
    pub placements: Vec<LocalPlacement>,
}

/// One placement, for people and scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LocalPlacement {
    /// The certificate's name.
    pub certificate: CertificateName,
    /// How far the installed content has come.
    pub stage: Stage,
    /// How far it can come: `reloaded` if there is no probe.
    pub goal: Stage,
    /// The installed content's number.
    pub generation: Option<u64>,
    /// The installed leaf's serial number.
    pub serial: Option<String>,
    /// The installed leaf's names.
    pub names: Option<SubjectNames>,
    /// The last second in which the installed certificate is valid: the earliest end in its chain.
    pub not_after: Option<Timestamp>,
    /// Why it makes no progress; null if nothing is in the way.
    pub trouble: Option<Trouble>,
    /// What a person should change here, although nothing holds it up.
    #[serde(default)]
    pub warning: Option<String>,
    /// Whether it is no longer in the manifest.
    pub retired: bool,
    /// Whether what is installed is to be replaced, and is not yet.
    #[serde(default)]
    pub renewing: bool,
    /// Whether the agent has looked at it since somebody asked for that; absent if nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<bool>,
}

impl LocalPlacement {
    /// A guest's report, with what holds the placement up on the controller's side.
    fn new(report: &PlacementReport, spec: Option<&PlacementSpec>) -> Self {
        let leaf = report.held.as_ref().map(|held| &held.leaf);
        let watched = report.watched.as_deref();
        Self {
            certificate: report.certificate.clone(),
            stage: report.stage,
            goal: report.goal,
            generation: report.held.as_ref().map(|held| held.generation),
            serial: watched.map(|watched| watched.serial.clone()).or_else(|| leaf.map(|leaf| leaf.serial().to_owned())),
            names: watched
                .and_then(WatchedCertificate::subject_names)
                .or_else(|| leaf.map(|leaf| leaf.names().clone())),
            not_after: report.expires(),
            trouble: report.trouble.clone().or_else(|| spec.and_then(|spec| spec.trouble.clone())),
            warning: report.warning.clone(),
            retired: report.retired,
            renewing: is_renewing(report, spec),
            looked: None,
        }
    }
}

/// Whether what is installed is to be replaced, and is not yet: another one is here or ordered, or the controller cannot
/// order one.
fn is_renewing(report: &PlacementReport, spec: Option<&PlacementSpec>) -> bool {
    let Some(held) = &report.held else { return false };
    let is_here = report.incoming.as_ref().is_some_and(|incoming| incoming.progress == Progress::Delivered);
    let is_asked_for = spec
        .is_some_and(|spec| spec.ordered.is_some_and(|ordered| ordered > held.generation) || spec.trouble.is_some());
    !report.retired && (is_here || is_asked_for)
}

/// What the socket reports.
#[derive(Debug, Clone)]
pub struct Local {
    /// What is held.
    pub placements: Placements,
    /// How the link is.
    pub link: watch::Receiver<LinkStatus>,
    /// Who this is.
    pub identity: watch::Receiver<Option<(Guest, Timestamp)>>,
    /// Rung when [`LocalAsk::Joined`] comes.
    pub joined: Arc<Notify>,
}

impl Local {
    /// Answers on `listener` until the future is dropped.
    pub async fn serve(self, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let local = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = local.answer(stream).await {
                            debug!(%error, "A caller on the local socket went away");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "Cannot accept on the local socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn answer(mut self, stream: UnixStream) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let ask = lines::read_limited::<LocalAsk>(&mut BufReader::new(read), MAX_REQUEST).await?;
        match ask {
            None => Ok(()),
            Some(LocalAsk::Joined) => {
                self.joined.notify_one();
                lines::write(&mut write, &self.status()).await
            }
            Some(LocalAsk::Status) => lines::write(&mut write, &self.status()).await,
            Some(LocalAsk::Watch(names)) => {
                let looks = names.iter().map(|name| (name.clone(), self.placements.look_here(name))).collect();
                self.watch(&mut write, &looks).await
            }
        }
    }

    async fn watch(&mut self, write: &mut OwnedWriteHalf, looks: &Looks) -> io::Result<()> {
        let (mut reports, mut specs) = (self.placements.reports(), self.placements.specs());
        let mut looked = self.placements.looked();
        loop {
            let done = looked.borrow_and_update().clone();
            reports.mark_unchanged();
            specs.mark_unchanged();
            self.link.mark_unchanged();
            self.identity.mark_unchanged();
            let mut status = self.status();
            for placement in &mut status.placements {
                let asked = looks.get(&placement.certificate);
                placement.looked = asked.map(|asked| *asked <= done.get(&placement.certificate).copied());
            }
            lines::write(write, &status).await?;
            let changed = tokio::select! {
                changed = reports.changed() => changed,
                changed = specs.changed() => changed,
                changed = looked.changed() => changed,
                changed = self.link.changed() => changed,
                changed = self.identity.changed() => changed,
            };
            if changed.is_err() {
                return Ok(());
            }
        }
    }

    fn status(&self) -> LocalStatus {
        let identity = *self.identity.borrow();
        let (reports, specs) = (self.placements.reports(), self.placements.specs());
        let (reports, specs) = (reports.borrow(), specs.borrow());
        LocalStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            guest: identity.map(|(guest, _)| guest),
            identity_not_after: identity.map(|(_, not_after)| not_after),
            link: self.link.borrow().clone(),
            placements: reports.iter().map(|(name, report)| LocalPlacement::new(report, specs.get(name))).collect(),
        }
    }
}
