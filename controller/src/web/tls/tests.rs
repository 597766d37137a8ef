//! What browsers are presented with while the files change.

use std::{fs, net::SocketAddr};

use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;

/// Writes a pair for a name; its certificate.
fn write(files: &PairFiles, name: &str) -> CertificateDer<'static> {
    let Generated { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).expect("a pair");
    fs::write(&files.certificate, cert.pem()).expect("written");
    fs::write(&files.key, signing_key.serialize_pem()).expect("written");
    cert.der().clone()
}

fn files() -> (TempDir, PairFiles) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let files = PairFiles { certificate: path("fullchain.pem"), key: path("key.pem") };
    (directory, files)
}

/// Whether a client that trusts this certificate alone is content.
async fn accepts(tls: &WebTls, trusted: &CertificateDer<'static>, name: &'static str) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a root");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client = async {
        let stream = TcpStream::connect(address).await.expect("connected");
        let name = ServerName::try_from(name).expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_ok()
    };
    let server = async {
        let (stream, _) = listener.accept().await.expect("a caller");
        tls.accept(stream).await.is_ok()
    };
    let (client, server) = tokio::join!(client, server);
    client && server
}

/// Looks at the files now, instead of after some seconds.
fn look(pair: &Presented) {
    pair.look(&mut lock(&pair.now));
}

#[tokio::test]
async fn a_renewed_pair_is_presented_and_a_broken_one_is_not() {
    let (_directory, files) = files();
    let pair = Arc::new(Presented::new(files.clone()));
    let tls = WebTls::of(pair.clone());
    let early = write(&files, "early.example");
    assert!(accepts(&tls, &early, "early.example").await, "the pair came after the start");
    let late = write(&files, "late.example");
    look(&pair);
    assert!(accepts(&tls, &late, "late.example").await && !accepts(&tls, &early, "early.example").await);
    for broken in ["", "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"] {
        fs::write(&files.key, broken).expect("written");
        look(&pair);
        assert!(accepts(&tls, &late, "late.example").await, "the good pair stays");
    }
    let (_other, others) = self::files();
    write(&others, "late.example");
    fs::copy(&others.key, &files.key).expect("copied");
    look(&pair);
    assert!(accepts(&tls, &late, "late.example").await, "the key of another certificate");
    let error = read(&files).expect_err("they do not belong together");
    assert!(matches!(error, PairError::Pair { .. }), "{error}");
    fs::remove_file(&files.key).expect("removed");
    look(&pair);
    assert!(accepts(&tls, &late, "late.example").await, "a file that is gone");
}

#[tokio::test]
async fn without_a_pair_there_is_no_handshake() {
    let (_directory, files) = files();
    let (_other, others) = self::files();
    let tls = WebTls::new(files);
    assert!(!accepts(&tls, &write(&others, "a.example"), "a.example").await);
}
