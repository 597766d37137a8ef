//! Signing by a step-ca server, through one of its JWK provisioners.
//!
//! Answers: has the CA that was configured signed what was asked, and if not, who must act?
//! Invariant: what comes back is checked before it is believed: the request's key, the ordered names, a chain that
//! ends at the pinned root.
//!
//! The flow is smallstep/certificates' `POST /1.0/sign` with a one-time token (`api/sign.go`,
//! `authority/provisioner/jwk.go`).

mod durations;
mod http;
mod jwe;
mod jwk;
mod provisioner;
mod revoke;
mod roots;
mod session;
mod skew;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pinion_proto::{
    bundle::{CertificateRequest, Chain, RootCertificate},
    clock::{Clock, Timestamp},
    lock::lock,
    spec::PlainName,
};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use self::{
    http::CallError,
    roots::Memory,
    session::{Session, Settings, call_failed, json, words},
    skew::Skew,
};
use super::{
    BoxFuture, Issuer, IssuerCheck, IssuerError, IssuerRoots, Revocation, Serial, Signed, SigningRequest, StepCaConfig,
    check::leaf_is_what_was_asked,
};
use crate::store::Store;

/// A token is used at once; five minutes forgive slow networks, as step's own do.
const TOKEN_LIFE: Duration = Duration::from_secs(300);

/// step-ca backdates by a minute, and a duration that is this much off is not worth telling.
const TOLERANCE: Duration = Duration::from_secs(120);

/// The manifest's default, for the warning before anything was ordered.
const USUAL: Duration = Duration::from_secs(30 * 24 * 3600);

/// A host whose clock is behind gets certificates that are valid by its own clock, within this.
const MOST_BACKDATE: i64 = 3600;

/// From this difference on, a certificate that is backdated by a minute may not be valid yet here (seconds).
const BEHIND: i64 = 30;

/// Attempts for one request: each but the first mends what the one before found, each kind of mending once.
const MOST_ATTEMPTS: usize = 4;

/// A step-ca server.
#[derive(Debug)]
pub struct StepCa {
    settings: Settings,
    skew: Arc<Skew>,
    memory: Memory,
    /// Held while a session is opened, so that many callers open one.
    session: tokio::sync::Mutex<Option<Arc<Session>>>,
    /// The longest duration that was asked for and shortened.
    shortened: Mutex<Option<Duration>>,
}

impl StepCa {
    /// A step-ca as configured; a relative password file is under `root`. Nothing is read or dialled yet.
    #[must_use]
    pub fn new(name: PlainName, config: &StepCaConfig, store: Arc<Store>, clock: Arc<dyn Clock>, root: &Path) -> Self {
        let settings = Settings::new(name, config, root);
        Self {
            memory: Memory::new(store, &settings),
            settings,
            skew: Skew::new(clock),
            session: tokio::sync::Mutex::new(None),
            shortened: Mutex::new(None),
        }
    }

