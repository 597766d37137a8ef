//! One signature: `POST /1.0/sign` with a one-time token, and another attempt where that mends what failed.
//!
//! Invariant: what comes back is checked before it is believed, and each kind of failure is mended once.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pinion_proto::{
    bundle::{CertificateError, CertificateRequest, Chain, RootCertificate},
    clock::Timestamp,
    lock::lock,
};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::{
    http::{self, CallError},
    server::StepCa,
    session::Session,
    settings::{call_failed, json, not_now, words},
    token::token,
};
use crate::issuer::{IssuerError, Signed, SigningRequest, asked::is_what_was_asked};

/// step-ca backdates by a minute, and a duration that is this much off is not worth telling.
const TOLERANCE: Duration = Duration::from_secs(120);

/// Attempts for one request: each but the first mends what the one before found, each kind of mending once.
const MAX_ATTEMPTS: usize = 4;

/// Has a request signed.
///
/// # Errors
/// Why it cannot be signed now, or not at all.
pub(super) async fn sign(ca: &StepCa, request: &SigningRequest) -> Result<Signed, IssuerError> {
    let refused = |why: String| IssuerError::Refused { message: format!("{}: {why}", ca.settings.who()) };
    let asked = CertificateRequest::parse(&request.csr).map_err(|e| refused(e.to_string()))?;
    let mut mended = Mended::default();
    for _ in 0..MAX_ATTEMPTS {
        let session = ca.session().await?;
        let failure = match attempt(ca, &session, request, &asked).await {
            Ok(signed) => return Ok(signed),
            Err(failure) => failure,
        };
        match failure {
            // The connection may have been kept since before the CA restarted; the next one is new.
            Failure::Call(CallError::Broken(_)) if !mended.connection => mended.connection = true,
            Failure::Call(CallError::Certificate(_)) if !mended.session => {
                mended.session = ca.reopen(&session).await?;
            }
            Failure::Call(error) => return Err(call_failed(&ca.settings, "sign", &error)),
            Failure::TooEarly(_) if !mended.early => {
                // Tokens have whole seconds, and the CA takes none from before its start: the next second will do.
                mended.early = true;
                tokio::time::sleep(Duration::from_millis(1100)).await;
            }
            Failure::TooEarly(words) => return Err(ca.settings.unavailable("sign", words)),
            Failure::Unauthorized(_) if !mended.session => {
                // The provisioner's key may have been replaced.
                mended.session = ca.reopen(&session).await?;
            }
            Failure::Duration(_) if !mended.duration => {
                mended.duration = true;
                ca.reopen(&session).await?;
            }
            Failure::Root(error) if !mended.session => {
                // It signs under a root that it did not have when it was asked last, or that it never says it has.
                mended.session = true;
                ca.learn_roots(&session).await.map_err(|_| error)?;
            }
            Failure::Unauthorized(words) | Failure::Duration(words) => return Err(refused(words)),
            Failure::Root(error) | Failure::Error(error) => return Err(error),
        }
    }
    Err(ca.settings.unavailable("sign", "the CA's configuration changed during each attempt"))
}

async fn attempt(
    ca: &StepCa,
    session: &Session,
    request: &SigningRequest,
    asked: &CertificateRequest,
) -> Result<Signed, Failure> {
    let duration = lock(&ca.limits).within(request.duration, ca.skew.here());
    let body = body(ca, session, request, duration).map_err(Failure::Error)?;
    let answer = session.http.post("/1.0/sign", body).await.map_err(Failure::Call)?;
    if !answer.status.is_success() {
        let words = format!("{}: {}", answer.status, words(&answer));
        return Err(match answer.status {
            StatusCode::UNAUTHORIZED if words.contains("before the bootstrap") => Failure::TooEarly(words),
            StatusCode::UNAUTHORIZED => Failure::Unauthorized(words),
            StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                if lock(&ca.limits).learn(&words, duration, ca.skew.here()) {
                    Failure::Duration(words)
                } else {
                    let message = format!("{}: {words}", ca.settings.who());
                    Failure::Error(IssuerError::Refused { message })
                }
            }
            _ => Failure::Error(not_now(&ca.settings, "sign", &answer, words)),
        });
    }
    let chain = chain(ca, &answer).map_err(Failure::Error)?;
    is_what_was_asked(&chain, asked, request).map_err(|why| {
        let template = format!("the template of provisioner `{}` on the CA", ca.settings.provisioner);
        let message = format!("{}: {why}", ca.settings.who());
        Failure::Error(IssuerError::Unfit { message, remedy: why.remedy(&template), held_until: None })
    })?;
    let root = root_of(ca, session, &chain)?;
    let given = chain.leaf().not_after().since(ca.given_from());
    let shortened = duration < request.duration || given + TOLERANCE < request.duration;
    if shortened {
        let mut max = lock(&ca.shortened);
        *max = max.max(Some(request.duration));
    }
    let shortened_to = shortened.then_some(if given + TOLERANCE < duration { given } else { duration });
    Ok(Signed { chain, root, shortened_to })
}

