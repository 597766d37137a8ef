//! The one port: an accept loop of our own, so that strangers are cheap and identities can be swapped.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use pinion_proto::{
    id::{Guest, Member},
    tls::{self, Peer},
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, warn};

use super::{
    SessionId,
    admission::{Admission, Ticket},
    http2_thread::{Connection, Http2Thread},
    service::{Contract, Services},
};

/// A handshake takes milliseconds; a slow guest on a loaded host has this long.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long a caller without a good identity may take: joining is one small call, and so is being refused.
const STRANGER_TIME: Duration = Duration::from_secs(15);

/// How long `accept` rests when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Connections that wait for their turn: when thousands of guests come at once, those that the kernel has no room for try
/// again after ever longer pauses. The kernel's own limit may be lower (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

/// Opens the port.
///
/// # Errors
/// Another program has it, or the address is none of this host's.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A port that was left a moment ago is free again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the future is dropped, and the connections with it.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, services: Arc<Services>) {
    let acceptor = TlsAcceptor::from(tls);
    let admission = Arc::new(Admission::default());
    let http2_thread = Arc::new(Http2Thread::start());
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        admission.is_ready().await;
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
                    http2_thread: http2_thread.clone(),
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
    http2_thread: Arc<Http2Thread>,
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
                Err(_) => return debug!(%from, "A caller without a good identity stayed too long"),
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
        let (contract, stranger) = seat(&self.services, &self.ticket, (self.from, self.session), caller).await;
        Some((self.http2_thread.make(stream, contract).await?, stranger, self.ticket))
    }
}

/// What the caller may call, and whether it stands among the strangers: so does whoever shows an identity that is not
/// the guest's any more, and takes nothing from the guest.
async fn seat(
    services: &Arc<Services>,
    ticket: &Ticket,
    (from, session): (SocketAddr, SessionId),
    caller: Caller,
) -> (Contract, bool) {
    match caller {
        Caller::Stranger => {
            ticket.is_stranger();
            (services.for_stranger(from, ticket.keeper()), true)
        }
        Caller::Guest(guest, peer) => {
            let peer = Arc::new(peer);
            let good = services.is_good(guest, &peer).await;
            if good {
                ticket.is_guest(guest);
            } else {
                ticket.is_stranger();
            }
            (services.for_peer(from, session, guest, (peer, good)), !good)
        }
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

#[cfg(test)]
mod tests {
    use pinion_proto::{clock::SystemClock, message::JoinRequest, report::GuestFacts};
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::CertificateDer;
    use tokio::{sync::mpsc, task::AbortHandle};

    use super::*;
    use crate::{
        identity::{Identities, NoMachines},
        store::Store,
    };

    fn joined(identities: &Identities, guest: Guest) -> Peer {
        let key = KeyPair::generate().expect("a key");
        let csr = CertificateParams::default().serialize_request(&key).expect("a request").der().to_vec();
        let secret = identities.create_token(guest, Vec::new()).expect("a token").secret;
        let request = JoinRequest { guest, secret, csr, facts: GuestFacts::default() };
        let now = pinion_proto::clock::Clock::now(&SystemClock);
        let identity = identities.join(&request, now).expect("joined");
        tls::peer(&[CertificateDer::from(identity.chain[0].as_slice())]).expect("an identity")
    }

    #[tokio::test]
    async fn an_identity_that_is_not_good_any_more_takes_nothing_from_the_guest() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared")).expect("a store");
        let identities = Identities::open(&Arc::new(store), Arc::new(SystemClock), None, Arc::new(NoMachines));
        let identities = Arc::new(identities.expect("identities"));
        let guest = "101".parse().expect("a guest");
        let [replaced, good] = [(); 2].map(|()| joined(&identities, guest));
        let (inputs, _events) = mpsc::channel(16);
        let services = Services::new(identities.clone(), Arc::new(SystemClock), inputs);
        let admission = Arc::new(Admission::default());
        let call = async |peer: &Peer| {
            let from = "10.0.0.5:1234".parse().expect("an address");
            let ticket = admission.enter(from);
            let (source, number) = ticket.key();
            let task: AbortHandle = tokio::spawn(std::future::pending::<()>()).abort_handle();
            admission.runs(source, number, task.clone());
            let who = Caller::Guest(guest, peer.clone());
            let (_, stranger) = seat(&services, &ticket, (from, services.next_session()), who).await;
            (ticket, task, stranger)
        };
        let agent = call(&good).await;
        assert!(!agent.2);
        for _ in 0..3 {
            let other = call(&replaced).await;
            tokio::task::yield_now().await;
            assert!(other.2 && !other.1.is_finished(), "it has a stranger's time, and may hear why");
        }
        identities.lock(guest, "a test").expect("written");
        assert!(call(&good).await.2, "locked");
        tokio::task::yield_now().await;
        assert!(!agent.1.is_finished());
    }
}
