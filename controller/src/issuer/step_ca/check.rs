//! What a step-ca says of itself, proven anew: for `pinion issuer check`.

use std::time::Duration;

use pinion_proto::{bundle::RootCertificate, length::Length, lock::lock};

use super::{
    authorities,
    durations::Limits,
    server::{BEHIND, StepCa},
    session::Session,
    settings::Settings,
    skew::Skew,
};
use crate::issuer::{IssuerCheck, IssuerError, IssuerRoots};

/// The manifest's default, for the warning before anything was ordered.
const USUAL: Duration = Duration::from_secs(30 * 24 * 3600);

/// Looks whether the CA could sign, without signing.
///
/// # Errors
/// What keeps it from signing.
pub(super) async fn check(ca: &StepCa) -> Result<IssuerCheck, IssuerError> {
    // All is proven anew, the password too: what an earlier session kept is no answer to someone who asks.
    let session = Session::open(&ca.settings, ca.memory.successors(), &ca.skew, None).await?;
    let session = ca.use_from_now_on(&mut *ca.session.lock().await, session);
    let (limits, shortened) = (*lock(&ca.limits), *lock(&ca.shortened));
    Ok(describe(&ca.settings, &ca.skew, &session, limits, shortened, ca.memory.last_said()).await)
}

/// What a session has found out about a CA. `limits` are its durations, `shortened` is the longest duration that was asked
/// for and shortened, `said` what the CA said of its roots.
pub(super) async fn describe(
    settings: &Settings,
    skew: &Skew,
    session: &Session,
    limits: Limits,
    shortened: Option<Duration>,
    said: Option<IssuerRoots>,
) -> IssuerCheck {
    let (durations, known) = limits.shown(skew.here());
    let root = session.roots.first().map_or(settings.fingerprint, RootCertificate::fingerprint);
    let authority = authorities::first_to_end(session).await;
    let mut warnings = Vec::new();
    let asked = shortened.unwrap_or(USUAL);
    let given = if known { asked.min(durations.max) } else { asked };
    warnings.extend(authority.as_ref().and_then(|end| end.warning(settings, given, skew.here())));
    if known && asked > durations.max {
        warnings.push(format!(
            "certificates ordered for {} are shortened to {}; to allow more, run on the CA: step ca provisioner \
             update {} --x509-max-dur={}h, and restart step-ca or send it SIGHUP",
            Length(asked),
            Length(durations.max),
            settings.provisioner,
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
    if let Some(said) = said
        && !said.is_current(settings.fingerprint)
    {
        warnings.push(format!(
            "the CA no longer uses the configured root: set `fingerprint` of [issuers.{}] in controller.toml to {}, \
             the root under which it signs, which it announced while it had both",
            settings.name, said.signing
        ));
    }
    let ahead = skew.ahead();
    if skew.significant().abs() >= BEHIND {
        let by = Length(Duration::from_secs(skew.significant().unsigned_abs()));
        let way = if skew.significant() > 0 { "ahead of" } else { "behind" };
        warnings.push(format!("the CA's clock is {by} {way} this host's: run a time service (NTP) on both"));
    }
    IssuerCheck {
        name: settings.name.clone(),
        kind: "step-ca".into(),
        address: Some(settings.url.clone()),
        root: Some(root),
        provisioner: Some(settings.provisioner.clone()),
        durations,
        authority_ends: authority.map(|end| end.at),
        clock_difference: ahead,
        shortened,
        revokes_replaced: settings.revoke_replaced,
        warnings,
    }
}
