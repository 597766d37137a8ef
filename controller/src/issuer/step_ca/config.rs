//! The table `[issuers.NAME]` of a step-ca in controller.toml.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use pinion_proto::{
    bundle::Fingerprint,
    settings::{Otherwise, Table, setting},
};
use serde::{Deserialize, Deserializer, de};

use crate::settings::{Fields, Pause};

/// Where a step-ca is and how to ask it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepCaConfig {
    /// `https://10.0.0.3:9000`: an address needs no DNS, which may itself hang on a certificate.
    pub url: CaUrl,
    /// The SHA-256 of its root: `step certificate fingerprint root_ca.crt`.
    pub fingerprint: Fingerprint,
    /// The name of a JWK provisioner.
    pub provisioner: String,
    /// Holds the provisioner's password; a relative path is under the controller's root directory. None only where the key
    /// is in a file that needs none.
    pub password_file: Option<PathBuf>,
    /// Holds the provisioner's private key, where the CA does not publish it.
    pub key_file: Option<PathBuf>,
    /// How many calls may be under way at once.
    pub concurrency: NonZeroU16,
    /// How long one call may take, for example `15s`.
    pub timeout: Duration,
    /// Whether a certificate is revoked when its successor is in use.
    pub revoke_replaced: bool,
    /// How often it is asked which roots it has.
    pub roots_every: Duration,
}

/// The settings of a table `[issuers.NAME]` of a step-ca.
pub const STEP_CA_TABLE: Table = Table {
    name: "issuers.NAME, with type = \"step-ca\"",
    about: "A step-ca server.",
    settings: &[
        setting("type", "`step-ca`", Otherwise::Required, "The kind of issuer."),
        setting(
            "url",
            "https address",
            Otherwise::Required,
            "`https://HOST:PORT`, or `https://HOST:PORT/PATH` if a reverse proxy has the CA below a path. Use an \
             address: a name may depend on a service that needs a certificate first.",
        ),
        setting(
            "fingerprint",
            "64 hexadecimal digits",
            Otherwise::Required,
            "The SHA-256 of the root: `step certificate fingerprint root_ca.crt`. Pinion trusts the CA by this only.",
        ),
        setting("provisioner", "text", Otherwise::Required, "The name of a JWK provisioner."),
        setting(
            "password_file",
            "path",
            Otherwise::Words("required, unless `key_file` is not encrypted"),
            "The file with the provisioner's password. Only the user `pinion` may read it.",
        ),
        setting(
            "key_file",
            "path",
            Otherwise::Words("the key that the CA publishes"),
            "The file with the provisioner's private key, as `step crypto jwk create` writes it, if the CA does not \
             publish it (`encryptedKey` in ca.json). Only the user `pinion` may read it.",
        ),
        setting(
            "concurrency",
            "number",
            Otherwise::Value("16"),
            "How many calls run at once. Certificates that expire soonest come first.",
        ),
        setting("timeout", "duration", Otherwise::Value("\"15s\""), "The time limit for one call."),
        setting(
            "revoke_replaced",
            "boolean",
            Otherwise::Value("false"),
            "Whether Pinion revokes a certificate when its successor is in use.",
        ),
        setting("roots_every", "duration", Otherwise::Value("\"60s\""), "How often Pinion asks the CA for its roots."),
    ],
};

impl StepCaConfig {
    pub(in crate::issuer) fn read(table: &Fields<'_>) -> Option<Self> {
        table.known(&STEP_CA_TABLE.names());
        let pause = |name, otherwise| table.optional(name).map_or(otherwise, |Pause(pause)| pause);
        // Each is read before one of them ends it, so that all mistakes are reported.
        let (url, fingerprint) = (table.required("url"), table.required("fingerprint"));
        let (provisioner, key_file) = (table.required("provisioner"), table.optional::<PathBuf>("key_file"));
        let password_file = match &key_file {
            Some(_) => Some(table.optional("password_file")),
            None => table.required("password_file").map(Some),
        };
        let concurrency = table.optional("concurrency").unwrap_or_else(default_concurrency);
        let (timeout, roots_every) = (pause("timeout", TIMEOUT), pause("roots_every", ROOTS_EVERY));
        let revoke_replaced = table.optional("revoke_replaced").unwrap_or_default();
        Some(Self {
            url: url?,
            fingerprint: fingerprint?,
            provisioner: provisioner?,
            password_file: password_file?,
            key_file,
            concurrency,
            timeout,
            revoke_replaced,
            roots_every,
        })
    }
}

