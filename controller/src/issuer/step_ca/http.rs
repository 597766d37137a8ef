//! Calls to the CA: HTTP/1.1 over TLS, trusting one pinned root or, for fetching that root, none.
//!
//! Invariant: every call ends within its time and reads a bounded number of bytes; no proxy, redirect or root of the
//! system's has a part in it.

use std::{error::Error, io, sync::Arc, time::Duration};

use pinion_proto::{bundle::RootCertificate, causes::chain, tls::provider};
use reqwest::{Client, Method, StatusCode, redirect, retry};
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use thiserror::Error as ThisError;

use super::skew::Skew;

/// A page of a hundred provisioners with their templates, or a chain with 500 names, twice over (bytes).
const MAX_BODY: usize = 4 * 1024 * 1024;

/// The CA as one kind of trust sees it.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    url: String,
    skew: Arc<Skew>,
}

/// Whose certificate is taken for the CA's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trust<'r> {
    /// One that ends at any of these.
    These(&'r [RootCertificate]),
    /// Anyone's: then only what can be checked by itself may be read.
    Anyone,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    /// How long the caller is to wait (RFC 9110 section 10.2.3), where the CA has too much to do.
    pub(super) retry_after: Option<Duration>,
}

impl Http {
    /// A client of the CA at `url`.
    pub(super) fn new(
        url: &str,
        trust: Trust<'_>,
        timeout: Duration,
        idle: usize,
        skew: &Arc<Skew>,
    ) -> Result<Self, CallError> {
        let verifier: Arc<dyn ServerCertVerifier> = match trust {
            Trust::These(roots) => pinned(roots)?,
            Trust::Anyone => Arc::new(AnyCertificate(provider())),
        };
        let mut tls = ClientConfig::builder_with_details(provider(), skew.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| CallError::Setup(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        // One request at a time on each of a few kept connections: cheaper for both sides than HTTP/2 streams.
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .https_only(true)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(idle)
            .tcp_nodelay(true)
            .user_agent(concat!("pinion/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| CallError::Setup(chain(&e)))?;
        Ok(Self { client, url: url.to_owned(), skew: skew.clone() })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Answer, CallError> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, json: Vec<u8>) -> Result<Answer, CallError> {
        self.call(Method::POST, path, Some(json)).await
    }

    async fn call(&self, method: Method, path: &str, json: Option<Vec<u8>>) -> Result<Answer, CallError> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(json) = json {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(json);
        }
        let mut response = request.send().await.map_err(|e| CallError::of(&e))?;
        if let Some(date) = response.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok()) {
            self.skew.observe(date);
        }
        let status = response.status();
        let retry_after = is_busy(status)
            .then(|| response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok())
            .flatten()
            .and_then(|text| self.skew.pause(text));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| CallError::of(&e))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(CallError::Endless);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body, retry_after })
    }
}

/// What a server answers that has too much to do (RFC 6585 section 4, RFC 9110 section 15.6.4).
fn is_busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Why there is no answer.
#[derive(Debug, Clone, ThisError)]
pub(super) enum CallError {
    /// The certificate that the CA shows is not accepted.
    #[error("Pinion does not accept its TLS certificate: {}", certificate_words(.0))]
    Certificate(rustls::CertificateError),
    /// Too late.
    #[error("it did not answer in time")]
    Timeout,
    /// No connection, or one that broke.
    #[error("{0}")]
    Broken(String),
    /// Too much.
    #[error("its answer is longer than {MAX_BODY} bytes")]
    Endless,
    /// Before any call.
    #[error("the TLS client cannot be set up: {0}")]
    Setup(String),
}

impl CallError {
    fn of(error: &reqwest::Error) -> Self {
        if let Some(rustls::Error::InvalidCertificate(why)) = tls_error(error) {
            return Self::Certificate(why.clone());
        }
        if error.is_timeout() {
            return Self::Timeout;
        }
        // The URL and "error sending request" say nothing that the caller does not.
        Self::Broken(error.source().map_or_else(|| error.to_string(), chain))
    }
}

/// The TLS error among an error's causes; an I/O error hides what it wraps from `source`.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => cause.source(),
        };
    }
    None
}

fn certificate_words(error: &rustls::CertificateError) -> String {
    use rustls::CertificateError as E;
    match error {
        E::UnknownIssuer | E::BadSignature => "it is not under the pinned root".into(),
        other => other.to_string(),
    }
}

fn pinned(roots: &[RootCertificate]) -> Result<Arc<WebPkiServerVerifier>, CallError> {
    let mut store = RootCertStore::empty();
    let setup = |why: String| CallError::Setup(format!("a root of the CA cannot be used: {why}"));
    for root in roots {
        store.add(CertificateDer::from(root.der())).map_err(|e| setup(e.to_string()))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider()).build().map_err(|e| setup(e.to_string()))
}

/// Takes any certificate whose key the server has; for fetching what is then checked against a fingerprint.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
