//! A server that lets nobody in without a certificate, and knows whose was the last.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};
use pinion_proto::{bundle::Leaf, lock::lock, tls};
use pinion_tests::port::Port;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, Stream,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

/// An HTTPS server that answers everything with an empty configuration of Traefik's.
pub(crate) struct Asked {
    address: SocketAddr,
    last: Arc<Mutex<Option<String>>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Asked {
    /// Serves this pair, read once, to clients of the root in `ca`.
    pub(crate) fn listen(port: &Port, certificate: &Path, key: &Path, ca: &Path) -> Result<Self> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
        let chain = |path: &Path| -> Result<Vec<CertificateDer<'static>>> {
            CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<_, _>>().context("parse certificates")
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain(ca)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), tls::provider()).build()?;
        let config = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain(certificate)?, PrivateKeyDer::from_pem_slice(&read(key)?)?)?;
        let listener = TcpListener::bind(port.address()).context("listen")?;
        let (last, done) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (config, last, done) = (Arc::new(config), Arc::clone(&last), Arc::clone(&done));
            move || {
                for stream in listener.incoming().flatten().take_while(|_| !done.load(Ordering::Relaxed)) {
                    // Whoever is not let in has not asked.
                    if let Ok(serial) = answer(stream, Arc::clone(&config)) {
                        *lock(&last) = Some(serial);
                    }
                }
            }
        });
        Ok(Self { address: port.address(), last, done, thread: Some(thread) })
    }

    /// The serial number of the last client's certificate.
    pub(crate) fn last(&self) -> Option<String> {
        lock(&self.last).clone()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        // One more caller, for whom it looks up.
        drop(TcpStream::connect(self.address));
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            // Its panic has been printed.
        }
    }
}

/// Answers one request; the serial number of who asked.
fn answer(mut stream: TcpStream, config: Arc<ServerConfig>) -> Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).context("limit the wait for a request")?;
    let mut connection = ServerConnection::new(config).context("prepare a handshake")?;
    let mut tls = Stream::new(&mut connection, &mut stream);
    // A request without a body ends with an empty line.
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tls.read_exact(&mut byte).context("read a request")?;
        request.extend(byte);
    }
    tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").context("answer")?;
    let shown = connection.peer_certificates().and_then(<[_]>::first).context("it showed a certificate")?;
    let serial = Leaf::parse(shown)?.serial().to_string();
    connection.send_close_notify();
    connection.complete_io(&mut stream).context("say goodbye")?;
    Ok(serial)
}
