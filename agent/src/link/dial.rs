//! Dialling the controller: TCP, TLS 1.3 against the pinned root, HTTP/2.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pinion_proto::tls;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsConnector;

use super::{addresses::Candidate, heard::Heard, redial::Lost};

/// One controller gets this long to take the connection before the next address is tried.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// One that has taken the connection gets this long to answer: when thousands of guests dial at once, they wait in its
/// kernel's queue, and a guest that gave up sooner would have to wait from the start.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// One that came in a message gets less: there may be many, and they may lead nowhere. It gets all of it unless the
/// controller answers there: how long a failure takes would tell whoever named it what is there.
const ANNOUNCED_DIAL_TIME: Duration = Duration::from_secs(3);

/// Small buffers: the agent lives in every guest and says little.
const WINDOW: u32 = 64 * 1024;
const SEND_BUFFER: usize = 16 * 1024;

/// A connection that gRPC clients can be made on; the connection ends when the last clone is dropped.
#[derive(Clone)]
pub struct Connection(SendRequest<tonic::body::Body>);

/// Connects to the first of `addresses` that answers as the controller.
///
/// # Errors
/// None did; the last failure is reported.
pub async fn dial(addresses: &[SocketAddr], config: Arc<ClientConfig>) -> Result<(Connection, SocketAddr), DialError> {
    let trusted = |address: &SocketAddr| Candidate { address: *address, announced: false };
    dial_any(&addresses.iter().map(trusted).collect::<Vec<_>>(), config).await
}

/// As [`dial`], with addresses that came in a message among them: what is found at those is reported to nobody.
///
/// # Errors
/// None did; the last failure at an address that the guest joined with, or that has worked, is reported.
pub async fn dial_any(
    candidates: &[Candidate],
    config: Arc<ClientConfig>,
) -> Result<(Connection, SocketAddr), DialError> {
    let mut last = DialError::NoAddress;
    for Candidate { address, announced } in candidates.iter().copied() {
        let began = Instant::now();
        let dialled = dial_one(address, config.clone());
        let dialled = match announced {
            true => timeout(ANNOUNCED_DIAL_TIME, dialled).await.unwrap_or(Err(DialError::Timeout { address })),
            false => dialled.await,
        };
        let failed = match dialled {
            Ok(connection) => return Ok((connection, address)),
            Err(error) => error,
        };
        if announced {
            sleep_until(began + ANNOUNCED_DIAL_TIME).await;
        } else {
            last = failed;
        }
    }
    Err(last)
}

async fn dial_one(address: SocketAddr, config: Arc<ClientConfig>) -> Result<Connection, DialError> {
    let tcp = timeout(CONNECT_TIME, TcpStream::connect(address)).await;
    let tcp = tcp.map_err(|_| DialError::Timeout { address })?;
    let tcp = tcp.map_err(|source| DialError::Connect { address, source })?;
    timeout(ANSWER_TIME, shake_hands(tcp, address, config)).await.unwrap_or(Err(DialError::Silent { address }))
}

async fn shake_hands(tcp: TcpStream, address: SocketAddr, config: Arc<ClientConfig>) -> Result<Connection, DialError> {
    tcp.set_nodelay(true).map_err(|source| DialError::Connect { address, source })?;
    let heard = Heard::new(tcp).map_err(|source| DialError::Connect { address, source })?;
    let tls = TlsConnector::from(config)
        .connect(tls::controller_name(), heard)
        .await
        .map_err(|source| DialError::Tls { address, source })?;
    // No pings: the controller sends them, and each of its own would wake the agent twice.
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        // One answer comes in a link's life: the controller has nothing to remember for the next, for each guest.
        .header_table_size(0)
        .max_send_buf_size(SEND_BUFFER)
        .handshake(TokioIo::new(tls))
        .await
        .map_err(|source| DialError::Http { address, source })?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "Connection to the controller ended");
        }
    });
    Ok(Connection(sender))
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Connection {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// The origin that requests name; routing and trust are the connection's.
#[must_use]
pub fn origin() -> http::Uri {
    http::Uri::from_static("https://controller.pinion.internal")
}

/// Why the controller was not reached.
#[derive(Debug, Error)]
pub enum DialError {
    /// The identity names no controller.
    #[error("no address of the controller is known: join again with a new token (`pinion token create` on the host)")]
    NoAddress,
    /// TCP fails.
    #[error("cannot connect to the controller at {address}")]
    Connect {
        /// Its address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// TLS fails.
    #[error("no TLS connection to the controller at {address}")]
    Tls {
        /// Its address.
        address: SocketAddr,
        /// The reason: an identity that is expired or refused, or another root.
        source: std::io::Error,
    },
    /// HTTP/2 fails.
    #[error("no HTTP/2 connection to the controller at {address}")]
    Http {
        /// Its address.
        address: SocketAddr,
        /// hyper's reason.
        source: hyper::Error,
    },
    /// Nothing answers there.
    #[error("the controller at {address} does not answer within {} s", CONNECT_TIME.as_secs())]
    Timeout {
        /// Its address.
        address: SocketAddr,
    },
    /// It takes the connection and says nothing.
    #[error(
        "the controller at {address} takes the connection and does not answer within {} s: it hangs, or has too much to do",
        ANSWER_TIME.as_secs()
    )]
    Silent {
        /// Its address.
        address: SocketAddr,
    },
}

impl DialError {
    /// Whether somebody answered and will answer the same the next time.
    pub(super) fn lost(&self) -> Lost {
        match self {
            // rustls says so of what it does not accept, and of an alert of the other side.
            Self::Tls { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => Lost::Refused,
            _ => Lost::Away,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustls::{RootCertStore, crypto::aws_lc_rs};

    use super::*;

    #[tokio::test]
    async fn how_long_a_failure_takes_does_not_tell_what_is_at_an_address_that_was_told() {
        let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let config = Arc::new(config);
        let took = async |address, announced| {
            let began = Instant::now();
            let failed = dial_any(&[Candidate { address, announced }], config.clone()).await;
            assert_eq!(matches!(failed, Err(DialError::NoAddress)), announced, "what was found is reported to nobody");
            began.elapsed()
        };
        assert!(took(closed, false).await < ANNOUNCED_DIAL_TIME, "a guest goes on at once after its own addresses");
        let silent = silent.local_addr().expect("its address");
        for (address, what) in [(closed, "closed"), (silent, "silent")] {
            let took = took(address, true).await;
            assert!(took >= ANNOUNCED_DIAL_TIME && took < CONNECT_TIME, "{what}: {took:?}");
        }
    }
}
