//! Revocation at step-ca: `POST /1.0/revoke` with a one-time token of the provisioner (smallstep/certificates
//! `api/revoke.go`, `authority/tls.go`).
//!
//! Answers: is this serial number revoked there now?
//! Invariant: a token names one serial number and is good for nothing else. A certificate that is revoked already is
//! revoked: asking twice does no harm. What the CA answers about a revocation never says that it could not sign.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Serialize;

use super::{
    http::CallError,
    server::StepCa,
    session::Session,
    settings::{call_failed, not_now, words},
    token::token,
};
use crate::issuer::{IssuerError, Revocation, Serial};

/// RFC 5280 section 5.3.1, and the words that step-ca keeps.
fn reason(why: Revocation) -> (u8, &'static str) {
    match why {
        Revocation::KeyCompromise => (1, "someone else may have its key"),
        Revocation::Superseded => (4, "replaced by a newer certificate"),
    }
}

/// Attempts for one revocation: each but the first mends what the one before found.
const MAX_ATTEMPTS: usize = 4;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RevokeRequest<'a> {
    serial: &'a str,
    ott: String,
    reason_code: u8,
    reason: &'a str,
    /// The only kind that step-ca has: the certificate is not renewed any more, and stands in the CRL where there is one.
    passive: bool,
}

/// Why one attempt failed, as far as another can help.
enum Failure {
    Call(CallError),
    TooEarly(String),
    Unauthorized(String),
    Error(IssuerError),
}

/// Revokes a certificate; well too when it is revoked already.
///
/// # Errors
/// Why it cannot be revoked now, or not at all.
pub(super) async fn revoke(ca: &StepCa, serial: &Serial, why: Revocation) -> Result<(), IssuerError> {
    const DOING: &str = "revoke";
    let decimal = serial.decimal();
    let (mut connection, mut early, mut reopened) = (false, false, false);
    for _ in 0..MAX_ATTEMPTS {
        let session = ca.session().await?;
        match try_revoke(ca, &session, &decimal, why).await {
            Ok(()) => return Ok(()),
            Err(Failure::Call(CallError::Broken(_))) if !connection => connection = true,
            Err(Failure::Call(CallError::Certificate(_)) | Failure::Unauthorized(_)) if !reopened => {
                reopened = ca.reopen(&session).await?;
            }
            Err(Failure::TooEarly(_)) if !early => {
                // Tokens have whole seconds, and the CA takes none from before its start.
                early = true;
                tokio::time::sleep(Duration::from_millis(1100)).await;
            }
            Err(Failure::Call(error)) => return Err(call_failed(&ca.settings, DOING, &error)),
            Err(Failure::TooEarly(words) | Failure::Unauthorized(words)) => return Err(refused(ca, &words)),
            Err(Failure::Error(error)) => return Err(error),
        }
    }
    Err(ca.settings.unavailable(DOING, "the CA's configuration changed during each attempt"))
}

async fn try_revoke(ca: &StepCa, session: &Session, serial: &str, why: Revocation) -> Result<(), Failure> {
    let body = revoke_body(ca, session, serial, why).map_err(Failure::Error)?;
    let answer = session.http.post("/1.0/revoke", body).await.map_err(Failure::Call)?;
    if answer.status.is_success() {
        return Ok(());
    }
    let words = format!("{}: {}", answer.status, words(&answer));
    if words.contains("already revoked") {
        return Ok(());
    }
    Err(match answer.status {
        StatusCode::UNAUTHORIZED if words.contains("before the bootstrap") => Failure::TooEarly(words),
        StatusCode::UNAUTHORIZED => Failure::Unauthorized(words),
        _ if answer.retry_after.is_some() => Failure::Error(not_now(&ca.settings, "revoke", &answer, words)),
        _ => Failure::Error(refused(ca, &words)),
    })
}

fn revoke_body(ca: &StepCa, session: &Session, serial: &str, why: Revocation) -> Result<Vec<u8>, IssuerError> {
    // The subject is the serial number, in the decimal form that step-ca compares with.
    let ott = token(ca, session, "revoke", serial, None::<()>)?;
    let (reason_code, reason) = reason(why);
    let body = RevokeRequest { serial, ott, reason_code, reason, passive: true };
    serde_json::to_vec(&body).map_err(|e| ca.settings.unavailable("prepare a token", e))
}

/// Every answer that is no consent, a server's error too: about its signatures it says nothing.
fn refused(ca: &StepCa, words: &str) -> IssuerError {
    IssuerError::Refused { message: format!("{}: revoke: {words}", ca.settings.who()) }
}