    async fn session(&self) -> Result<Arc<Session>, IssuerError> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| !session.is_stale(self.skew.here())) {
            return Ok(session.clone());
        }
        let session = Arc::new(Session::open(&self.settings, &self.memory, &self.skew, held.as_deref()).await?);
        *held = Some(session.clone());
        Ok(session)
    }

    /// Forgets a session that failed, unless someone has opened another since; its limits and key are carried over
    /// where they still hold.
    async fn reopen(&self, failed: &Arc<Session>) -> Result<(), IssuerError> {
        let mut held = self.session.lock().await;
        if held.as_ref().is_some_and(|session| !Arc::ptr_eq(session, failed)) {
            return Ok(());
        }
        *held = None;
        *held = Some(Arc::new(Session::open(&self.settings, &self.memory, &self.skew, Some(failed)).await?));
        Ok(())
    }

    async fn sign_request(&self, request: &SigningRequest) -> Result<Signed, IssuerError> {
        let refused = |why: String| IssuerError::Refused { message: format!("{}: {why}", self.settings.who()) };
        let asked = CertificateRequest::parse(&request.csr).map_err(|e| refused(e.to_string()))?;
        let mut mended = Mended::default();
        for _ in 0..MOST_ATTEMPTS {
            let session = self.session().await?;
            let failure = match self.attempt(&session, request, &asked).await {
                Ok(signed) => return Ok(signed),
                Err(failure) => failure,
            };
            match failure {
                // The connection may have been kept since before the CA restarted; the next one is new.
                Failure::Call(CallError::Broken(_)) if !mended.connection => mended.connection = true,
                Failure::Call(CallError::Certificate(_)) if !mended.session => {
                    mended.session = true;
                    self.reopen(&session).await?;
                }
                Failure::Call(error) => return Err(call_failed(&self.settings, "sign", &error)),
                Failure::TooEarly(_) if !mended.early => {
                    // Tokens have whole seconds, and the CA takes none from before its start: the next second will do.
                    mended.early = true;
                    tokio::time::sleep(Duration::from_millis(1100)).await;
                }
                Failure::TooEarly(words) => return Err(self.settings.unavailable("sign", words)),
                Failure::Unauthorized(_) if !mended.session => {
                    // The provisioner's key may have been replaced.
                    mended.session = true;
                    self.reopen(&session).await?;
                }
                Failure::Duration(_) if !mended.duration => {
                    mended.duration = true;
                    self.reopen(&session).await?;
                }
                Failure::Root(error) if !mended.session => {
                    // It signs under a root that it did not have when it was asked last, or that it never says it has.
                    mended.session = true;
                    self.learn_roots(&session).await.map_err(|_| error)?;
                }
                Failure::Unauthorized(words) | Failure::Duration(words) => return Err(refused(words)),
                Failure::Root(error) | Failure::Error(error) => return Err(error),
            }
        }
        Err(self.settings.unavailable("sign", "the CA changed with every attempt"))
    }

    async fn attempt(
        &self,
        session: &Session,
        request: &SigningRequest,
        asked: &CertificateRequest,
    ) -> Result<Signed, Failure> {
        let duration = session.limits().within(request.duration, self.skew.here());
        let body = self.body(session, request, duration).map_err(Failure::Error)?;
        let answer = session.http.post("/1.0/sign", body).await.map_err(Failure::Call)?;
        if !answer.status.is_success() {
            let words = format!("{}: {}", answer.status, words(&answer));
            return Err(match answer.status {
                StatusCode::UNAUTHORIZED if words.contains("before the bootstrap") => Failure::TooEarly(words),
                StatusCode::UNAUTHORIZED => Failure::Unauthorized(words),
                StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                    if session.limits().learn(&words, duration, self.skew.here()) {
                        Failure::Duration(words)
                    } else {
                        let message = format!("{}: {words}", self.settings.who());
                        Failure::Error(IssuerError::Refused { message })
                    }
                }
                _ => Failure::Error(self.settings.unavailable("sign", words)),
            });
        }
        let chain = self.chain(&answer).map_err(Failure::Error)?;
        leaf_is_what_was_asked(chain.leaf(), asked, &request.names).map_err(|why| {
            let message = format!("{}: {why}: a template of the provisioner's may change names", self.settings.who());
            Failure::Error(IssuerError::Refused { message })
        })?;
        let root = self.root_of(session, &chain)?;
        let given = chain.leaf().not_after().since(self.given_from());
        let shortened = duration < request.duration || given + TOLERANCE < request.duration;
        if shortened {
            let mut longest = lock(&self.shortened);
            *longest = longest.max(Some(request.duration));
        }
        let shortened_to = shortened.then_some(if given + TOLERANCE < duration { given } else { duration });
        Ok(Signed { chain, root, shortened_to })
    }

    /// The root that a signed chain ends at.
    fn root_of(&self, session: &Session, chain: &Chain) -> Result<RootCertificate, Failure> {
        let mut refused = None;
        for root in &session.roots {
            match chain.verify(root, self.skew.at_ca()) {
                Ok(()) => return Ok(root.clone()),
                // Of the others it is said anyway that they are not the right ones.
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        let why = refused.map(|error| error.to_string()).unwrap_or_default();
        Err(Failure::Root(self.settings.unavailable("check what was signed", why)))
    }

    /// Asks the CA for its roots, and trusts them from now on.
    async fn learn_roots(&self, session: &Arc<Session>) -> Result<(), IssuerError> {
        let (current, signing) = roots::ask(&self.settings, &session.http).await?;
        let before = self.memory.successors();
        let learned = self.memory.learn(current, signing, self.skew.here());
        learned.map_err(|why| self.settings.unavailable("write down its roots", why))?;
        if self.memory.successors() != before {
            self.reopen(session).await?;
        }
        Ok(())
    }

    async fn roots_now(&self) -> Result<IssuerRoots, IssuerError> {
        let learned = match self.session().await {
            Ok(session) => match self.learn_roots(&session).await {
                Err(error) => {
                    // The CA may have begun to show a certificate that ends at another of its roots.
                    self.reopen(&session).await?;
                    let session = self.session().await?;
                    self.learn_roots(&session).await.map_err(|_| error)
                }
                learned => learned,
            },
            Err(error) => Err(error),
        };
        match (learned, self.memory.told()) {
            (Ok(()), Some(roots)) => Ok(roots),
            (Err(error), Some(roots)) => {
                tracing::debug!(issuer = %self.settings.name, %error, "Cannot ask for the roots; those said last stand");
                Ok(roots)
            }
            (Err(error), None) => Err(error),
            (Ok(()), None) => Err(self.settings.unavailable("ask for its roots", "it has none")),
        }
    }

    /// The body of `POST /1.0/sign`.
    fn body(&self, session: &Session, request: &SigningRequest, duration: Duration) -> Result<Vec<u8>, IssuerError> {
        let impossible = |why: &str| self.settings.unavailable("prepare a token", why);
        let now = self.skew.at_ca();
        let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &request.csr);
        let claims = Claims {
            iss: &self.settings.provisioner,
            aud: format!("{}/1.0/sign", self.settings.url),
            sub: request.common_name.plain(),
            sans: request.names.iter().map(|name| name.plain()).collect(),
            sha: self.settings.fingerprint.to_string(),
            jti: token_id().ok_or_else(|| impossible("the system gives no random numbers"))?,
            iat: now.unix(),
            nbf: now.unix(),
            exp: (now + TOKEN_LIFE).unix(),
            cnf: Confirmation { request: URL_SAFE_NO_PAD.encode(sha256) },
        };
        let token = session.key.key.sign(&session.key.id, &claims).map_err(|e| impossible(&e.to_string()))?;
        let csr = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", request.csr.as_slice()));
        // A duration counts from the beginning, which the CA sets by its own clock unless ours is behind.
        let not_before = self.is_behind().then(|| (self.skew.here() - Duration::from_secs(60)).to_string());
        let body = SignRequest { csr, ott: token, not_before, not_after: format!("{}s", duration.as_secs()) };
        serde_json::to_vec(&body).map_err(|e| impossible(&e.to_string()))
    }

    fn chain(&self, answer: &http::Answer) -> Result<Chain, IssuerError> {
        const DOING: &str = "read what was signed";
        let SignResponse { crt, ca, cert_chain } = json(&self.settings, DOING, answer)?;
        let pem = if cert_chain.is_empty() { format!("{crt}\n{ca}") } else { cert_chain.join("\n") };
        Chain::from_pem(&pem).map_err(|e| self.settings.unavailable(DOING, e))
    }

    /// Whether this host's clock is so far behind the CA's that its certificates would not be valid here yet.
    fn is_behind(&self) -> bool {
        (BEHIND..=MOST_BACKDATE).contains(&self.skew.significant())
    }

    /// The moment that an ordered duration counts from.
    fn given_from(&self) -> Timestamp {
        if self.is_behind() { self.skew.here() } else { self.skew.at_ca() }
    }

    async fn check_now(&self) -> Result<IssuerCheck, IssuerError> {
        // All is proven anew, the password too: what an earlier session kept is no answer to someone who asks.
        let before = self.session.lock().await.clone();
        let session = Session::open(&self.settings, &self.memory, &self.skew, None).await?;
        if let Some(before) = before {
            let claims = session.limits().claims();
            let kept = before.limits().refreshed(claims);
            *session.limits() = kept;
        }
        let (durations, known) = session.limits().shown(self.skew.here());
        let shortened = *lock(&self.shortened);
        let root = session.roots.first().map_or(self.settings.fingerprint, RootCertificate::fingerprint);
        *self.session.lock().await = Some(Arc::new(session));
        let mut warnings = Vec::new();
        let asked = shortened.unwrap_or(USUAL);
        if known && asked > durations.max {
            let words = |duration: Duration| humantime::format_duration(duration).to_string();
            warnings.push(format!(
                "certificates ordered for {} are shortened to {}; to lift this, on the CA: \
                 step ca provisioner update {} --x509-max-dur={}h, and make step-ca read it (restart or SIGHUP)",
                words(asked),
                words(durations.max),
                self.settings.provisioner,
                asked.as_secs().div_ceil(3600)
            ));
        }
        if !known {
            warnings.push(
                "the provisioner does not say how long certificates may be valid: step-ca's own durations are shown, and \
                 the first order finds out whether the authority allows more"
                    .into(),
            );
        }
        if let Some(told) = self.memory.told()
            && !told.is_current(self.settings.fingerprint)
        {
            warnings.push(format!(
                "the CA has given up the root that is configured: set `fingerprint` of [issuers.{}] in controller.toml to \
                 {}, which it signs under and said so while it had both",
                self.settings.name, told.signing
            ));
        }
        let ahead = self.skew.ahead();
        if self.skew.significant().abs() >= BEHIND {
            let by = humantime::format_duration(Duration::from_secs(self.skew.significant().unsigned_abs()));
            let way = if self.skew.significant() > 0 { "ahead of" } else { "behind" };
            warnings.push(format!("the CA's clock is {by} {way} this host's: see to NTP on both"));
        }
        Ok(IssuerCheck {
            name: self.settings.name.clone(),
            kind: "step-ca".into(),
            address: Some(self.settings.url.clone()),
            root,
            provisioner: Some(self.settings.provisioner.clone()),
            durations,
            clock_difference: ahead,
            shortened,
            revokes_replaced: self.settings.revoke_replaced,
            warnings,
        })
    }
}

