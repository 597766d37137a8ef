//! The one port: an accept loop of our own, so that strangers are cheap and identities can be swapped.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use pinion_proto::{
    id::{Guest, Member},
    tls::{self, Peer},
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, warn};

use super::{
    SessionId,
    admission::{Admission, Ticket},
    nursery::{Connection, Nursery},
    service::Services,
};

/// A handshake takes milliseconds; a slow guest on a loaded host has this long.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long a caller without an identity may take: joining is one small call.
const STRANGER_TIME: Duration = Duration::from_secs(15);

/// How long `accept` rests when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Accepts connections until the future is dropped, and the connections with it.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, services: Arc<Services>) {
    let acceptor = TlsAcceptor::from(tls);
    let admission = Arc::new(Admission::default());
    let nursery = Arc::new(Nursery::start());
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                let ticket = admission.enter(from);
                let (source, number) = ticket.key();
                let visit = Visit {
                    from,
                    session: services.next_session(),
                    acceptor: acceptor.clone(),
                    services: services.clone(),
                    ticket,
                    nursery: nursery.clone(),
                };
                admission.runs(source, number, connections.spawn(Box::new(visit).connection(stream)));
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
    /// Its place among the others, for as long as it is connected.
    ticket: Ticket,
    nursery: Arc<Nursery>,
}

impl Visit {
    /// One connection, from its first byte to its last. What a handshake needs is freed before the long quiet
    /// life of a link begins.
    async fn connection(self: Box<Self>, stream: TcpStream) {
        let from = self.from;
        let Some((serving, stranger, _ticket)) = Box::pin(self.begin(stream)).await else { return };
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

    /// The connection, whether its caller is a stranger, and its place.
    async fn begin(self: Box<Self>, stream: TcpStream) -> Option<(Connection, bool, Ticket)> {
        let (stream, caller) = greet(stream, self.from, self.acceptor).await?;
        let (contract, stranger) = match caller {
            Caller::Stranger => {
                self.ticket.is_stranger();
                (self.services.for_stranger(self.from, self.ticket.keeper()), true)
            }
            Caller::Guest(guest, peer) => {
                self.ticket.is_guest(guest);
                (self.services.for_peer(self.from, self.session, guest, peer), false)
            }
        };
        Some((self.nursery.make(stream, contract).await?, stranger, self.ticket))
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
