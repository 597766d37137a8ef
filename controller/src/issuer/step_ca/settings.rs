//! How a CA is configured, and how its answers and failures are read under that name.
//!
//! Invariant: each error names the issuer and its address; the CA's own words are shown as one printable line.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use pinion_proto::{bundle::Fingerprint, id::shown, length::Length, printable::line, spec::PlainName};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    http::{Answer, CallError},
    password::Password,
};
use crate::issuer::{IssuerError, StepCaConfig};

/// Longer than untrusted text is otherwise shown: step-ca's messages say the reason last (characters).
const MAX_MESSAGE: usize = 600;

/// The configuration, with the issuer's name for messages.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) name: PlainName,
    pub(super) url: String,
    /// Without the path below which a proxy has the CA, which does not know of it.
    pub(super) origin: String,
    pub(super) fingerprint: Fingerprint,
    pub(super) provisioner: String,
    pub(super) password_file: Option<PathBuf>,
    /// What a person has given in place of the password file's content.
    pub(super) password: Option<Password>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) concurrency: usize,
    pub(super) timeout: Duration,
    pub(super) revoke_replaced: bool,
    pub(super) roots_every: Duration,
}

impl Settings {
    pub(super) fn new(name: PlainName, config: &StepCaConfig, root: &Path) -> Self {
        Self {
            name,
            url: config.url.as_str().to_owned(),
            origin: config.url.origin().to_owned(),
            fingerprint: config.fingerprint,
            provisioner: config.provisioner.clone(),
            password_file: config.password_file.as_ref().map(|file| root.join(file)),
            password: None,
            key_file: config.key_file.as_ref().map(|file| root.join(file)),
            concurrency: config.concurrency.get().into(),
            timeout: config.timeout,
            revoke_replaced: config.revoke_replaced,
            roots_every: config.roots_every,
        }
    }

    /// How messages speak of this issuer: its name and where it is.
    pub(super) fn who(&self) -> String {
        format!("issuer `{}` (step-ca at {})", self.name, self.url)
    }

    pub(super) fn unavailable(&self, doing: &str, why: impl std::fmt::Display) -> IssuerError {
        IssuerError::Unavailable { message: format!("{}: {doing}: {why}", self.who()) }
    }

    pub(super) fn misconfigured(&self, why: &str, remedy: String) -> IssuerError {
        IssuerError::misconfigured(format!("{}: {why}", self.who()), remedy)
    }
}

/// A failed call as an error; a certificate that is not for this address is the operator's to mend.
pub(super) fn call_failed(settings: &Settings, doing: &str, error: &CallError) -> IssuerError {
    use rustls::CertificateError as E;
    if let CallError::Certificate(E::NotValidForName | E::NotValidForNameContext { .. }) = error {
        return settings.misconfigured(
            &format!("{doing}: {error}"),
            "use one of the names or addresses in the CA's `dnsNames` (ca.json) as `url`, or add this one to `dnsNames`"
                .into(),
        );
    }
    if let CallError::Certificate(E::UnknownIssuer | E::BadSignature) = error {
        return settings.misconfigured(
            &format!("{doing}: {error}: something with a certificate of its own answers before the CA"),
            format!(
                "if that is a proxy of yours, let it pass TLS through to the CA, or give it a certificate from this CA; \
                 otherwise set `url` of [issuers.{}] in controller.toml to an address of the CA itself",
                settings.name
            ),
        );
    }
    if let CallError::Certificate(E::Expired | E::ExpiredContext { .. }) = error {
        return settings.misconfigured(
            &format!("{doing}: {error}"),
            "on the CA, look at the end of the certificate that `crt` in ca.json names (`step certificate inspect`), \
             renew it if it has expired, and restart step-ca; otherwise check the clocks of the CA and this host"
                .into(),
        );
    }
    settings.unavailable(doing, error)
}

/// An answer by which the CA cannot do it now: one that says when to come back is kept to.
pub(super) fn not_now(settings: &Settings, doing: &str, answer: &Answer, why: impl std::fmt::Display) -> IssuerError {
    match answer.retry_after {
        None => settings.unavailable(doing, why),
        Some(after) => {
            let asks = Length(after);
            IssuerError::Busy {
                message: format!("{}: {doing}: {why}; it asks for a pause of {asks}", settings.who()),
                after,
            }
        }
    }
}

/// A successful answer's document.
pub(super) fn json<T: DeserializeOwned>(settings: &Settings, doing: &str, answer: &Answer) -> Result<T, IssuerError> {
    if !answer.status.is_success() {
        let words = words(answer);
        return Err(not_now(settings, doing, answer, format!("it answers {}: {words}", answer.status)));
    }
    serde_json::from_slice(&answer.body).map_err(|e| {
        let came = shown(&String::from_utf8_lossy(answer.body.get(..400).unwrap_or(&answer.body)));
        settings.unavailable(doing, format!("cannot read its answer ({e}): `{came}`"))
    })
}

/// The CA's own words in an answer that is an error: `{"status":403,"message":"…"}`, or the text itself.
pub(super) fn words(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let text = match serde_json::from_slice::<Message>(&answer.body) {
        Ok(Message { message }) => message,
        Err(_) => return shown(&String::from_utf8_lossy(answer.body.get(..400).unwrap_or(&answer.body))),
    };
    line(&text, MAX_MESSAGE)
}
