//! The daemon: joins its parts, runs until it is stopped, drains.

use std::{
    os::unix::fs::{MetadataExt, symlink},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use pinion_proto::{
    causes::chain,
    clock::{Clock, Timestamp},
    daemon, lines,
};
use rustix::process::geteuid;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Notify, watch},
};
use tracing::{debug, error, info, warn};

use crate::{
    apply::{self, Placements},
    config::{Config, EARLIER_SOCKET, SOCKET},
    identity::Identity,
    install::files::RealFiles,
    link::{Link, LinkStatus},
    local::Local,
    summary,
};

/// How long the last step of a switch may take at shutdown.
const DRAIN_TIME: Duration = Duration::from_secs(20);

/// A running agent, for the daemon and for tests that keep one in their own process.
#[derive(Debug)]
pub struct Agent {
    /// What is held.
    pub placements: Placements,
    /// How the link is.
    pub link: watch::Receiver<LinkStatus>,
    tasks: tokio::task::JoinSet<()>,
}

impl Agent {
    /// Starts everything: resumes what is held, answers on the local socket, and keeps the link up,
    /// as soon as there is an identity.
    ///
    /// # Errors
    /// The state directory or the socket cannot be used.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let listener = lines::bind(&config.socket, 0o600)
            .with_context(|| format!("cannot listen on {}", config.socket.display()))?;
        link_earlier_socket(&config);
        let config = Arc::new(config);
        let context =
            apply::Context { config: config.as_ref().clone(), clock: clock.clone(), files: Arc::new(RealFiles) };
        let placements = Placements::start(Arc::new(context)).await?;
        let (status, link) = watch::channel(LinkStatus {
            linked: false,
            since: clock.now(),
            controller: None,
            error: None,
            informed: false,
            manifest_problem: None,
        });
        let (who, identity) = watch::channel(None);
        let joined = Arc::new(Notify::new());
        let mut tasks = tokio::task::JoinSet::new();
        let local = Local { placements: placements.clone(), link: link.clone(), identity, joined: joined.clone() };
        tasks.spawn(local.serve(listener));
        tasks.spawn(keep_link(config, clock, placements.clone(), status, who, joined));
        Ok(Self { placements, link, tasks })
    }

    /// Ends the link, finishes the switch of files that is under way, and returns.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        if tokio::time::timeout(DRAIN_TIME, self.placements.shutdown()).await.is_err() {
            warn!("Work was still under way after {} s; the next start finishes it", DRAIN_TIME.as_secs());
        }
    }
}

/// Leads an `await` of version 0.1, which began before the agent was upgraded, to this daemon: it looks where daemons of
/// its own version listen. Only in a directory that is this user's alone: on a host it is the controller's.
fn link_earlier_socket(config: &Config) {
    let earlier = config.root.join(EARLIER_SOCKET);
    let Some(directory) = earlier.parent().filter(|_| config.socket == config.root.join(SOCKET)) else { return };
    let is_ours = |found: std::fs::Metadata| found.is_dir() && found.uid() == geteuid().as_raw();
    if !std::fs::symlink_metadata(directory).is_ok_and(is_ours) {
        return;
    }
    drop(std::fs::remove_file(&earlier));
    if let Err(error) = symlink(&config.socket, &earlier) {
        debug!(%error, path = %earlier.display(), "Cannot link the socket's earlier path to the new one");
    }
}

/// Links with the identity on disk, anew each time that a new one is put there.
async fn keep_link(
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    placements: Placements,
    status: watch::Sender<LinkStatus>,
    who: watch::Sender<Option<(pinion_proto::id::Guest, Timestamp)>>,
    joined: Arc<Notify>,
) {
    loop {
        let identity = Identity::load(&config);
        let why = match identity {
            Ok(Some(identity)) => {
                who.send_replace(Some((identity.guest, identity.not_after)));
                let link = Link {
                    config: config.clone(),
                    clock: clock.clone(),
                    placements: placements.clone(),
                    status: status.clone(),
                };
                tokio::select! {
                    ended = link.keep(identity) => ended.err().map(|error| chain(&error)),
                    () = joined.notified() => continue,
                }
            }
            Ok(None) => {
                let text = "this guest has not joined: run `pinion token create` on the host, and pipe its output \
                    into `pinion-agent join` here";
                info!("{text}");
                Some(text.to_owned())
            }
            Err(error) => Some(chain(&error)),
        };
        if let Some(why) = why {
            error!(%why, "No link until the guest joins");
            status.send_modify(|status| status.error = Some(why));
        }
        joined.notified().await;
    }
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// It cannot start.
pub async fn run(config: Config, clock: Arc<dyn Clock>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let agent = Agent::start(config, clock.clone()).await?;
    daemon::ready();
    info!(version = env!("CARGO_PKG_VERSION"), "Agent is up");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = daemon::watchdog() => {}
        () = summary::keep(&agent.placements, agent.link.clone(), &*clock) => {}
    }
    daemon::stopping();
    info!("Stopping");
    agent.stop().await;
    Ok(())
}
