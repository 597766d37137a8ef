//! A root process in this one, for tests of what its callers do with the identity root.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::process::geteuid;
use tokio::task::JoinSet;

use crate::{
    channel::{client::Client, server::Server},
    config::Config,
};
use pinion_proto::{clock::SystemClock, lines};

/// Answers until it is stopped.
pub(crate) struct RootProcess {
    pub(crate) client: Client,
    socket: PathBuf,
    tasks: JoinSet<()>,
}

impl RootProcess {
    /// Starts on the host below `root`.
    pub(crate) fn start(root: &Path) -> Self {
        fs::create_dir_all(root.join("etc/pinion")).expect("made");
        let config = Config::load(root).expect("a configuration");
        let (server, watcher) = Server::new(&config, geteuid().as_raw(), Arc::new(SystemClock));
        let listener = lines::bind(&config.channel.socket, 0o600).expect("a socket");
        let mut tasks = JoinSet::new();
        tasks.spawn(watcher);
        tasks.spawn(async move {
            let mut calls = JoinSet::new();
            Arc::new(server).serve(&listener, &mut calls).await;
        });
        Self { client: Client::new(&config.channel.socket), socket: config.channel.socket, tasks }
    }

    /// Ends, and lets go of its directory.
    pub(crate) async fn stop(mut self) {
        self.halt().await;
    }

    /// The same for one that is asked nevertheless.
    pub(crate) async fn halt(&mut self) {
        self.tasks.shutdown().await;
        fs::remove_file(&self.socket).ok();
    }
}
