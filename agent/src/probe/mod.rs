//! What a service really shows: one TLS handshake, compared with what should be shown.
//!
//! Invariants: only loopback, the guest's own addresses and what its agent.toml adds are looked at, and to anything else no
//! connection is made; what is reported of a server is in Pinion's own words, never in the server's (`words`), but for the serial
//! number of another certificate.
//! Nothing is trusted and nothing is sent; the answer is about the certificate alone. A server that wants
//! a client certificate has shown its own by then, which is all that is asked. Where a protocol begins without TLS,
//! as little of it is spoken as turns to TLS.

mod binary_protocols;
mod own;
mod proxy;
mod reading;
mod schemes;
mod starttls;
mod text_protocols;
mod unlike;
mod witness;
mod words;

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pinion_proto::{bundle::Leaf, lock::lock, tls::provider};
use rustls::{SignatureScheme, crypto::CryptoProvider, pki_types::ServerName};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

pub use unlike::Unlike;
use witness::{Shown, Witness, client_config};

use crate::recipe::ProbeTarget;

/// How long a handshake may take: a service that needs longer is as good as down.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The certificate that was asked about, by a server that has its key.
    Served,
    /// Another certificate.
    Other(Other),
    /// Nobody takes connections there.
    NotListening(String),
    /// Somebody does and does not speak TLS, or not to the end of a handshake.
    NoTls(Unlike),
    /// The guest does not allow looking there, and nobody did.
    NotAllowed,
}

/// A certificate that is not the one that was asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its serial number, or why that cannot be read.
    pub serial: String,
    /// The certificate (DER), which may be anything.
    pub der: Box<[u8]>,
    /// The name that was asked for, if one was.
    pub asked: Option<Box<str>>,
}

impl Seen {
    /// Whether a TLS service is there.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self, Self::Served | Self::Other(_))
    }

    /// Whether it is no certificate of somebody else's, and nothing that would be there for good: one that is starting says
    /// nothing yet.
    pub(crate) fn is_served_or_starting(&self) -> bool {
        match self {
            Self::Served | Self::NotListening(_) => true,
            Self::NoTls(unlike) => unlike.is_silent(),
            Self::Other(_) | Self::NotAllowed => false,
        }
    }

    /// Adds why a service that does not answer is not waited for.
    pub(crate) fn because(self, why: &str) -> Self {
        match self {
            Self::NotListening(cause) => Self::NotListening(format!("{cause}; {why}")),
            Self::NoTls(unlike) => Self::NoTls(unlike.because(why)),
            seen => seen,
        }
    }
}

/// Looks once, at most for `patience`, whether `leaf` is served.
pub async fn look(at: &ProbeTarget, leaf: &Leaf, patience: Duration) -> Seen {
    // Asked each time, because addresses come and go.
    if !at.elsewhere && !own::is_own(at.connect) {
        return Seen::NotAllowed;
    }
    let is_connected = AtomicBool::new(false);
    match timeout(patience, handshake(at, leaf, &is_connected)).await {
        Ok(seen) => seen,
        Err(_) => too_slow(at, is_connected, patience),
    }
}

/// The certificates (DER) that a service shows, whichever they are, the end-entity's first; what was seen instead where there
/// is none within `patience`.
pub async fn shown(at: &ProbeTarget, patience: Duration) -> Result<Vec<Box<[u8]>>, Seen> {
    if !at.elsewhere && !own::is_own(at.connect) {
        return Err(Seen::NotAllowed);
    }
    let provider = provider();
    let all = provider.signature_verification_algorithms.supported_schemes();
    let is_connected = AtomicBool::new(false);
    match timeout(patience, shaken(at, &provider, all, &is_connected)).await {
        Ok(Ok((shown, finished))) => match (shown.leaf, finished) {
            (Some(leaf), _) => Ok([leaf.into()].into_iter().chain(shown.intermediates).collect()),
            (None, Err(error)) => Err(Seen::NoTls(Unlike::handshake(at, &error))),
            (None, Ok(())) => Err(Seen::NoTls(Unlike::other(at, format!("{} sent no certificate", at.connect)))),
        },
        Ok(Err(seen)) => Err(seen),
        Err(_) => Err(too_slow(at, is_connected, patience)),
    }
}

