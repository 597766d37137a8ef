//! A CA that answers as it is told, counts who asks, and has any clock.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use pinion_proto::{
    bundle::{CertificateRequest, Fingerprint, RootCertificate, certificates_to_pem},
    lock::lock,
};
use rcgen::{CertificateParams, CertificateSigningRequestParams, Issuer, KeyPair};
use rustls::pki_types::{CertificateSigningRequestDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::StepCa;
use crate::port::Port;

/// How a [`HostileCa`] answers one path.
#[derive(Debug, Clone)]
pub enum Manner {
    /// Status and body.
    Answer(u16, String),
    /// Too much to do: status 429, and this as `Retry-After`.
    Busy(String),
    /// Signs what is asked for, under the root of its own, as step-ca's `/1.0/sign` does.
    Sign,
    /// In that manner, but late.
    After(Duration, Box<Manner>),
    /// Takes the request and never answers.
    Silence,
    /// A body without end.
    Endless,
    /// Something that is not HTTP.
    Garbage,
    /// Half of what was announced.
    CutOff,
}

/// A TLS server that lies: under a root of its own it answers each path as it is told.
#[derive(Debug)]
pub struct HostileCa {
    port: u16,
    root: RootCertificate,
    handler: Arc<Handler>,
    serving: tokio::task::JoinHandle<()>,
}

/// What its connections share.
struct Handler {
    issuer: Issuer<'static, KeyPair>,
    manners: Mutex<Vec<(String, VecDeque<Manner>)>>,
    calls: Mutex<Vec<String>>,
    ordered: Mutex<Vec<String>>,
    signing: AtomicUsize,
    max_signing: AtomicUsize,
    ahead: AtomicI64,
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("manners", &self.manners).field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl HostileCa {
    /// Listens on 127.0.0.1 and serves its own root; other paths are 404 until [`Self::behave`] says otherwise.
    ///
    /// # Errors
    /// It cannot listen, or its certificates cannot be made.
    pub async fn start() -> Result<Self> {
        let root_key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = params.self_signed(&root_key)?;
        let issuer = Issuer::new(params, root_key);
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let tls = rustls::ServerConfig::builder_with_provider(pinion_proto::tls::provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let root = RootCertificate::parse(root.der())?;
        let handler = Arc::new(Handler {
            issuer,
            manners: Mutex::default(),
            calls: Mutex::default(),
            ordered: Mutex::default(),
            signing: AtomicUsize::new(0),
            max_signing: AtomicUsize::new(0),
            ahead: AtomicI64::new(0),
        });
        let serving = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), handler.clone()));
        let ca = Self { port, root, handler, serving };
        let pem = certificates_to_pem([ca.root.der()]);
        ca.behave(&format!("/root/{}", ca.root.fingerprint()), Manner::Answer(200, json!({ "ca": pem }).to_string()));
        Ok(ca)
    }

    /// One that signs like a step-ca with a provisioner `admin` and the password [`super::PASSWORD`], until told
    /// otherwise.
    ///
    /// # Errors
    /// As [`Self::start`], or `step`, which makes the provisioner, is not there.
    pub async fn start_signing() -> Result<Self> {
        let mut provisioners = StepCa::init(Arc::new(Port::reserve()?))?.config()?["authority"]["provisioners"].take();
        provisioners[0]["claims"] = json!({ "maxTLSCertDuration": "720h" });
        let ca = Self::start().await?;
        ca.behave("/provisioners", Manner::provisioners(&provisioners));
        ca.behave("/1.0/sign", Manner::Sign);
        Ok(ca)
    }

    /// From now on answers paths that start like this in this manner.
    pub fn behave(&self, path: &str, manner: Manner) {
        self.behave_in_turn(path, [manner]);
    }

    /// As [`Self::behave`], one manner after the other, the last one for ever.
    pub fn behave_in_turn(&self, path: &str, manners: impl IntoIterator<Item = Manner>) {
        let mut all = lock(&self.handler.manners);
        all.retain(|(known, _)| known != path);
        all.push((path.to_owned(), manners.into_iter().collect()));
    }

    /// From now on its clock is this many seconds ahead of the machine's.
    pub fn set_ahead(&self, seconds: i64) {
        self.handler.ahead.store(seconds, Ordering::Relaxed);
    }

    /// How many requests have come, of any kind.
    #[must_use]
    pub fn calls(&self) -> usize {
        lock(&self.handler.calls).len()
    }

    /// How many requests have come for paths that start like this.
    #[must_use]
    pub fn calls_of(&self, path: &str) -> usize {
        lock(&self.handler.calls).iter().filter(|called| called.starts_with(path)).count()
    }

    /// One name of each order, as they came, signed or not.
    #[must_use]
    pub fn ordered(&self) -> Vec<String> {
        lock(&self.handler.ordered).clone()
    }

    /// How many orders were with it at once, at most.
    #[must_use]
    pub fn max_at_once(&self) -> usize {
        self.handler.max_signing.load(Ordering::Relaxed)
    }

    /// `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The root that its own certificate is under.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.root.fingerprint()
    }
}