/// The root that a signed chain ends at.
fn root_of(ca: &StepCa, session: &Session, chain: &Chain) -> Result<RootCertificate, Failure> {
    let now = ca.skew.at_ca();
    let mut refused = None;
    for root in &session.roots {
        match chain.verify(root, now) {
            Ok(()) => return Ok(root.clone()),
            // Of the others it is said anyway that they are not the right ones.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    // What the first root says of validity is so for all of them: it is said of certificates below any root.
    if let Some(CertificateError::OutsideValidity { depth, until, .. }) = &refused
        && *depth > 0
        && *until < now
        && let Some((authority, _)) = session.roots.first().and_then(|root| chain.first_authority_to_end(root))
    {
        return Err(Failure::Error(authority_ended(ca, &authority, *until)));
    }
    let why = refused.map(|error| error.to_string()).unwrap_or_default();
    Err(Failure::Root(ca.settings.unavailable("check what was signed", why)))
}

/// The CA signs with an authority whose certificate has expired, which no client accepts.
fn authority_ended(ca: &StepCa, authority: &str, until: Timestamp) -> IssuerError {
    ca.settings.misconfigured(
        &format!("its authority {authority} expired at {until}, and no client accepts what it signs"),
        "renew that authority's certificate on the CA (the file that `crt` in ca.json names), and restart step-ca"
            .into(),
    )
}

/// The body of `POST /1.0/sign`.
fn body(ca: &StepCa, session: &Session, request: &SigningRequest, duration: Duration) -> Result<Vec<u8>, IssuerError> {
    let sha256 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &request.csr);
    let claims = Claims {
        sans: request.names.iter().map(|name| name.plain()).collect(),
        cnf: Confirmation { request: URL_SAFE_NO_PAD.encode(sha256) },
    };
    let ott = token(ca, session, "sign", &request.common_name.plain(), Some(claims))?;
    let csr = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", request.csr.as_slice()));
    // A duration counts from the beginning, which the CA sets by its own clock unless ours is behind.
    let not_before = ca.is_behind().then(|| (ca.skew.here() - Duration::from_secs(60)).to_string());
    let body = SignRequest { csr, ott, not_before, not_after: format!("{}s", duration.as_secs()) };
    serde_json::to_vec(&body).map_err(|e| ca.settings.unavailable("prepare a token", e))
}

fn chain(step_ca: &StepCa, answer: &http::Answer) -> Result<Chain, IssuerError> {
    const DOING: &str = "read what was signed";
    let SignResponse { crt, ca, cert_chain } = json(&step_ca.settings, DOING, answer)?;
    let pem = if cert_chain.is_empty() { format!("{crt}\n{ca}") } else { cert_chain.join("\n") };
    Chain::from_pem(&pem).map_err(|error| match error {
        // The request has names of the right kinds alone: others are of the CA's making.
        CertificateError::Name(_) | CertificateError::NoNames => IssuerError::Unfit {
            message: format!("{}: {error}", step_ca.settings.who()),
            remedy: format!(
                "correct the template of provisioner `{}` on the CA so that it keeps exactly the ordered names (`.SANs`)",
                step_ca.settings.provisioner
            ),
            held_until: None,
        },
        error => step_ca.settings.unavailable(DOING, error),
    })
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

/// The claims of a token that only a request to sign has.
#[derive(Serialize)]
struct Claims {
    sans: Vec<String>,
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
