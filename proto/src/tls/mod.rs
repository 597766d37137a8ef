//! The link's TLS: 1.3 only, Pinion's own root, identities that are swapped while connections live.
//!
//! Invariant: nothing here trusts the system's roots, a name from DNS, or a certificate of the services.

mod early;

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    CipherSuite, ClientConfig, RootCertStore, ServerConfig, SignatureScheme,
    client::{ResolvesClientCert, WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs::sign::any_ecdsa_type},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
    time_provider::TimeProvider,
    version::TLS13,
};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use early::Early;

use crate::{
    bundle::RootCertificate,
    clock::{Clock, Timestamp},
    id::SpiffeId,
};

/// The DNS name in the controller's identity, which agents ask for whatever address they dial.
/// Guests' identities carry no DNS name and no serverAuth, so none can stand in for the controller.
pub const CONTROLLER_NAME: &str = "controller.pinion.internal";

/// gRPC needs HTTP/2 (RFC 9113 section 3.2).
const ALPN: &[u8] = b"h2";

/// The process's crypto provider.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// That of links. AES-128 with SHA-256 comes first: processors have instructions for SHA-256 and none for SHA-384, whose
/// key schedule takes a twentieth of a handshake.
fn link_provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// An identity in use: everything that resolves through it sees the newest.
#[derive(Clone)]
pub struct IdentityCell(Arc<RwLock<Arc<CertifiedKey>>>);

impl IdentityCell {
    /// Holds a first identity: chain leaf first (DER), key PKCS #8 (DER).
    ///
    /// # Errors
    /// The key cannot be read or is not the certificate's.
    pub fn new(chain: &[Vec<u8>], key: &Zeroizing<Vec<u8>>) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(certified(chain, key)?))))
    }

    /// Puts another identity in use; handshakes from now on show it.
    ///
    /// # Errors
    /// As [`Self::new`]; the identity in use stays.
    pub fn swap(&self, chain: &[Vec<u8>], key: &Zeroizing<Vec<u8>>) -> Result<(), TlsError> {
        let next = certified(chain, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for IdentityCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdentityCell(…)")
    }
}

impl ResolvesServerCert for IdentityCell {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for IdentityCell {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The controller's side: shows `identity`, and asks for a client certificate under `root`.
/// A caller without one may connect, because a new agent has none yet; one with a bad one may not.
///
/// # Errors
/// The root is not usable as a trust anchor.
pub fn server_config(
    identity: IdentityCell,
    root: &RootCertificate,
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig, TlsError> {
    server_config_for(identity, std::slice::from_ref(root), clock)
}

/// As [`server_config`], for client certificates under any of several roots.
///
/// # Errors
/// As [`server_config`].
pub fn server_config_for(
    identity: IdentityCell,
    roots: &[RootCertificate],
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig, TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors(roots)?), provider())
        .allow_unauthenticated()
        // Do not tell strangers the name of the authority.
        .clear_root_hint_subjects()
        .build()
        .map_err(|source| TlsError::Anchor(source.to_string()))?;
    let mut config = ServerConfig::builder_with_details(link_provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Early::<dyn ClientCertVerifier>(verifier)))
        .with_cert_resolver(Arc::new(identity));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Every connection proves itself anew, and strangers leave no sessions behind.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The agent's side: accepts only a controller under `root`; shows `identity` once it has one.
///
/// # Errors
/// The root is not usable as a trust anchor.
pub fn client_config(
    identity: Option<IdentityCell>,
    root: &RootCertificate,
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, TlsError> {
    client_config_for(identity, std::slice::from_ref(root), clock)
}

/// As [`client_config`], for a controller under any of several roots.
///
/// # Errors
/// As [`client_config`].
pub fn client_config_for(
    identity: Option<IdentityCell>,
    roots: &[RootCertificate],
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(anchors(roots)?), provider())
        .build()
        .map_err(|source| TlsError::Anchor(source.to_string()))?;
    let builder = ClientConfig::builder_with_details(link_provider(), Arc::new(ClockTime(clock)))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Early::<dyn ServerCertVerifier>(verifier)));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(identity)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The name that the agent asks for; see [`CONTROLLER_NAME`].
#[must_use]
pub fn controller_name() -> ServerName<'static> {
    ServerName::try_from(CONTROLLER_NAME).expect("the constant is a DNS name")
}

/// Who shows these certificates, which TLS has verified already, and with which serial number.
///
/// # Errors
/// No certificate, or one without exactly one SPIFFE ID (X509-SVID section 2).
pub fn peer(certificates: &[CertificateDer<'_>]) -> Result<Peer, TlsError> {
    let leaf = certificates.first().ok_or(TlsError::NoPeer)?;
    let not_ours = |why: String| TlsError::Peer(why);
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|e| not_ours(e.to_string()))?;
    let san = leaf.subject_alternative_name().map_err(|e| not_ours(e.to_string()))?;
    let names = san.map(|san| san.value.general_names.as_slice()).unwrap_or_default();
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(not_ours("it does not have exactly one URI".into()));
    };
    let id = uri.parse().map_err(|e: crate::id::IdError| not_ours(e.to_string()))?;
    let serial = leaf.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect();
    let validity = leaf.validity();
    let (not_before, not_after) = (validity.not_before.to_datetime().into(), validity.not_after.to_datetime().into());
    Ok(Peer { id, serial, not_before, not_after })
}

/// The other end of a connection, after its certificate was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The SPIFFE ID in its certificate.
    pub id: SpiffeId,
    /// Its certificate's serial number, upper-case hexadecimal.
    pub serial: String,
    /// The first second of its validity.
    pub not_before: Timestamp,
    /// The last second of its validity.
    pub not_after: Timestamp,
}

/// What is wrong with an identity or a peer.
#[derive(Debug, Error)]
pub enum TlsError {
    /// rustls refuses the material.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// The private key cannot be read.
    #[error("the identity's private key is malformed: {0}")]
    Key(&'static str),
    /// The root cannot be used.
    #[error("the identity root is not usable as a trust anchor: {0}")]
    Anchor(String),
    /// The caller showed no certificate.
    #[error("the peer sent no certificate")]
    NoPeer,
    /// The certificate is no identity of Pinion's.
    #[error("the peer's certificate is not an identity: {0}")]
    Peer(String),
}

fn certified(chain: &[Vec<u8>], key: &Zeroizing<Vec<u8>>) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    // An identity's key is an elliptic curve's: trying the other kinds first costs a check of the key each time.
    let key = any_ecdsa_type(&PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.as_slice())))?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match()?;
    Ok(Arc::new(certified))
}

fn anchors(roots: &[RootCertificate]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(CertificateDer::from(root.der())).map_err(|source| TlsError::Anchor(source.to_string()))?;
    }
    Ok(store)
}

/// rustls asks the same clock as everything else.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().unix()).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}