impl Manner {
    /// A page of `/provisioners`.
    #[must_use]
    pub fn provisioners(list: &Value) -> Self {
        Self::Answer(200, json!({ "provisioners": list, "nextCursor": "" }).to_string())
    }

    /// In this manner, but late.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self::After(delay, Box::new(self))
    }
}

impl Drop for HostileCa {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, handler: Arc<Handler>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, handler) = (tls.clone(), handler.clone());
        connections.spawn(async move {
            // A caller that goes away is what these tests are about.
            handler.take(stream, tls).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Handler {
    async fn take(&self, stream: TcpStream, tls: TlsAcceptor) -> Result<()> {
        let mut stream = tls.accept(stream).await?;
        let (path, body) = read(&mut stream).await?;
        lock(&self.calls).push(path.clone());
        let mut manner = self.manner(&path);
        let order = path.starts_with("/1.0/sign");
        if order {
            lock(&self.ordered).push(ordered_name(&body).unwrap_or_default());
            self.max_signing.fetch_max(self.signing.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        if let Manner::After(delay, then) = manner {
            tokio::time::sleep(delay).await;
            manner = *then;
        }
        if order {
            // Before the answer is out: the next order comes as soon as the caller has it.
            self.signing.fetch_sub(1, Ordering::Relaxed);
        }
        if matches!(manner, Manner::Sign) {
            manner = self.sign(&body).unwrap_or_else(|error| Manner::Answer(400, format!("{error:#}")));
        }
        self.answer(stream, manner).await
    }

    fn manner(&self, path: &str) -> Manner {
        let mut manners = lock(&self.manners);
        let found =
            manners.iter_mut().filter(|(start, _)| path.starts_with(start.as_str())).max_by_key(|(s, _)| s.len());
        let manner =
            found.and_then(|(_, turns)| if turns.len() > 1 { turns.pop_front() } else { turns.front().cloned() });
        manner.unwrap_or(Manner::Answer(404, "not found".into()))
    }

    async fn answer(&self, mut stream: TlsStream<TcpStream>, manner: Manner) -> Result<()> {
        match manner {
            Manner::Answer(status, body) => {
                let date = self.date()?;
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} X\r\ndate: {date}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(body.as_bytes()).await?;
            }
            Manner::Busy(after) => {
                let head = format!(
                    "HTTP/1.1 429 X\r\ndate: {}\r\nretry-after: {after}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                    self.date()?
                );
                stream.write_all(head.as_bytes()).await?;
            }
            Manner::Silence | Manner::Sign | Manner::After(..) => std::future::pending().await,
            Manner::Endless => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b' '; 8192]).await?;
                }
            }
            Manner::Garbage => stream.write_all(b"\x16\x03\x01 SSH-2.0-x\r\n\r\n").await?,
            Manner::CutOff => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"crt\":").await?,
        }
        stream.shutdown().await?;
        Ok(())
    }

    /// The `Date` header (RFC 9110 section 5.6.7) of its clock.
    fn date(&self) -> Result<String> {
        let now = self.now();
        let text = now.format(&time::format_description::well_known::Rfc2822).context("write the date")?;
        Ok(text.replace("+0000", "GMT"))
    }

    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from(SystemTime::now()) + time::Duration::seconds(self.ahead.load(Ordering::Relaxed))
    }

    /// The answer of `/1.0/sign` to this body.
    fn sign(&self, body: &[u8]) -> Result<Manner> {
        let wanted: Value = serde_json::from_slice(body).context("read the order")?;
        let life = wanted["notAfter"].as_str().and_then(|text| text.strip_suffix('s')).context("a duration")?;
        let mut request = CertificateSigningRequestParams::from_der(&csr(&wanted)?)?;
        request.params.not_before = self.now() - time::Duration::minutes(1);
        request.params.not_after = self.now() + time::Duration::seconds(life.parse().context("a number")?);
        let leaf = request.signed_by(&self.issuer)?.pem();
        Ok(Manner::Answer(201, json!({ "crt": leaf, "ca": "", "certChain": [leaf] }).to_string()))
    }
}

fn csr(order: &Value) -> Result<CertificateSigningRequestDer<'static>> {
    let pem = order["csr"].as_str().context("an order has a request")?;
    CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(anyhow::Error::msg)
}

fn ordered_name(body: &[u8]) -> Option<String> {
    let request = CertificateRequest::parse(&csr(&serde_json::from_slice(body).ok()?).ok()?).ok()?;
    request.names?.iter().next().map(|name| name.plain())
}

async fn read(stream: &mut TlsStream<TcpStream>) -> Result<(String, Vec<u8>)> {
    let mut request = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let end = request.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            if request.len() >= end + length.unwrap_or(0) {
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                return Ok((path, request.split_off(end)));
            }
        }
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0, "the caller went away");
        request.extend_from_slice(&buffer[..read]);
    }
}
