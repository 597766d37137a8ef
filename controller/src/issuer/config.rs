//! The `[issuers.NAME]` tables of controller.toml.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use pinion_proto::bundle::Fingerprint;
use serde::{Deserialize, Deserializer, de};

/// An issuer as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum IssuerConfig {
    /// A CA inside the controller.
    Embedded {
        /// There for its message: nobody asks the embedded CA what is revoked.
        #[serde(default, deserialize_with = "never")]
        revoke_replaced: (),
    },
    /// A step-ca server.
    StepCa(StepCaConfig),
}

/// Where a step-ca is and how to ask it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCaConfig {
    /// `https://10.0.0.3:9000`: an address needs no DNS, which may itself hang on a certificate.
    pub url: CaUrl,
    /// The SHA-256 of its root: `step certificate fingerprint root_ca.crt`.
    pub fingerprint: Fingerprint,
    /// The name of a JWK provisioner.
    pub provisioner: String,
    /// Holds the provisioner's password; a relative path is under the controller's root directory.
    pub password_file: PathBuf,
    /// How many calls may be under way at once.
    #[serde(default = "default_concurrency")]
    pub concurrency: NonZeroU16,
    /// How long one call may take, for example `15s`.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Whether a certificate is revoked when its successor is in use.
    #[serde(default)]
    pub revoke_replaced: bool,
    /// How often it is asked which roots it has.
    #[serde(default = "default_roots_every", deserialize_with = "duration")]
    pub roots_every: Duration,
}

/// The address of a CA: https, without path, query and user; no slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaUrl(String);

impl CaUrl {
    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CaUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for CaUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = pinion_proto::id::shown(text);
        let url = reqwest::Url::parse(text).map_err(|e| format!("`{shown}` is not a URL: {e}"))?;
        if url.scheme() != "https" {
            return Err(format!("`{shown}` is not an https URL: a CA is only spoken to over TLS"));
        }
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() || !url.has_host() {
            return Err(format!("`{shown}` has more than host and port: write https://HOST:PORT"));
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
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
fn default_timeout() -> Duration {
    Duration::from_secs(15)
}

/// A new root is at work for years, and waits this long for its guests.
fn default_roots_every() -> Duration {
    Duration::from_secs(60)
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let duration = humantime::parse_duration(&text).map_err(|e| de::Error::custom(format!("`{text}`: {e}")))?;
    if duration.is_zero() {
        return Err(de::Error::custom("this takes more than no time"));
    }
    Ok(duration)
}

fn never<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    if bool::deserialize(deserializer)? {
        return Err(de::Error::custom(
            "`revoke_replaced` is for issuers of type `step-ca`: the embedded CA has no list of revoked certificates \
             that anybody could ask for; leave it out here",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_CA: &str = r#"
        type = "step-ca"
        url = "https://10.0.0.3:9000/"
        fingerprint = "0000000000000000000000000000000000000000000000000000000000000000"
        provisioner = "admin"
        password_file = "/etc/pinion/step-ca.password"
    "#;

    #[test]
    fn what_is_left_out_has_defaults() {
        let IssuerConfig::StepCa(config) = toml::from_str(STEP_CA).expect("a whole table") else {
            panic!("a step-ca");
        };
        assert_eq!(config.url.as_str(), "https://10.0.0.3:9000");
        assert_eq!((config.concurrency.get(), config.timeout), (16, Duration::from_secs(15)));
        assert_eq!(
            toml::from_str::<IssuerConfig>("type = 'embedded'"),
            Ok(IssuerConfig::Embedded { revoke_replaced: () })
        );
        assert!(!config.revoke_replaced, "nothing is revoked unless somebody says so");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (from, to) in [
            ("https", "http"),
            ("9000/", "9000/path"),
            ("10.0.0.3", "user@10.0.0.3"),
            ("password_file", "password"),
            ("0000\"", "\""),
            ("step-ca", "acme"),
        ] {
            let changed = STEP_CA.replacen(from, to, 1);
            assert!(toml::from_str::<IssuerConfig>(&changed).is_err(), "{changed}");
        }
        assert!(toml::from_str::<IssuerConfig>("type = 'embedded'\nurl = 'https://x'").is_err());
        let embedded = toml::from_str::<IssuerConfig>("type = 'embedded'\nrevoke_replaced = true");
        assert!(embedded.is_err_and(|error| error.to_string().contains("embedded CA has no list")));
        assert!(toml::from_str::<IssuerConfig>("type = 'embedded'\nrevoke_replaced = false").is_ok());
        assert!(toml::from_str::<IssuerConfig>(&format!("{STEP_CA}\ntimeout = '0s'")).is_err());
        assert!(toml::from_str::<IssuerConfig>(&format!("{STEP_CA}\ntimeout = '5m'")).is_ok());
    }
}
