//! A CA that is about to be configured: which root does it show, and could it sign with these settings?
//!
//! Invariant: nothing is remembered. The roots that anybody shows are believed by nobody but a person who has compared them.

use std::{path::Path, sync::Arc};

use pinion_proto::{bundle::RootCertificate, clock::Clock, spec::PlainName};

use super::{
    CaUrl, StepCaConfig,
    check::describe,
    config::TIMEOUT,
    durations::Limits,
    http::{CallError, Http, Trust},
    password::Password,
    roots,
    session::Session,
    settings::Settings,
    skew::Skew,
};
use crate::issuer::{IssuerCheck, IssuerError};

/// The roots that the server at this address sends. Nothing proves yet that they are the CA's.
///
/// # Errors
/// Nobody answers there, or it is no step-ca.
pub async fn shown_roots(url: &CaUrl, clock: Arc<dyn Clock>) -> Result<Vec<RootCertificate>, IssuerError> {
    let fail = |error: &CallError| IssuerError::Unavailable {
        message: format!("step-ca at {}: ask for its root: {error}", url.as_str()),
    };
    let anyone = Http::new(url.as_str(), Trust::Anyone, TIMEOUT, 0, &Skew::new(clock)).map_err(|error| fail(&error))?;
    let answer = anyone.get("/roots").await.map_err(|error| fail(&error))?;
    let roots = roots::listed(&answer);
    if roots.is_empty() {
        let message = format!(
            "what answers at {} shows no root certificate (status {}): it is no step-ca, or its path is missing in the \
             URL",
            url.as_str(),
            answer.status
        );
        return Err(IssuerError::misconfigured(message, "correct the URL: https://HOST:PORT of the CA"));
    }
    Ok(roots)
}

/// Looks whether a CA could sign with these settings, without signing. `password` is used instead of the file that the
/// settings name.
///
/// # Errors
/// What keeps it from signing.
pub(in crate::issuer) async fn check(
    name: &PlainName,
    config: &StepCaConfig,
    password: Option<Password>,
    clock: Arc<dyn Clock>,
    root: &Path,
) -> Result<IssuerCheck, IssuerError> {
    let settings = Settings { password, ..Settings::new(name.clone(), config, root) };
    let skew = Skew::new(clock);
    let session = Session::open(&settings, Vec::new(), &skew, None).await?;
    Ok(describe(&settings, &skew, &session, Limits::of(session.claims), None, None).await)
}
