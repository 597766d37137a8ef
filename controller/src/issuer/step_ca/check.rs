//! What a step-ca says of itself, proven anew: for `pinion issuer check`.

use std::{sync::Arc, time::Duration};

use pinion_proto::{bundle::RootCertificate, length::Length, lock::lock};

use super::{
    authorities,
    server::{BEHIND, StepCa},
    session::Session,
};
use crate::issuer::{IssuerCheck, IssuerError};

/// The manifest's default, for the warning before anything was ordered.
const USUAL: Duration = Duration::from_secs(30 * 24 * 3600);

/// Looks whether the CA could sign, without signing.
///
/// # Errors
/// What keeps it from signing.
pub(super) async fn check(ca: &StepCa) -> Result<IssuerCheck, IssuerError> {
    // All is proven anew, the password too: what an earlier session kept is no answer to someone who asks.
    let before = ca.session.lock().await.clone();
    let session = Session::open(&ca.settings, &ca.memory, &ca.skew, None).await?;
    if let Some(before) = before {
        let claims = session.limits().claims();
        let kept = before.limits().refreshed(claims);
        *session.limits() = kept;
    }
    let (durations, known) = session.limits().shown(ca.skew.here());
    let shortened = *lock(&ca.shortened);
    let root = session.roots.first().map_or(ca.settings.fingerprint, RootCertificate::fingerprint);
    let authority = authorities::first_to_end(&session).await;
    *ca.session.lock().await = Some(Arc::new(session));
    let mut warnings = Vec::new();
    let asked = shortened.unwrap_or(USUAL);
    let given = if known { asked.min(durations.max) } else { asked };
    warnings.extend(authority.as_ref().and_then(|end| end.warning(&ca.settings, given, ca.skew.here())));
    if known && asked > durations.max {
        warnings.push(format!(
            "certificates ordered for {} are shortened to {}; to allow more, run on the CA: step ca provisioner \
             update {} --x509-max-dur={}h, and restart step-ca or send it SIGHUP",
            Length(asked),
            Length(durations.max),
            ca.settings.provisioner,
            asked.as_secs().div_ceil(3600)
        ));
    }
    if !known {
        warnings.push(
            "the provisioner does not say how long certificates may be valid: these are step-ca's default durations, \
             and the first order shows whether the CA allows more"
                .into(),
        );
    }
    if let Some(said) = ca.memory.last_said()
        && !said.is_current(ca.settings.fingerprint)
    {
        warnings.push(format!(
            "the CA no longer uses the configured root: set `fingerprint` of [issuers.{}] in controller.toml to {}, \
             the root under which it signs, which it announced while it had both",
            ca.settings.name, said.signing
        ));
    }
    let ahead = ca.skew.ahead();
    if ca.skew.significant().abs() >= BEHIND {
        let by = Length(Duration::from_secs(ca.skew.significant().unsigned_abs()));
        let way = if ca.skew.significant() > 0 { "ahead of" } else { "behind" };
        warnings.push(format!("the CA's clock is {by} {way} this host's: run a time service (NTP) on both"));
    }
    Ok(IssuerCheck {
        name: ca.settings.name.clone(),
        kind: "step-ca".into(),
        address: Some(ca.settings.url.clone()),
        root: Some(root),
        provisioner: Some(ca.settings.provisioner.clone()),
        durations,
        authority_ends: authority.map(|end| end.at),
        clock_difference: ahead,
        shortened,
        revokes_replaced: ca.settings.revoke_replaced,
        warnings,
    })
}
