//! The one-time token of the provisioner that each call to step-ca needs (smallstep/certificates
//! `authority/provisioner/jwk.go`).
//!
//! Invariant: a token names one endpoint and one subject, lives for minutes, and no other token has its number.

use std::time::Duration;

use serde::Serialize;

use super::{server::StepCa, session::Session};
use crate::issuer::IssuerError;

/// A token is used at once; five minutes forgive slow networks, as step's own do.
const TOKEN_LIFE: Duration = Duration::from_secs(300);

/// What a token says, beside what only a token that signs says.
#[derive(Serialize)]
struct Claims<'a, S> {
    iss: &'a str,
    aud: String,
    sub: &'a str,
    sha: String,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(flatten)]
    signs: Option<S>,
}

/// A token for `POST /1.0/{endpoint}` about `subject`; `signs` are the claims of a request to sign.
///
/// # Errors
/// The system gives no random numbers, or the provisioner's key cannot sign.
pub(super) fn token<S: Serialize>(
    ca: &StepCa,
    session: &Session,
    endpoint: &str,
    subject: &str,
    signs: Option<S>,
) -> Result<String, IssuerError> {
    let impossible = |why: &str| ca.settings.unavailable("prepare a token", why);
    let now = ca.skew.at_ca();
    let claims = Claims {
        iss: &ca.settings.provisioner,
        aud: format!("{}/1.0/{endpoint}", ca.settings.origin),
        sub: subject,
        sha: ca.settings.fingerprint.to_string(),
        jti: token_id().ok_or_else(|| impossible("the system gives no random numbers"))?,
        iat: now.unix(),
        nbf: now.unix(),
        exp: (now + TOKEN_LIFE).unix(),
        signs,
    };
    session.key.key.sign(&session.key.id, &claims).map_err(|e| impossible(&e.to_string()))
}

/// A number that no other token has; none when the system has no random numbers.
fn token_id() -> Option<String> {
    let mut id = [0u8; 32];
    aws_lc_rs::rand::fill(&mut id).ok()?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}
