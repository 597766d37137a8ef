//! The accept loop: how many may be connected, how large a request is, and how long anything takes.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tower_service::Service as _;
use tracing::{debug, warn};

use super::{gate::Peer, tls::WebTls};

/// More connections than people and scrapers have.
const MAX_CONNECTIONS: usize = 256;

/// A request's head (bytes): cookies and a path.
const MAX_HEAD: usize = 16 * 1024;

/// The head of the next request has come by then, or the connection ends.
const HEAD_TIME: Duration = Duration::from_secs(20);

/// A reader that takes nothing for so long is gone.
const WRITE_TIME: Duration = Duration::from_secs(20);

const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long `accept` rests when the process is out of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Answers until the future is dropped.
pub(super) async fn serve(listener: TcpListener, tls: Option<Arc<WebTls>>, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "Cannot accept a connection on the web listener; is the limit on open files too low?");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        // Whoever finds no place tries again.
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (tls, router, from) = (tls.clone(), router.clone(), Peer(from.ip()));
        connections.spawn(connection(stream, from, tls, router, place));
    }
}

async fn connection(
    stream: TcpStream,
    from: Peer,
    tls: Option<Arc<WebTls>>,
    router: Router,
    _place: OwnedSemaphorePermit,
) {
    match tls {
        None => answer(stream, from, router).await,
        Some(tls) => match timeout(HANDSHAKE_TIME, tls.accept(stream)).await {
            Ok(Ok(stream)) => answer(stream, from, router).await,
            Ok(Err(error)) => debug!(%error, "A caller on the web listener failed its handshake"),
            Err(_) => debug!("A caller on the web listener did not finish its handshake"),
        },
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Send + 'static, from: Peer, router: Router) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request: Request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(from);
        router.clone().call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(MAX_HEAD);
    if let Err(error) = http.serve_connection(TokioIo::new(Box::pin(stream)), service).await {
        debug!(%error, "A caller on the web listener went away");
    }
}
