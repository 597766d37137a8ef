//! Who uses a place while it is attacked: a client that shakes hands, and readers that open its files as nginx's user.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, Scope, ScopedJoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use pinion_proto::spec::Layout;
use pinion_tests::{
    account::Account,
    look,
    pair::{Pair, Reads},
};

use crate::place::Place;

/// They run until they are told.
pub(crate) struct Watch<'scope> {
    client: ScopedJoinHandle<'scope, Shakes>,
    by_handle: ScopedJoinHandle<'scope, Result<Reads>>,
    by_path: ScopedJoinHandle<'scope, Result<Reads>>,
}

/// What they saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) shakes: Shakes,
    /// Through the directory handle of `current`; nothing in the layout `copy`.
    pub(crate) by_handle: Reads,
    pub(crate) by_path: Reads,
}

/// What a client saw.
#[derive(Debug, Default)]
pub(crate) struct Shakes {
    pub(crate) hands: usize,
    pub(crate) failed: usize,
}

impl<'scope> Watch<'scope> {
    /// Begins; `done` ends it.
    pub(crate) fn begin(scope: &'scope Scope<'scope, '_>, place: &'scope Place, done: &'scope AtomicBool) -> Self {
        let client = scope.spawn(move || {
            let mut shakes = Shakes::default();
            each(done, || match look::served(place.nginx.address(), Place::NAME, &place.root) {
                Ok(_) => shakes.hands += 1,
                Err(error) => {
                    if shakes.failed == 0 {
                        eprintln!("faults: a handshake failed: {error:#}");
                    }
                    shakes.failed += 1;
                }
            });
            shakes
        });
        let (key, chain, current) = (place.key(), place.chain(), place.current());
        let (key_name, chain_name) = (key.clone(), chain.clone());
        let by_handle = scope.spawn(move || -> Result<Reads> {
            let mut reads = Reads::default();
            Account::of(READER)?.take_over()?;
            if let (Layout::Symlink, Some(key), Some(chain)) =
                (place.layout, key_name.file_name(), chain_name.file_name())
            {
                each(done, || reads.count(Pair::by_handle(&current, key, chain)));
            }
            Ok(reads)
        });
        let by_path = scope.spawn(move || -> Result<Reads> {
            let mut reads = Reads::default();
            Account::of(READER)?.take_over()?;
            each(done, || reads.count(Pair::by_path(&key, &chain).map(Some)));
            Ok(reads)
        });
        Self { client, by_handle, by_path }
    }

    /// What they saw, once `done` is said.
    pub(crate) fn seen(self) -> Result<Seen> {
        let panicked = |_| anyhow!("it panicked");
        Ok(Seen {
            shakes: self.client.join().map_err(panicked).context("watch as a client")?,
            by_handle: self.by_handle.join().map_err(panicked).context("read by the directory")??,
            by_path: self.by_path.join().map_err(panicked).context("read by paths")??,
        })
    }
}

fn each(done: &AtomicBool, mut step: impl FnMut()) {
    while !done.load(Ordering::Relaxed) {
        step();
        thread::sleep(PAUSE);
    }
}

/// nginx's user in Debian.
const READER: &str = "www-data";

/// Leaves the processor to those who are watched.
const PAUSE: Duration = Duration::from_millis(3);
