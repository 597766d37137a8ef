//! A relay on loopback that counts what passes.
//!
//! Answers: how many bytes does a renewal cost on the wire, and when does it begin? What is counted is what TCP carries, in both
//! directions, without the headers of TCP and IP.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use anyhow::{Context, Result};
use pinion_proto::lock::lock;
use pinion_tests::port::Port;

/// The relay; its connections end with it.
pub(super) struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
    /// None where somebody else keeps it.
    port: Option<Port>,
}

#[derive(Default)]
struct Shared {
    done: AtomicBool,
    bytes: AtomicU64,
    /// When a request came first since [`Relay::forget`].
    first: Mutex<Option<Instant>>,
    /// To be closed at the end.
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Passes on to `target`.
    pub(super) fn to(target: SocketAddr) -> Result<Self> {
        let port = Port::reserve()?;
        let mut relay = Self::at(port.address(), target)?;
        relay.port = Some(port);
        Ok(relay)
    }

    /// Listens at an address that is reserved, and passes on to `target`.
    pub(super) fn at(address: SocketAddr, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).context("listen for what is to be counted")?;
        let shared = Arc::new(Shared::default());
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming().flatten() {
                    if shared.done.load(Ordering::Relaxed) {
                        return;
                    }
                    // Whose connection cannot be passed on sees it closed, as without a relay.
                    shared.pass_on(stream, target).ok();
                }
            }
        });
        Ok(Self { shared, thread: Some(thread), address, port: None })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has passed, in both directions.
    pub(super) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// From now on the next request is the first one.
    pub(super) fn forget(&self) {
        *lock(&self.shared.first) = None;
    }

    /// When a request came first.
    pub(super) fn first(&self) -> Option<Instant> {
        *lock(&self.shared.first)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.done.store(true, Ordering::Relaxed);
        for stream in lock(&self.shared.open).drain(..) {
            // One that is closed already is what was wanted.
            stream.shutdown(Shutdown::Both).ok();
        }
        // So that it sees it.
        drop(TcpStream::connect(self.address));
        self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn pass_on(self: &Arc<Self>, from: TcpStream, target: SocketAddr) -> Result<()> {
        let to = TcpStream::connect(target).with_context(|| format!("connect to {target}"))?;
        for stream in [&from, &to] {
            // Small records are not to wait for each other here, when they do not without a relay.
            stream.set_nodelay(true).context("send at once")?;
        }
        let twin = |stream: &TcpStream| stream.try_clone().context("use a connection twice");
        lock(&self.open).extend([twin(&from)?, twin(&to)?]);
        for (from, to, least) in [(twin(&from)?, twin(&to)?, REQUEST), (to, from, usize::MAX)] {
            let shared = Arc::clone(self);
            thread::spawn(move || shared.copy(from, to, least));
        }
        Ok(())
    }

    /// What comes in one piece of at least so many bytes is a request.
    fn copy(&self, mut from: TcpStream, mut to: TcpStream, least: usize) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count) = from.read(&mut buffer)
            && count > 0
        {
            if count >= least {
                lock(&self.first).get_or_insert_with(Instant::now);
            }
            self.bytes.fetch_add(u64::try_from(count).unwrap_or_default(), Ordering::Relaxed);
            if buffer.get(..count).is_none_or(|bytes| to.write_all(bytes).is_err()) {
                break;
            }
        }
        // The other direction may have something to say yet.
        to.shutdown(Shutdown::Write).ok();
    }
}

/// The least that a handshake or a request begins with; the end of a quiet connection is shorter, a record of TLS with an alert.
const REQUEST: usize = 100;
