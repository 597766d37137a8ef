//! The small TLS server in Traefik's place: it reads its pair anew when its watched directory is touched.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use pinion_tests::{guest::Guest, process, tls_server::TlsServer, wait::PATIENCE};

use super::subject::{ByUnit, Subject};

pub(super) struct Watched {
    server: Arc<ByUnit<TlsServer>>,
    touches: Arc<AtomicUsize>,
    deaf: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
    watch: Option<JoinHandle<()>>,
}

impl Watched {
    pub(super) fn of(guest: &Guest, server: TlsServer) -> Result<Self> {
        let directory = guest.path("/etc/traefik/dynamic");
        fs::create_dir_all(&directory).context("make Traefik's directory")?;
        let server = Arc::new(ByUnit { kept: server, unit: TlsServer::unit, configuration: None });
        let (touches, deaf, done) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let watch = thread::spawn({
            let (server, directory) = (Arc::clone(&server), directory.clone());
            let (touches, deaf, done) = (Arc::clone(&touches), Arc::clone(&deaf), Arc::clone(&done));
            move || watch(&server, &directory, &touches, &deaf, &done)
        });
        Ok(Self { server, touches, deaf, done, watch: Some(watch) })
    }
}

/// As Traefik does: what matters is that the directory's time is another one.
fn watch(server: &ByUnit<TlsServer>, directory: &Path, touches: &AtomicUsize, deaf: &AtomicBool, done: &AtomicBool) {
    let time = || fs::symlink_metadata(directory).ok().filter(fs::Metadata::is_dir)?.modified().ok();
    let mut last: Option<SystemTime> = time();
    while !done.load(Ordering::Relaxed) {
        if let Some(now) = time()
            && last.replace(now) != Some(now)
        {
            touches.fetch_add(1, Ordering::Relaxed);
            if let Some(id) = server.kept.unit().id().filter(|_| !deaf.load(Ordering::Relaxed)) {
                let mut hangup = Command::new("kill");
                // One that has just ended reads the pair at its next start.
                drop(process::run(hangup.args(["-HUP", &id.to_string()]), b"", PATIENCE));
            }
        }
        thread::sleep(LOOK);
    }
}

impl Subject for Watched {
    fn start(&self) -> Result<()> {
        self.server.start()
    }

    fn stop(&self) -> Result<()> {
        self.server.stop()
    }

    fn told(&self) -> usize {
        self.touches.load(Ordering::Relaxed) + self.server.told()
    }

    fn told_firmly(&self) -> usize {
        self.server.told_firmly()
    }

    /// Touching its directory reaches nobody, and its unit does not restart.
    fn refuse(&self, refuses: bool) -> Result<()> {
        self.deaf.store(refuses, Ordering::Relaxed);
        self.server.refuse(refuses)
    }

    fn refuse_once(&self) -> Result<bool> {
        Ok(false)
    }

    fn replace(&self, from: &str, to: &str) -> Result<()> {
        self.server.replace(from, to)
    }

    fn put_back(&self, from: &str, to: &str) -> Result<()> {
        self.server.put_back(from, to)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if self.watch.take().is_some_and(|watch| watch.join().is_err()) {
            // Its panic has been printed.
        }
    }
}

const LOOK: Duration = Duration::from_millis(5);
