//! A client that shakes hands with a service again and again: for how long did nobody get through?
//!
//! Invariant: an outage lasts from the last handshake before a failed one to the first after it, so that it is never told as
//! shorter than it was; where no handshake failed there was none.

use std::{
    fmt, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use pinion_proto::tls;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use serde_json::Value;

/// What comes before TLS.
#[derive(Debug, Clone, Copy)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// The line of the PROXY protocol, version 1.
    Proxy,
    /// The dialogue of this protocol, as a probe's `starttls` calls it.
    StartTls(&'static str),
}

/// A client at work.
#[derive(Debug)]
pub struct Client {
    done: Arc<AtomicBool>,
    thread: JoinHandle<Outage>,
}

/// What it met with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outage {
    handshakes: usize,
    failed: usize,
    max: Duration,
}

impl Client {
    /// Begins to shake hands with the service at `address`, asking for `name`.
    ///
    /// # Errors
    /// The name is none.
    pub fn start(address: SocketAddr, name: &str, before: Before) -> Result<Self> {
        let server = ServerName::try_from(name.to_owned()).with_context(|| format!("ask for {name}"))?;
        let config = Arc::new(config()?);
        Ok(Self::start_with(move || shake(&config, &server, address, before).is_ok()))
    }

    /// As [`Self::start`], where and how a placement's `probe` says it.
    ///
    /// # Errors
    /// It says neither, or as theirs.
    pub fn of_probe(probe: &Value, name: &str) -> Result<Self> {
        let connect = probe["connect"].as_str().context("a probe has an address")?;
        let before = match (probe["starttls"].as_str(), probe.get("proxy_protocol")) {
            (Some(protocol), _) => {
                let known = ["smtp", "imap", "pop3", "ftp", "ldap", "mysql"];
                let known = known.into_iter().find(|known| *known == protocol);
                Before::StartTls(known.with_context(|| format!("STARTTLS for {protocol}"))?)
            }
            (None, Some(_)) => Before::Proxy,
            (None, None) => Before::Nothing,
        };
        Self::start(connect.parse().context("read an address")?, name, before)
    }

    /// Begins to call this, which shakes hands and says whether that went well.
    pub fn start_with(mut shake: impl FnMut() -> bool + Send + 'static) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                let (mut outage, mut last_good, mut is_out) = (Outage::default(), Instant::now(), false);
                while !done.load(Ordering::Relaxed) {
                    let is_good = shake();
                    outage.handshakes += 1;
                    outage.failed += usize::from(!is_good);
                    is_out |= !is_good;
                    if is_out {
                        outage.max = outage.max.max(last_good.elapsed());
                    }
                    if is_good {
                        (last_good, is_out) = (Instant::now(), false);
                    }
                    thread::sleep(PAUSE);
                }
                outage
            }
        });
        Self { done, thread }
    }

    /// Ends, and leaves what it met with in `target/outages`, in a file for each case.
    ///
    /// # Errors
    /// Its thread failed, or the file cannot be written.
    pub fn end(self, case: &str, told: impl fmt::Display) -> Result<Outage> {
        self.done.store(true, Ordering::Relaxed);
        let outage = self.thread.join().map_err(|_| anyhow!("the client's thread failed"))?;
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/outages");
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let line = format!("{case} | {told} | {outage}");
        let file = directory.join(case.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"));
        fs::write(&file, format!("{line}\n")).with_context(|| format!("write {}", file.display()))?;
        Ok(outage)
    }
}

impl Outage {
    /// For how long nobody got through.
    #[must_use]
    pub fn max(self) -> Duration {
        self.max
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s ({} of {} handshakes failed)", self.max.as_secs_f64(), self.failed, self.handshakes)
    }
}

fn shake(config: &Arc<ClientConfig>, server: &ServerName<'static>, address: SocketAddr, before: Before) -> Result<()> {
    let mut connection = ClientConnection::new(Arc::clone(config), server.clone())?;
    let mut stream = TcpStream::connect_timeout(&address, STALLED)?;
    stream.set_read_timeout(Some(STALLED)).and_then(|()| stream.set_write_timeout(Some(STALLED)))?;
    match before {
        Before::Nothing => {}
        Before::Proxy => stream.write_all(PROXY)?,
        Before::StartTls("smtp") => {
            line(&mut stream, "220")?;
            stream.write_all(b"EHLO client.internal.example\r\n")?;
            while line(&mut stream, "250")?.starts_with("250-") {}
            stream.write_all(b"STARTTLS\r\n")?;
            line(&mut stream, "220")?;
        }
        Before::StartTls("imap") => {
            line(&mut stream, "* OK")?;
            stream.write_all(b"a STARTTLS\r\n")?;
            line(&mut stream, "a OK")?;
        }
        Before::StartTls("pop3") => {
            line(&mut stream, "+OK")?;
            stream.write_all(b"STLS\r\n")?;
            line(&mut stream, "+OK")?;
        }
        Before::StartTls("ftp") => {
            line(&mut stream, "220")?;
            stream.write_all(b"AUTH TLS\r\n")?;
            line(&mut stream, "234")?;
        }
        Before::StartTls("ldap") => {
            stream.write_all(LDAP)?;
            let mut head = [0; 2];
            stream.read_exact(&mut head)?;
            stream.read_exact(&mut vec![0; usize::from(head[1])])?;
        }
        Before::StartTls("mysql") => {
            let mut head = [0; 4];
            stream.read_exact(&mut head)?;
            stream.read_exact(&mut vec![0; usize::from(u16::from_le_bytes([head[0], head[1]]))])?;
            stream.write_all(&[MYSQL, &[0; 23]].concat())?;
        }
        Before::StartTls(other) => bail!("nobody has written the dialogue of {other}"),
    }
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(())
}

/// One line, which begins so.
fn line(stream: &mut TcpStream, start: &str) -> Result<String> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    let line = String::from_utf8(line)?;
    ensure!(line.starts_with(start), "{line:?} and not {start}");
    Ok(line)
}

fn config() -> Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions();
    let config = config.context("choose TLS versions")?.dangerous();
    Ok(config.with_custom_certificate_verifier(Arc::new(Any(tls::provider()))).with_no_client_auth())
}

/// Takes any certificate whose key the server has: which one it is, others judge.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// As from a proxy on the same machine.
const PROXY: &[u8] = b"PROXY TCP4 127.0.0.1 127.0.0.1 50000 443\r\n";

/// An `ExtendedRequest` for StartTLS (RFC 4511, 4.14).
const LDAP: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// The beginning of an `SSLRequest`: its length and number, that it speaks the protocol of version 4.1 and TLS, 16 MiB, UTF-8.
const MYSQL: &[u8] = &[32, 0, 0, 1, 0x00, 0x8a, 0, 0, 0, 0, 0, 1, 33];

/// Between two handshakes.
const PAUSE: Duration = Duration::from_millis(20);

/// A loopback service that is silent for so long is out.
const STALLED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_as_long_as_nobody_gets_through() {
        let (start, [away, back]) = (Instant::now(), [100, 300].map(Duration::from_millis));
        let client = Client::start_with(move || !(away..back).contains(&start.elapsed()));
        while start.elapsed() < back * 2 {
            thread::sleep(PAUSE);
        }
        let outage = client.end("the client's own test", "nothing").expect("it ends");
        assert!(outage.failed > 0 && outage.max() >= back - away && outage.max() < back, "{outage}");
        let client = Client::start_with(|| true);
        thread::sleep(PAUSE * 3);
        assert_eq!(client.end("the client's own test", "nothing").expect("it ends").max(), Duration::ZERO);
    }
}