/// The address of a CA: https, without query and user; no slash at its end. A path is where a proxy has the CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaUrl {
    whole: String,
    /// How much of it is before the path.
    origin: usize,
}

impl CaUrl {
    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// The address without the path.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.whole.get(..self.origin).unwrap_or(&self.whole)
    }
}

impl std::fmt::Display for CaUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.whole)
    }
}

impl std::str::FromStr for CaUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = pinion_proto::id::shown(text);
        let url = reqwest::Url::parse(text).map_err(|e| format!("`{shown}` is not a URL: {e}"))?;
        if url.scheme() != "https" {
            return Err(format!("`{shown}` is not an https URL: Pinion talks to a CA only over TLS"));
        }
        let bare = url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() || !url.has_host() {
            return Err(format!(
                "`{shown}` contains more than host, port and path: write https://HOST:PORT, or https://HOST:PORT/PATH"
            ));
        }
        let origin = url.origin().ascii_serialization().len();
        Ok(Self { whole: url.as_str().trim_end_matches('/').to_owned(), origin })
    }
}

impl<'de> Deserialize<'de> for CaUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// step-ca signs on every core of a small machine with this many calls under way, and its queue stays short.
fn default_concurrency() -> NonZeroU16 {
    NonZeroU16::MIN.saturating_add(15)
}

/// A signature takes milliseconds; a CA that takes this long is in trouble.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);

/// A new root is at work for years, and waits this long for its guests.
const ROOTS_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuer::IssuerConfig;

    fn read(text: &str) -> Result<IssuerConfig, String> {
        IssuerConfig::from_toml(text)
    }

    const STEP_CA: &str = r#"
        type = "step-ca"
        url = "https://10.0.0.3:9000/"
        fingerprint = "0000000000000000000000000000000000000000000000000000000000000000"
        provisioner = "admin"
        password_file = "/etc/pinion/step-ca.password"
    "#;

    #[test]
    fn what_is_left_out_has_defaults() {
        let Ok(IssuerConfig::StepCa(config)) = read(STEP_CA) else { panic!("a step-ca") };
        assert_eq!(config.url.as_str(), "https://10.0.0.3:9000");
        assert_eq!((config.concurrency.get(), config.timeout), (16, Duration::from_secs(15)));
        assert_eq!(read("type = 'embedded'"), Ok(IssuerConfig::Embedded));
        assert!(!config.revoke_replaced, "nothing is revoked unless somebody says so");
    }

    #[test]
    fn a_ca_may_be_below_a_path_that_it_does_not_know_of() {
        for (text, whole, origin) in [
            ("https://10.0.0.3:9000", "https://10.0.0.3:9000", "https://10.0.0.3:9000"),
            ("https://ca.example/", "https://ca.example", "https://ca.example"),
            ("https://ca.example:443/step/", "https://ca.example/step", "https://ca.example"),
            ("https://[::1]:9000/a/b", "https://[::1]:9000/a/b", "https://[::1]:9000"),
        ] {
            let url: CaUrl = text.parse().expect(text);
            assert_eq!((url.as_str(), url.origin()), (whole, origin), "{text}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (from, to) in [
            ("https", "http"),
            ("9000/", "9000/?path"),
            ("9000/", "9000/#path"),
            ("10.0.0.3", "user@10.0.0.3"),
            ("password_file", "password"),
            ("0000\"", "\""),
            ("step-ca", "acme"),
        ] {
            let changed = STEP_CA.replacen(from, to, 1);
            assert!(read(&changed).is_err(), "{changed}");
        }
        assert!(read(&STEP_CA.replace("password_file", "key_file")).is_ok(), "a key may need no password");
        assert!(read("type = 'embedded'\nurl = 'https://x'").is_err());
        let embedded = read("type = 'embedded'\nrevoke_replaced = true");
        assert!(embedded.is_err_and(|error| error.contains("embedded CA publishes no list")));
        assert!(read("type = 'embedded'\nrevoke_replaced = false").is_ok());
        assert!(read(&format!("{STEP_CA}\ntimeout = '0s'")).is_err());
        assert!(read(&format!("{STEP_CA}\ntimeout = '5m'")).is_ok());
    }

    #[test]
    fn every_mistake_of_a_table_is_told_at_once() {
        let said = read("type = 'step-ca'\nurl = 'http://x'\nfingerprint = 'ab'\ntimout = '0s'\nconcurrency = 0");
        let said = said.expect_err("all is wrong");
        for words in ["2:7 url", "3:15 fingerprint", "4:1 timout", "`timeout`", "5:15 concurrency", "password_file"] {
            assert!(said.contains(words), "{words} in {said}");
        }
    }
}
