//! What a TLS service shows, seen from outside with rustls.
//!
//! Answers: which leaf is served there, and does a client that trusts this root accept it?

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use pinion_proto::{
    bundle::{Leaf, RootCertificate},
    tls,
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, pki_types::ServerName};

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
