//! Lengths of time as people write them: `30d`, `1d12h`, `250ms`.

use std::{fmt, time::Duration};

/// The units that are written, and how many seconds each has.
const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

/// A length of time as people write it. What is a second or longer is written in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(pub Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_secs();
        if left == 0 {
            return match self.0.as_millis() {
                0 => f.pad("0s"),
                millis => f.pad(&format!("{millis}ms")),
            };
        }
        let mut text = String::new();
        for (seconds, unit) in UNITS {
            let count = left / seconds;
            left %= seconds;
            if count > 0 {
                text += &format!("{count}{unit}");
            }
        }
        f.pad(&text)
    }
}

/// For `#[serde(with = "…")]`: the written form, such as `"1d12h"`. What earlier versions said is read too.
pub mod written {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Length;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Found {
        Text(String),
        Earlier(Duration),
    }

    impl Found {
        fn read<E: de::Error>(self) -> Result<Duration, E> {
            match self {
                Self::Text(text) => humantime::parse_duration(&text).map_err(de::Error::custom),
                Self::Earlier(length) => Ok(length),
            }
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Length(*length))
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is no length of time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Found::deserialize(deserializer)?.read()
    }

    /// The same of one that may be missing.
    pub mod option {
        use super::{Deserialize, Deserializer, Duration, Found, Serializer};

        /// Writes it.
        ///
        /// # Errors
        /// The serializer's.
        #[allow(clippy::ref_option, reason = "serde calls it so")]
        pub fn serialize<S: Serializer>(length: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
            match length {
                Some(length) => super::serialize(length, serializer),
                None => serializer.serialize_none(),
            }
        }

        /// Reads it.
        ///
        /// # Errors
        /// It is no length of time.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
            Option::<Found>::deserialize(deserializer)?.map(Found::read).transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[test]
    fn a_length_is_written_as_people_write_it_and_read_again() {
        for (millis, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1_500, "1s"),
            (90_000, "1m30s"),
            (300_000, "5m"),
            (86_400_000, "1d"),
            (129_600_000, "1d12h"),
            (2_592_000_000, "30d"),
            (31_536_001_000, "365d1s"),
        ] {
            let length = Duration::from_millis(millis);
            assert_eq!(Length(length).to_string(), text);
            let whole = if millis < 1_000 { length } else { Duration::from_secs(length.as_secs()) };
            assert_eq!(humantime::parse_duration(text), Ok(whole), "{text}");
        }
        assert_eq!(format!("{:>4}", Length(Duration::from_secs(60))), "  1m");
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Document {
        #[serde(with = "written")]
        took: Duration,
        #[serde(default, with = "written::option")]
        asked: Option<Duration>,
    }

    #[test]
    fn a_document_has_the_written_form_and_may_have_the_earlier_one() {
        let (took, asked) = (Duration::from_millis(12), Some(Duration::from_secs(2_592_000)));
        let document = Document { took, asked };
        let text = serde_json::to_string(&document).expect("JSON");
        assert_eq!(text, r#"{"took":"12ms","asked":"30d"}"#);
        let earlier = r#"{"took":{"secs":0,"nanos":12000000},"asked":{"secs":2592000,"nanos":0}}"#;
        for text in [text.as_str(), earlier] {
            assert_eq!(serde_json::from_str::<Document>(text).expect(text), document);
        }
        for text in [r#"{"took":"12ms"}"#, r#"{"took":"12ms","asked":null}"#] {
            assert_eq!(serde_json::from_str::<Document>(text).expect(text), Document { took, asked: None });
        }
        serde_json::from_str::<Document>(r#"{"took":"soon"}"#).expect_err("no length");
    }
}
