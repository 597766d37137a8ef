//! The pair of a listener that others reach: read from files that Pinion itself renews, and again when they change.
//!
//! Invariant: a pair that cannot be read, or whose halves do not match, never takes the place of a good one.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use pinion_proto::lock::lock;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{info, warn};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Why a pair cannot be used.
#[derive(Debug, Error)]
pub enum PairError {
    /// A file cannot be read as what it should be.
    #[error("cannot read {}: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// They are not of one key.
    #[error("{} and {} do not belong together: {why}", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        why: String,
    },
}

/// The files of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The chain, PEM, the leaf first.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// What the listener presents.
#[derive(Debug)]
pub struct WebTls(Arc<ServerConfig>);

#[derive(Debug)]
struct Presented {
    files: PairFiles,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    pair: Option<Arc<CertifiedKey>>,
    /// When the files were changed that it is from.
    changed: Option<[SystemTime; 2]>,
    looked: Instant,
}

impl WebTls {
    /// With these files; a pair that is not there yet is looked for until it is.
    #[must_use]
    pub fn new(files: PairFiles) -> Self {
        Self::of(Arc::new(Presented::new(files)))
    }

    fn of(pair: Arc<Presented>) -> Self {
        let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(pair);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(Arc::new(config))
    }

    /// A handshake.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.0.clone()).accept(stream).await
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut now = lock(&self.now);
        if now.pair.is_none() || now.looked.elapsed() >= LOOK {
            self.look(&mut now);
        }
        now.pair.clone()
    }
}

impl Presented {
    fn new(files: PairFiles) -> Self {
        let now = Now { pair: None, changed: None, looked: Instant::now() };
        let it = Self { files, now: Mutex::new(now) };
        it.look(&mut lock(&it.now));
        it
    }

    /// Reads the files, if they were changed.
    fn look(&self, now: &mut Now) {
        now.looked = Instant::now();
        let changed = [&self.files.certificate, &self.files.key]
            .map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok());
        let changed = match changed {
            [Some(certificate), Some(key)] => Some([certificate, key]),
            _ => None,
        };
        if changed.is_some() && changed == now.changed {
            return;
        }
        match read(&self.files) {
            Ok(pair) => {
                info!(certificate = %self.files.certificate.display(), "The page presents the pair that is there now");
                (now.pair, now.changed) = (Some(Arc::new(pair)), changed);
            }
            Err(error) => warn!(%error, "The page keeps the pair that it had"),
        }
    }
}

/// Reads a pair.
///
/// # Errors
/// It cannot be read, or its halves do not match.
pub fn read(files: &PairFiles) -> Result<CertifiedKey, PairError> {
    let PairFiles { certificate, key } = files;
    let cannot = |path: &PathBuf, why: rustls::pki_types::pem::Error| PairError::Read {
        path: path.clone(),
        why: why.to_string(),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(|why| cannot(certificate, why))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|why| cannot(key, why))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    CertifiedKey::from_der(chain, private, &provider).map_err(|why| PairError::Pair {
        certificate: certificate.clone(),
        key: key.clone(),
        why: why.to_string(),
    })
}

#[cfg(test)]
mod tests;
