//! When the authorities that a CA signs with end.
//!
//! Answers: which certificate above those that it signs ends first, and is there still time?
//! Invariant: only a check asks. What the CA says here is for people; what it signs is judged by its own chain.

use std::time::Duration;

use pinion_proto::{
    bundle::{MAX_CHAIN, RootCertificate, authority_from_pem},
    clock::Timestamp,
};
use serde::Deserialize;

use super::{session::Session, settings::Settings};

/// From here on there is time for a person who plans such a thing a few weeks ahead.
const ENDS_SOON: Duration = Duration::from_secs(60 * 24 * 3600);

/// A certificate of the CA's above those that it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuthorityEnd {
    /// Its subject.
    pub(super) name: String,
    /// Its last second.
    pub(super) at: Timestamp,
    is_root: bool,
}

/// The one that ends first. Its intermediates are from `GET /1.0/intermediates` (smallstep/certificates `api/api.go`); an
/// older step-ca does not say which they are.
pub(super) async fn first_to_end(session: &Session) -> Option<AuthorityEnd> {
    #[derive(Deserialize)]
    struct Intermediates {
        crts: Vec<String>,
    }
    let answer = session.http.get("/1.0/intermediates").await.ok().filter(|answer| answer.status.is_success());
    let said = answer.and_then(|answer| serde_json::from_slice::<Intermediates>(&answer.body).ok());
    let pems = said.map(|said| said.crts).unwrap_or_default();
    let intermediates = pems.iter().take(MAX_CHAIN).filter_map(|pem| authority_from_pem(pem).ok());
    let ends = intermediates.map(|(name, at)| AuthorityEnd { name, at, is_root: false });
    let root = session.roots.first().map(|root| AuthorityEnd {
        name: root.subject(),
        at: RootCertificate::not_after(root),
        is_root: true,
    });
    ends.chain(root).min_by_key(|end| end.at)
}

impl AuthorityEnd {
    /// What a person should do, if it is time to do something; `asked` is how long certificates are to be valid.
    pub(super) fn warning(&self, settings: &Settings, asked: Duration, now: Timestamp) -> Option<String> {
        let Self { name, at, is_root } = self;
        if at.since(now) >= ENDS_SOON.max(asked) {
            return None;
        }
        let (ends, what) = (if *at < now { "expired" } else { "expires" }, if *is_root { "root" } else { "authority" });
        let then = "no certificate from this issuer is valid beyond that";
        let remedy = if *is_root {
            format!(
                "make a new root on the CA, announce it beside the old one, then sign under it: see `roots_every` of \
                 [issuers.{}]",
                settings.name
            )
        } else {
            "renew it on the CA (the file that `crt` in ca.json names), and restart step-ca".to_owned()
        };
        Some(format!("the CA's {what} {name} {ends} at {at}, and {then}: {remedy}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::IssuerConfig;

    const DAY: u64 = 24 * 3600;

    #[test]
    fn a_warning_comes_while_there_is_time_and_not_before() {
        let text = format!(
            "type = 'step-ca'\nurl = 'https://ca'\nprovisioner = 'a'\npassword_file = 'p'\nfingerprint = '{}'",
            "0".repeat(64)
        );
        let Ok(IssuerConfig::StepCa(config)) = IssuerConfig::from_toml(&text) else { panic!("a step-ca") };
        let settings = Settings::new("step-ca".parse().expect("a name"), &config, std::path::Path::new("/"));
        let now = Timestamp::from_unix(1_800_000_000);
        for (left, asked, warned) in [(61, 30, false), (60, 30, false), (59, 30, true), (89, 90, true), (90, 90, false)]
        {
            for is_root in [false, true] {
                let at = now + Duration::from_secs(left * DAY);
                let end = AuthorityEnd { name: "CN=Intermediate".into(), at, is_root };
                let warning = end.warning(&settings, Duration::from_secs(asked * DAY), now);
                assert_eq!(warning.is_some(), warned, "{left} days left, {asked} asked: {warning:?}");
                if let Some(warning) = warning {
                    assert!(warning.contains("CN=Intermediate expires at") && warning.contains(&at.to_string()));
                    assert_eq!(warning.contains("roots_every"), is_root, "{warning}");
                }
            }
        }
        let end = AuthorityEnd { name: "CN=Intermediate".into(), at: now + Duration::ZERO, is_root: false };
        let over = end.warning(&settings, Duration::from_secs(DAY), now + Duration::from_secs(1)).expect("warned");
        assert!(over.contains("CN=Intermediate expired at"), "{over}");
    }
}
