//! What the senders' tests send, and servers that answer in every way.

use std::{future::Future, net::SocketAddr, time::Duration};

use pinion_proto::clock::Timestamp;
use rcgen::{CertificateParams, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    alarm::{Alarm, Kind},
    files::Files,
    message::{Entry, Message},
};

/// A target's own limit in these tests.
pub(super) const LIMIT: Duration = Duration::from_millis(600);

pub(super) fn message() -> Message {
    let at = Timestamp::from_unix(1_800_000_000);
    let alarm = |kind, subject: &str| Alarm { kind, subject: subject.into(), text: "it is \"so\" <b> & ü".into() };
    let fired = vec![Entry::of(&alarm(Kind::Blocked, "db@102"), at), Entry::of(&alarm(Kind::Expired, "web@101"), at)];
    Message::new(at, fired, vec![], vec![], 2)
}

pub(super) fn files() -> Files {
    Files::below(std::path::Path::new("/"))
}

/// A server that does this with every connection.
pub(super) async fn server<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Writes as much as the other side takes.
pub(super) async fn flood(stream: &mut TcpStream, piece: &[u8], bytes: usize) -> usize {
    let mut written = 0;
    while written < bytes && stream.write_all(piece).await.is_ok() {
        written += piece.len();
    }
    written
}

/// Reads the beginning of a request.
pub(super) async fn begin(stream: &mut TcpStream) {
    drop(stream.read(&mut [0; 65536]).await);
}

/// A certificate for 127.0.0.1 that signs itself, as PEM, and TLS with it.
pub(super) fn self_signed() -> (String, tokio_rustls::TlsAcceptor) {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
    let certificate = certificate.self_signed(&key).expect("signed");
    let der = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(pinion_proto::tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], der)
        .expect("a pair");
    (certificate.pem(), std::sync::Arc::new(config).into())
}
