//! Where connections are made: on a thread that makes nothing else.
//!
//! Answers: why does a quiet link not cost what its buffers could hold?
//! HTTP/2 makes the buffers of each connection at their full size (h2 `codec/framed_write.rs`, `DEFAULT_BUFFER_CAPACITY`,
//! 16 KiB; tokio-util `codec/framed_impl.rs`, `INITIAL_CAPACITY`, 8 KiB; h2 `hpack/decoder.rs`, 4 KiB), and a link that
//! says little uses the beginning of each. What is never touched is no memory, if it comes fresh from the kernel and is
//! not what a handshake has used and given back. glibc gives each thread a heap of its own, so that what is made here
//! lies beside its like, and takes the place of its like.
//! Invariant: a link does not depend on it; where the thread is missing, connections are made where they are asked for.

use std::{pin::Pin, sync::mpsc, thread, time::Duration};

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::oneshot};
use tokio_rustls::server::TlsStream;
use tracing::warn;

use super::service::Contract;

/// A dead peer is noticed within 28 s: a ping after 20 s of silence, and 8 s for its answer. An agent of this version sends no
/// pings: it takes a controller of which it has heard nothing for 28 s for dead (`pinion_agent::link`), so these are for both.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_ANSWER: Duration = Duration::from_secs(8);

/// What HTTP/2 may use per connection: small, because thousands of connections are idle most of the time. A guest
/// has one link on its connection, and a stranger joins once on its own.
const WINDOW: u32 = 64 * 1024;
const MAX_STREAMS: u32 = 1;
const MAX_HEADERS: u32 = 4 * 1024;
const SEND_BUFFER: usize = 16 * 1024;

/// Nothing runs on the thread but the making of a connection (bytes).
const STACK: usize = 256 * 1024;

/// A connection that has begun: a future that is done when it is over.
pub(super) type Connection =
    Pin<Box<hyper::server::conn::http2::Connection<TokioIo<TlsStream<TcpStream>>, Contract, TokioExecutor>>>;

/// The way to the thread; it ends with this.
#[derive(Debug)]
pub(super) struct Http2Thread(Option<mpsc::Sender<Job>>);

struct Job {
    stream: TlsStream<TcpStream>,
    contract: Contract,
    made: oneshot::Sender<Connection>,
}

impl Http2Thread {
    /// Starts the thread.
    pub(super) fn start() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let make = move || {
            for Job { stream, contract, made } in queue {
                // Whoever asked may be gone by now, and the connection goes too.
                drop(made.send(http2(stream, contract)));
            }
        };
        match thread::Builder::new().name("http2".into()).stack_size(STACK).spawn(make) {
            Ok(_) => Self(Some(jobs)),
            Err(error) => {
                warn!(%error, "Cannot start a thread for making connections; each will need more memory");
                Self(None)
            }
        }
    }

    /// Makes a connection; none when the controller is stopping.
    pub(super) async fn make(&self, stream: TlsStream<TcpStream>, contract: Contract) -> Option<Connection> {
        let Some(jobs) = &self.0 else { return Some(http2(stream, contract)) };
        let (made, connection) = oneshot::channel();
        jobs.send(Job { stream, contract, made }).ok()?;
        connection.await.ok()
    }
}

/// Makes the connection, with all its buffers.
fn http2(stream: TlsStream<TcpStream>, contract: Contract) -> Connection {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        // A link has one request in its life: there is nothing to compress against.
        .header_table_size(0)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_ANSWER);
    Box::pin(builder.serve_connection(TokioIo::new(stream), contract))
}
