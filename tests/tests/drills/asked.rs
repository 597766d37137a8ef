//! A client that asks a service all the time.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use pinion_tests::{look, site::Site};

/// Asks until it is ended.
pub(crate) struct Asked {
    stop: Arc<AtomicBool>,
    client: JoinHandle<Result<usize, String>>,
}

impl Asked {
    /// Begins to ask a site's service, as a client that trusts the issuer's root and looks at the leaf's time.
    pub(crate) fn begin(site: &Site) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (address, root, ended) = (site.server.address(), site.root(), Arc::clone(&stop));
        Self { stop, client: thread::spawn(move || ask(address, &root, &ended)) }
    }

    /// Ends; how often it asked. A handshake that failed fails the test.
    pub(crate) fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.client.join().expect("the client ends");
        asked.unwrap_or_else(|error| panic!("a handshake failed: {error}"))
    }
}

fn ask(address: SocketAddr, root: &Path, ended: &AtomicBool) -> Result<usize, String> {
    let mut asked = 0;
    while !ended.load(Ordering::Relaxed) {
        look::served(address, Site::NAME, root).map_err(|error| format!("the one after {asked}: {error:#}"))?;
        asked += 1;
        thread::sleep(BETWEEN);
    }
    Ok(asked)
}

/// Often enough that no renewal goes unseen.
const BETWEEN: Duration = Duration::from_millis(50);
