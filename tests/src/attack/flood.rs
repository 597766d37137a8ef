//! Strangers that connect as fast as they can, from an address of their own.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::wait::{self, PATIENCE};

/// So many connect at once; each keeps its last ones open.
const WORKERS: usize = 8;
const KEPT: usize = 100;

/// Past it a flood ends by itself: it is a test.
const MAX_CONNECTIONS: usize = 200_000;

/// A flood, until it is dropped.
#[derive(Debug)]
pub struct Flood {
    made: Arc<AtomicUsize>,
    begun: Instant,
    _workers: JoinSet<()>,
}

impl Flood {
    /// Begins to connect to the port from this loopback address, with the beginning of a handshake on each connection.
    #[must_use]
    pub fn start(port: SocketAddr, source: IpAddr) -> Self {
        let made = Arc::new(AtomicUsize::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            let made = made.clone();
            workers.spawn(async move {
                let mut kept = VecDeque::new();
                while made.fetch_add(1, Ordering::Relaxed) < MAX_CONNECTIONS {
                    // Refused, out of ports, or slow: the next one is as good.
                    match timeout(Duration::from_secs(1), connect(port, source)).await {
                        Ok(Ok(stream)) => kept.push_back(stream),
                        Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                    if kept.len() > KEPT {
                        kept.pop_front();
                    }
                }
            });
        }
        Self { made, begun: Instant::now(), _workers: workers }
    }

    /// How many connections were tried so far.
    #[must_use]
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// How many are tried in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.made()).unwrap_or(u32::MAX)) / self.begun.elapsed().as_secs_f64()
    }

    /// Waits until so many were tried.
    ///
    /// # Errors
    /// They are not within [`PATIENCE`].
    pub async fn reaches(&self, count: usize) -> Result<()> {
        let look = async || if self.made() >= count { Ok(()) } else { Err(format!("{} were made", self.made())) };
        wait::until_async(&format!("{count} connections"), PATIENCE, look).await
    }
}

async fn connect(port: SocketAddr, source: IpAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4().context("a socket")?;
    socket.bind((source, 0).into()).context("an address of one's own")?;
    let mut stream = socket.connect(port).await.context("a connection")?;
    // What is closed by a reset leaves no port behind that is in use for a minute.
    stream.set_zero_linger().context("no lingering")?;
    // The beginning of a handshake record that would be the largest.
    stream.write_all(&[0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3]).await.context("room")?;
    Ok(stream)
}