impl Issuer for StepCa {
    fn sign<'a>(&'a self, request: &'a SigningRequest) -> BoxFuture<'a, Result<Signed, IssuerError>> {
        Box::pin(self.sign_request(request))
    }

    fn check(&self) -> BoxFuture<'_, Result<IssuerCheck, IssuerError>> {
        Box::pin(self.check_now())
    }

    fn roots(&self) -> BoxFuture<'_, Result<IssuerRoots, IssuerError>> {
        Box::pin(self.roots_now())
    }

    fn roots_every(&self) -> Option<Duration> {
        Some(self.settings.roots_every)
    }

    fn revokes_replaced(&self) -> bool {
        self.settings.revoke_replaced
    }

    fn can_revoke(&self) -> bool {
        true
    }

    fn revoke<'a>(&'a self, serial: &'a Serial, why: Revocation) -> BoxFuture<'a, Result<(), IssuerError>> {
        Box::pin(self.revoke_serial(serial, why))
    }
}

/// A number that no other token has; none when the system has no random numbers.
fn token_id() -> Option<String> {
    let mut id = [0u8; 32];
    aws_lc_rs::rand::fill(&mut id).ok()?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What has been done already about one request's failures.
#[derive(Default)]
struct Mended {
    connection: bool,
    session: bool,
    duration: bool,
    early: bool,
}

/// Why one attempt failed, as far as another can help.
enum Failure {
    Call(CallError),
    /// The token is from before the CA's start.
    TooEarly(String),
    /// The token is not taken.
    Unauthorized(String),
    /// The duration is not allowed; which is has been learned.
    Duration(String),
    /// What was signed ends at no root that is known.
    Root(IssuerError),
    Error(IssuerError),
}

/// The claims of a one-time token (smallstep/certificates `authority/provisioner/jwk.go`).
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: String,
    sub: String,
    sans: Vec<String>,
    sha: String,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    cnf: Confirmation,
}

/// Binds the token to one request: whoever sees it can have nothing else signed.
#[derive(Serialize)]
struct Confirmation {
    #[serde(rename = "x5rt#S256")]
    request: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignRequest {
    csr: String,
    ott: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    not_after: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignResponse {
    #[serde(default)]
    crt: String,
    #[serde(default)]
    ca: String,
    #[serde(default)]
    cert_chain: Vec<String>,
}