/// What was seen of a service that took longer than was waited for.
fn too_slow(at: &ProbeTarget, is_connected: AtomicBool, patience: Duration) -> Seen {
    if is_connected.into_inner() {
        return Seen::NoTls(Unlike::silent(at, patience));
    }
    Seen::NotListening(format!("{} does not answer within {} s", at.connect, patience.as_secs_f32()))
}

async fn handshake(at: &ProbeTarget, leaf: &Leaf, is_connected: &AtomicBool) -> Seen {
    // A service may hold certificates for several kinds of keys, and chooses by what its client can verify.
    let provider = provider();
    let all = provider.signature_verification_algorithms.supported_schemes();
    let schemes: Vec<_> = all.iter().copied().filter(|scheme| schemes::is_of(*scheme, leaf.key_algorithm())).collect();
    if !schemes.is_empty() {
        match handshake_with(at, leaf, &provider, schemes, is_connected).await {
            // It has none of that kind, or cannot verify its own chain with it.
            Seen::NoTls(_) => {}
            seen => return seen,
        }
    }
    handshake_with(at, leaf, &provider, all, is_connected).await
}

/// A handshake that can verify these signatures alone.
async fn handshake_with(
    at: &ProbeTarget,
    leaf: &Leaf,
    provider: &Arc<CryptoProvider>,
    schemes: Vec<SignatureScheme>,
    is_connected: &AtomicBool,
) -> Seen {
    let (shown, finished) = match shaken(at, provider, schemes, is_connected).await {
        Ok(shaken) => shaken,
        Err(seen) => return seen,
    };
    match (shown.leaf, finished) {
        (Some(der), _) if der != leaf.der() => {
            let serial = Leaf::parse(&der).map_or_else(|_| "that cannot be read".into(), |other| other.serial().into());
            Seen::Other(Other { serial, der: der.into(), asked: at.server_name.clone() })
        }
        // The end of a handshake is not asked for: a server that wants a client certificate ends it early.
        (Some(_), _) if shown.proved => Seen::Served,
        (_, Err(e)) => Seen::NoTls(Unlike::handshake(at, &e)),
        (_, Ok(_)) => Seen::NoTls(Unlike::other(at, format!("{} sent no certificate", at.connect))),
    }
}

/// A handshake to its end: what was shown in it, and how it ended.
async fn shaken(
    at: &ProbeTarget,
    provider: &Arc<CryptoProvider>,
    schemes: Vec<SignatureScheme>,
    is_connected: &AtomicBool,
) -> Result<(Shown, io::Result<()>), Seen> {
    let mut stream = TcpStream::connect(at.connect)
        .await
        .map_err(|error| Seen::NotListening(format!("cannot connect to {}: {}", at.connect, words::of_io(&error))))?;
    is_connected.store(true, Ordering::Relaxed);
    if let Some(version) = at.proxy_protocol {
        let written = stream.write_all(proxy::header(version)).await;
        written.map_err(|error| Seen::NoTls(Unlike::closed(at, &error)))?;
    }
    if let Some(protocol) = at.starttls {
        let turned = starttls::turn(protocol, &mut stream).await;
        turned.map_err(|error| Seen::NoTls(Unlike::not_turned(at, &error)))?;
    }
    let provider = schemes::suites_for(provider, &schemes);
    let witness = Arc::new(Witness { provider, schemes, shown: Mutex::default() });
    let config = client_config(&witness)
        .map_err(|error| Seen::NoTls(Unlike::other(at, format!("cannot prepare a handshake: {error}"))))?;
    let finished = TlsConnector::from(Arc::new(config)).connect(server_name(at), stream).await;
    let shown = std::mem::take(&mut *lock(&witness.shown));
    Ok((shown, finished.map(drop)))
}

