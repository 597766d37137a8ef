//! The one port: an accept loop of our own, so that strangers are cheap and identities can be swapped.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use pinion_proto::{
    id::{Guest, Member},
    lock::lock,
    tls::{self, Peer},
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, warn};

use super::{
    SessionId,
    nursery::{Connection, Nursery},
    service::Services,
};

/// A handshake takes milliseconds; a slow guest on a loaded host has this long.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Handshakes in flight. Past it the oldest goes: on a busy day that is the stranger who does nothing.
const MOST_HANDSHAKES: usize = 256;

/// Callers without an identity at any one time, and how long each may take: joining is one small call.
const MOST_STRANGERS: usize = 64;
const STRANGER_TIME: Duration = Duration::from_secs(15);

/// A guest has one link, and for a moment two while it redials.
const MOST_PER_GUEST: usize = 2;

/// How long `accept` rests when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Accepts connections until the future is dropped, and the connections with it.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, services: Arc<Services>) {
    let acceptor = TlsAcceptor::from(tls);
    let crowd = Arc::new(Crowd::default());
    let nursery = Arc::new(Nursery::start());
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                let visit = Visit {
                    from,
                    session: services.next_session(),
                    acceptor: acceptor.clone(),
                    services: services.clone(),
                    crowd: crowd.clone(),
                    nursery: nursery.clone(),
                };
                crowd.shaking(connections.spawn(Box::new(visit).connection(stream)));
            }
            Err(error) => {
                warn!(%error, "Cannot accept a connection; is the limit on open files too low?");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

/// What a connection needs until it is one.
struct Visit {
    from: SocketAddr,
    session: SessionId,
    acceptor: TlsAcceptor,
    services: Arc<Services>,
    crowd: Arc<Crowd>,
    nursery: Arc<Nursery>,
}

impl Visit {
    /// One connection, from its first byte to its last. What a handshake needs is freed before the long quiet
    /// life of a link begins.
    async fn connection(self: Box<Self>, stream: TcpStream) {
        let from = self.from;
        let Some((serving, stranger)) = Box::pin(self.begin(stream)).await else { return };
        let ended = if stranger {
            match timeout(STRANGER_TIME, serving).await {
                Ok(ended) => ended,
                Err(_) => return debug!(%from, "A caller without an identity stayed too long"),
            }
        } else {
            serving.await
        };
        if let Err(error) = ended {
            debug!(%from, %error, "Connection ended");
        }
    }

    /// The connection, and whether its caller is a stranger.
    async fn begin(self: Box<Self>, stream: TcpStream) -> Option<(Connection, bool)> {
        let (stream, caller) = greet(stream, self.from, self.acceptor).await?;
        let (contract, stranger) = match caller {
            Caller::Stranger => {
                self.crowd.stranger();
                (self.services.for_stranger(self.from), true)
            }
            Caller::Guest(guest, peer) => {
                self.crowd.guest(guest);
                (self.services.for_peer(self.from, self.session, guest, peer), false)
            }
        };
        Some((self.nursery.make(stream, contract).await?, stranger))
    }
}

/// Who calls.
enum Caller {
    /// Someone without an identity.
    Stranger,
    /// An agent.
    Guest(Guest, Peer),
}

/// Shakes hands; none when the caller fails to, or shows what it should not.
async fn greet(stream: TcpStream, from: SocketAddr, acceptor: TlsAcceptor) -> Option<(TlsStream<TcpStream>, Caller)> {
    // Small messages, each awaited by the other side.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%from, %error, "Cannot turn off Nagle's algorithm");
    }
    let stream = match timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            debug!(%from, %error, "TLS handshake failed");
            return None;
        }
        Err(_) => {
            debug!(%from, "TLS handshake took too long");
            return None;
        }
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    if certificates.is_empty() {
        return Some((stream, Caller::Stranger));
    }
    match tls::peer(certificates) {
        Ok(peer) => match peer.id.member {
            Member::Guest(guest) => Some((stream, Caller::Guest(guest, peer))),
            Member::Controller => {
                warn!(%from, "A caller shows the controller's own identity; refused");
                None
            }
        },
        Err(error) => {
            warn!(%from, %error, "A caller's certificate is no identity; refused");
            None
        }
    }
}

/// Who is connected, as far as it must be bounded.
#[derive(Debug, Default)]
struct Crowd {
    handshakes: Mutex<VecDeque<AbortHandle>>,
    strangers: Mutex<VecDeque<AbortHandle>>,
    guests: Mutex<HashMap<Guest, VecDeque<AbortHandle>>>,
}

impl Crowd {
    /// A new connection: until it says who it is, it stands in the first row.
    fn shaking(&self, task: AbortHandle) {
        keep_newest(&mut lock(&self.handshakes), task, MOST_HANDSHAKES);
    }

    /// The running connection showed no certificate.
    fn stranger(&self) {
        if let Some(task) = self.leave_first_row() {
            keep_newest(&mut lock(&self.strangers), task, MOST_STRANGERS);
        }
    }

    /// The running connection is a guest's.
    fn guest(&self, guest: Guest) {
        if let Some(task) = self.leave_first_row() {
            let mut guests = lock(&self.guests);
            guests.retain(|_, tasks| tasks.iter().any(|task| !task.is_finished()));
            keep_newest(guests.entry(guest).or_default(), task, MOST_PER_GUEST);
        }
    }

    fn leave_first_row(&self) -> Option<AbortHandle> {
        let id = tokio::task::try_id()?;
        let mut row = lock(&self.handshakes);
        let at = row.iter().position(|task| task.id() == id)?;
        row.remove(at)
    }
}

/// Appends a task and ends the oldest ones past `most`.
fn keep_newest(row: &mut VecDeque<AbortHandle>, task: AbortHandle, most: usize) {
    row.retain(|task| !task.is_finished());
    row.push_back(task);
    while row.len() > most {
        if let Some(oldest) = row.pop_front() {
            oldest.abort();
        }
    }
}
