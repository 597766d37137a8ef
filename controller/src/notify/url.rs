//! The address of a webhook, which may be a secret as a whole.
//!
//! Invariant: only its scheme and host are ever shown; what is behind them may be a token, or a topic that is one.

use std::{fmt, str::FromStr};

use reqwest::Url;
use serde::{Deserialize, Deserializer, de::Error as _};
use zeroize::Zeroizing;

/// An https or http address without a user.
#[derive(Clone, PartialEq, Eq)]
pub struct WebUrl(Zeroizing<String>);

impl WebUrl {
    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        Url::parse(&self.0).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }

    /// The whole address.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The address at which ntfy takes JSON, and the topic, which is the path's last part.
    ///
    /// # Errors
    /// It has no topic.
    pub fn ntfy(&self) -> Result<(Self, Zeroizing<String>), String> {
        let why =
            || format!("the topic is missing in the address at {}: write it as the path's last part", self.origin());
        let mut url = Url::parse(&self.0).map_err(|_| why())?;
        let path = url.path().trim_end_matches('/').to_owned();
        let (before, topic) = path.rsplit_once('/').filter(|(_, topic)| !topic.is_empty()).ok_or_else(why)?;
        url.set_path(&format!("{before}/"));
        Ok((Self(Zeroizing::new(url.into())), Zeroizing::new(topic.to_owned())))
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebUrl({}/…)", self.origin())
    }
}

impl FromStr for WebUrl {
    type Err = String;

    /// Errors do not show the text: it may be a secret.
    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text.trim()).map_err(|error| format!("it is not a URL: {error}"))?;
        if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
            return Err("it is neither an https nor an http URL with a host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "it contains a user or a password: write a token into a file, and name it as `token_file`".into()
            );
        }
        Ok(Self(Zeroizing::new(url.into())))
    }
}

impl<'de> Deserialize<'de> for WebUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Zeroizing::new(String::deserialize(deserializer)?).parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_origin_of_an_address_is_shown() {
        let url: WebUrl = "https://hooks.slack.com/services/T0/B0/secret?x=secret".parse().expect("a URL");
        assert_eq!((url.origin().as_str(), format!("{url:?}").contains("secret")), ("https://hooks.slack.com", false));
        assert!(url.reveal().ends_with("/secret?x=secret"));
        for bad in ["secret", "ftp://host/secret", "https://user:secret@host/", "https:///secret"] {
            let why = bad.parse::<WebUrl>().map(|url| url.origin());
            assert!(
                why.as_ref().is_err_and(|why| !why.contains("secret")) || bad == "https:///secret",
                "{bad}: {why:?}"
            );
        }
    }

    #[test]
    fn the_topic_of_ntfy_is_the_last_part_of_the_path() {
        for (text, base, topic) in [
            ("https://ntfy.sh/alarms", "https://ntfy.sh/", "alarms"),
            ("http://10.0.0.7:8080/ntfy/alarms/", "http://10.0.0.7:8080/ntfy/", "alarms"),
        ] {
            let (url, found) = text.parse::<WebUrl>().expect("a URL").ntfy().expect("a topic");
            assert_eq!((url.reveal(), found.as_str()), (base, topic));
        }
        assert!("https://ntfy.sh".parse::<WebUrl>().expect("a URL").ntfy().is_err());
    }
}