/// The name to ask for; an address makes rustls leave the extension out.
fn server_name(at: &ProbeTarget) -> ServerName<'static> {
    let name = at.server_name.as_ref().and_then(|name| ServerName::try_from(name.to_string()).ok());
    name.unwrap_or_else(|| ServerName::IpAddress(at.connect.ip().into()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use pinion_proto::spec::StartTls;
    use rcgen::{CertificateParams, KeyPair};
    use rustls::{
        ServerConfig, SupportedProtocolVersion,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
        server::{WebPkiClientVerifier, danger::ClientCertVerifier},
        version::{TLS12, TLS13},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    struct Shown {
        leaf: Leaf,
        key: Vec<u8>,
    }

    fn certificate() -> Shown {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec!["a.example".into()]).expect("names");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        Shown { leaf: Leaf::parse(certificate.der()).expect("a leaf"), key: key.serialize_der() }
    }

    async fn listener() -> (TcpListener, ProbeTarget) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let connect = listener.local_addr().expect("an address");
        (
            listener,
            ProbeTarget {
                connect,
                unit: None,
                server_name: Some("a.example".into()),
                starttls: None,
                proxy_protocol: None,
                settle: PATIENCE,
                restart: PATIENCE,
                elsewhere: false,
            },
        )
    }

    async fn served(shown: &Shown, version: &'static SupportedProtocolVersion, wants_client: bool) -> ProbeTarget {
        let (listener, look) = listener().await;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(shown.leaf.der())).expect("an anchor");
        let clients: Arc<dyn ClientCertVerifier> = if wants_client {
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().expect("a verifier")
        } else {
            WebPkiClientVerifier::no_client_auth()
        };
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from(shown.leaf.der().to_vec())],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(shown.key.clone())),
            )
            .expect("a configuration");
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                drop(acceptor.accept(stream).await);
            }
        });
        look
    }

    #[tokio::test]
    async fn the_certificate_is_seen_whatever_else_the_server_wants() {
        let (shown, other) = (certificate(), certificate());
        for version in [&TLS12, &TLS13] {
            for wants_client in [false, true] {
                let mut at = served(&shown, version, wants_client).await;
                assert_eq!(look(&at, &shown.leaf, PATIENCE).await, Seen::Served, "{version:?} {wants_client}");
                at.server_name = None;
                let seen = look(&at, &other.leaf, PATIENCE).await;
                let Seen::Other(seen) = seen else { panic!("{seen:?}") };
                assert_eq!((seen.serial.as_str(), &*seen.der), (shown.leaf.serial(), shown.leaf.der()));
            }
        }
    }

    /// A mail server in front of a TLS service: `early` comes in one piece with the word that TLS may begin.
    async fn mail_server(behind: SocketAddr, early: &'static [u8]) -> ProbeTarget {
        let (listener, mut at) = listener().await;
        at.starttls = Some(StartTls::Smtp);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let talk = async {
                    client.write_all(b"220 mail\r\n").await?;
                    for answer in [b"250-mail\r\n250 STARTTLS\r\n".to_vec(), [b"220 go\r\n", early].concat()] {
                        while client.read_u8().await? != b'\n' {}
                        client.write_all(&answer).await?;
                    }
                    let mut server = TcpStream::connect(behind).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                };
                drop(talk.await);
            }
        });
        at
    }

    #[tokio::test]
    async fn a_connection_turns_to_tls_and_what_comes_too_early_is_not_taken_for_it() {
        let shown = certificate();
        let behind = served(&shown, &TLS13, false).await;
        let at = mail_server(behind.connect, b"").await;
        assert_eq!(look(&at, &shown.leaf, PATIENCE).await, Seen::Served);
        let at = mail_server(behind.connect, b"220 and more\r\n").await;
        assert!(matches!(look(&at, &shown.leaf, PATIENCE).await, Seen::NoTls(_)));
        // One that speaks TLS at once greets nobody.
        let silent = ProbeTarget { starttls: Some(StartTls::Imap), ..behind };
        let seen = look(&silent, &shown.leaf, Duration::from_millis(200)).await;
        assert!(matches!(&seen, Seen::NoTls(unlike) if unlike.is_silent()), "{seen:?}");
    }

    #[tokio::test]
    async fn absence_silence_and_other_protocols_are_told_apart() {
        let wanted = certificate().leaf;
        let (gone, at) = listener().await;
        drop(gone);
        assert!(matches!(look(&at, &wanted, PATIENCE).await, Seen::NotListening(_)));
        let (_silent, at) = listener().await;
        // Whoever takes connections is there, whatever else it does.
        let seen = look(&at, &wanted, Duration::from_millis(50)).await;
        assert!(matches!(&seen, Seen::NoTls(unlike) if unlike.is_silent()), "{seen:?}");
        let (plain, at) = listener().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = plain.accept().await {
                drop(stream.write_all(b"220 mail.example ESMTP\r\n").await);
            }
        });
        assert!(matches!(look(&at, &wanted, PATIENCE).await, Seen::NoTls(_)));
    }
}
