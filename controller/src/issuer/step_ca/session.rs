//! What is needed to ask a CA for a signature: its proven root, a client that trusts it alone, the provisioner's key.
//!
//! Answers: is this the CA that was configured, and may we sign tokens for it?
//! Invariant: nothing that the CA says is believed before its root's hash has been compared with the configured
//! fingerprint; the password is read anew each time a key is opened, so that a corrected file helps at once.

use std::{sync::Arc, time::Duration};

use pinion_proto::{bundle::RootCertificate, clock::Timestamp};
use reqwest::StatusCode;
use serde::Deserialize;

use super::{
    http::{Http, Trust},
    key::{self, OpenedKey},
    provisioner::{Claims, find_provisioner},
    roots,
    settings::{Settings, json},
    skew::Skew,
};
use crate::issuer::IssuerError;

/// The provisioner is looked at anew this often: its durations may have been changed, its key replaced.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// A proven CA and an opened key.
#[derive(Debug)]
pub(super) struct Session {
    /// What its certificate and those that it signs may end at: the configured root first, if it still has that.
    pub(super) roots: Vec<RootCertificate>,
    pub(super) http: Http,
    pub(super) key: Arc<OpenedKey>,
    pub(super) read_at: Timestamp,
    /// What the provisioner says of durations.
    pub(super) claims: Claims,
}

impl Session {
    /// Proves the CA and opens the provisioner's key. `successors` are the roots beside the configured one that it has said
    /// that it has. A key that `before` has opened and that is still the provisioner's is kept.
    pub(super) async fn open(
        settings: &Settings,
        successors: Vec<RootCertificate>,
        skew: &Arc<Skew>,
        before: Option<&Session>,
    ) -> Result<Self, IssuerError> {
        let roots = match fetch_root(settings, skew).await {
            Ok(root) => [vec![root], successors].concat(),
            // It has given that root up, and while it had it, it said which came in its place.
            Err(IssuerError::Misconfigured { .. }) if !successors.is_empty() => successors,
            Err(error) => return Err(error),
        };
        let http = Http::new(&settings.url, Trust::These(&roots), settings.timeout, settings.concurrency, skew)
            .map_err(|e| settings.unavailable("prepare", e))?;
        let listed = find_provisioner(settings, &http).await?;
        let claims = listed.claims.unwrap_or_default();
        let key = key::open(settings, &listed, before.map(|before| &before.key)).await?;
        Ok(Self { roots, http, key, read_at: skew.here(), claims })
    }

    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        // A clock that was set back makes it stale too.
        now < self.read_at || now.since(self.read_at) >= READ_AGAIN_AFTER
    }
}

/// `GET /root/{sha256}`, from whomever it comes, is right when its hash is.
async fn fetch_root(settings: &Settings, skew: &Arc<Skew>) -> Result<RootCertificate, IssuerError> {
    #[derive(Deserialize)]
    struct Root {
        ca: String,
    }
    const DOING: &str = "fetch the root";
    let anyone = Http::new(&settings.url, Trust::Anyone, settings.timeout, 0, skew)
        .map_err(|e| settings.unavailable("prepare", e))?;
    let answer =
        anyone.get(&format!("/root/{}", settings.fingerprint)).await.map_err(|e| settings.unavailable(DOING, e))?;
    if answer.status == StatusCode::NOT_FOUND {
        return Err(other_root(settings, &anyone).await);
    }
    let Root { ca } = json(settings, DOING, &answer)?;
    let root = RootCertificate::from_pem(&ca).map_err(|e| settings.unavailable(DOING, e))?;
    if root.fingerprint() != settings.fingerprint {
        return Err(wrong_root(settings, &root.fingerprint().to_string()));
    }
    Ok(root)
}

/// The CA does not know the root: which does it have? The answer is unproven, and only for the message.
async fn other_root(settings: &Settings, anyone: &Http) -> IssuerError {
    let roots = anyone.get("/roots").await.map(|answer| roots::listed(&answer)).unwrap_or_default();
    let prints: Vec<String> = roots.iter().map(|root| root.fingerprint().to_string()).collect();
    if prints.is_empty() {
        // Without a root of its own it may be no step-ca at all, such as a proxy whose backend is away.
        return settings.unavailable("fetch the root", "it answers 404 Not Found and has no root to offer");
    }
    wrong_root(settings, &prints.join(", "))
}

fn wrong_root(settings: &Settings, found: &str) -> IssuerError {
    settings.misconfigured(
        &format!("its root has the fingerprint {found}, but {} is configured", settings.fingerprint),
        format!(
            "if you set up the CA again, set `fingerprint` of [issuers.{}] in controller.toml to that of its root \
             (`step certificate fingerprint root_ca.crt` on the CA), and give the clients of your services the new \
             root; if not, something else answers at this address",
            settings.name
        ),
    )
}
