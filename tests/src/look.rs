//! What a TLS service shows, seen from outside with rustls.
//!
//! Answers: which leaf is served there, and does a client that trusts this root accept it?

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use pinion_proto::{
    bundle::{Leaf, RootCertificate, certificates_from_pem},
    tls,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, Stream,
    pki_types::{PrivateKeyDer, ServerName, pem::PemObject},
};

use crate::wait::{self, PATIENCE};

/// The leaf that `address` shows to a client that asks for `name` and trusts the root in the PEM file `ca`.
///
/// # Errors
/// No connection, or the client does not accept what is shown.
pub fn served(address: SocketAddr, name: &str, ca: &Path) -> Result<Leaf> {
    let pem = fs::read_to_string(ca).with_context(|| format!("read {}", ca.display()))?;
    let root = RootCertificate::from_pem(&pem).with_context(|| format!("parse {}", ca.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add(root.der().into()).context("trust the root")?;
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server_name = ServerName::try_from(name.to_owned()).with_context(|| format!("ask for {name}"))?;
    let mut connection = ClientConnection::new(Arc::new(config), server_name).context("prepare a handshake")?;
    let mut stream = TcpStream::connect_timeout(&address, STALLED).with_context(|| format!("connect to {address}"))?;
    for limited in [stream.set_read_timeout(Some(STALLED)), stream.set_write_timeout(Some(STALLED))] {
        limited.context("limit the connection's waits")?;
    }
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).with_context(|| format!("shake hands with {name} at {address}"))?;
    }
    let shown = connection.peer_certificates().and_then(<[_]>::first).context("the server showed no certificate")?;
    Leaf::parse(shown).context("parse the served leaf")
}

/// Why a handshake did not come to its end.
#[derive(Debug)]
pub enum Refused {
    /// Nobody takes connections there, or they broke.
    Away(String),
    /// One side does not accept what the other shows.
    Distrusted(String),
}

/// Shakes hands, as a client that trusts every certificate in the PEM file `ca` and, where `pair` is a directory, shows
/// its `cert.pem` with `key.pem`; to the end, that is until the server has accepted that too.
///
/// # Errors
/// Who did not accept whom, or that nobody is there.
pub fn accepted(address: SocketAddr, name: &str, ca: &Path, pair: Option<&Path>) -> Result<(), Refused> {
    let distrusted = |why: anyhow::Error| Refused::Distrusted(format!("{why:#}"));
    let config = client(ca, pair).map_err(distrusted)?;
    let name = ServerName::try_from(name.to_owned()).map_err(|e| distrusted(e.into()))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|e| distrusted(e.into()))?;
    let away = |error: std::io::Error| Refused::Away(error.to_string());
    let mut stream = TcpStream::connect_timeout(&address, STALLED).map_err(away)?;
    for limited in [stream.set_read_timeout(Some(STALLED)), stream.set_write_timeout(Some(STALLED))] {
        limited.map_err(away)?;
    }
    let judged = |error: std::io::Error| match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(why) => Refused::Distrusted(why.to_string()),
        None => Refused::Away(error.to_string()),
    };
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(judged)?;
    }
    // In TLS 1.3 a server judges the client's certificate after the client is through; then it answers or alerts.
    let request = format!("GET /_ping HTTP/1.0\r\nHost: {address}\r\n\r\n");
    let mut answer = [0; 1];
    let mut tls = Stream::new(&mut connection, &mut stream);
    tls.write_all(request.as_bytes()).map_err(judged)?;
    match tls.read(&mut answer).map_err(judged)? {
        0 => Err(Refused::Away("it closed the connection".into())),
        _ => Ok(()),
    }
}

fn client(ca: &Path, pair: Option<&Path>) -> Result<ClientConfig> {
    let certificates = |path: &Path| -> Result<Vec<Vec<u8>>> {
        let pem = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        certificates_from_pem(&pem).with_context(|| format!("parse {}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    for der in certificates(ca)? {
        roots.add(der.into()).context("trust a root")?;
    }
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_root_certificates(roots);
    let Some(pair) = pair else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(&pair.join("cert.pem"))?.into_iter().map(Into::into).collect();
    let key = PrivateKeyDer::from_pem_file(pair.join("key.pem")).context("read the client's key")?;
    builder.with_client_auth_cert(chain, key).context("show the client's certificate")
}

/// Waits until `address` shows the leaf with this serial number, and no other any more.
///
/// # Errors
/// It does not within [`PATIENCE`]; the message says what it showed instead.
pub fn wait_served(address: SocketAddr, name: &str, ca: &Path, serial: &str) -> Result<Leaf> {
    let mut since = None;
    wait::until(&format!("{name} at {address} to show serial {serial}"), PATIENCE, || match served(address, name, ca) {
        Ok(leaf) if leaf.serial() == serial => match since.get_or_insert_with(Instant::now).elapsed() {
            held if held >= SETTLED => Ok(leaf),
            held => Err(format!("serial {serial}, for {held:?} now")),
        },
        Ok(leaf) => {
            since = None;
            Err(format!("serial {}", leaf.serial()))
        }
        Err(error) => {
            since = None;
            Err(format!("{error:#}"))
        }
    })
}

/// nginx's old and new workers accept side by side for 100 ms after a reload (`ngx_master_process_cycle`).
const SETTLED: Duration = Duration::from_millis(250);

/// A loopback service that is silent for so long has hung.
const STALLED: Duration = Duration::from_secs(10);
