//! JSON documents on disk that say which version they have, such as `{"version":1,…}`.
//!
//! Invariant: a document of a newer program is called newer, and not malformed.

use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

/// Why a document is not understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DocumentError {
    /// A newer program wrote it.
    #[error("it has version {0}, written by a newer Pinion")]
    Newer(u32),
    /// It says nothing intelligible.
    #[error("{0}")]
    Malformed(String),
}

/// What every version of a document has. One without a number is of the first.
#[derive(Deserialize)]
struct AnyVersion {
    #[serde(default = "first")]
    version: u32,
}

fn first() -> u32 {
    1
}

/// Reads a document of at most the version `known`; `T` is the document as a whole, its version left out.
///
/// # Errors
/// It is newer, or not understood.
pub fn parse<T: DeserializeOwned>(bytes: &[u8], known: u32) -> Result<T, DocumentError> {
    let malformed = DocumentError::Malformed;
    if bytes.trim_ascii().is_empty() {
        return Err(malformed("it is empty".into()));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let column = before.rsplit(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len).saturating_add(1);
        malformed(format!("what is at line {line} column {column} is not UTF-8"))
    })?;
    let describe = |e: serde_json::Error| {
        let cut_off = if e.is_eof() { "it is cut off: " } else { "" };
        malformed(format!("{cut_off}{e}"))
    };
    let AnyVersion { version } = serde_json::from_str(text).map_err(describe)?;
    if version > known {
        return Err(DocumentError::Newer(version));
    }
    if version == 0 {
        return Err(malformed("its version is 0".into()));
    }
    serde_json::from_str(text).map_err(describe)
}

/// The version of a document that a newer program than one that knows `known` has written.
#[must_use]
pub fn newer(bytes: &[u8], known: u32) -> Option<u32> {
    let AnyVersion { version } = serde_json::from_slice(bytes).ok()?;
    (version > known).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Number {
        number: u32,
    }

    #[test]
    fn what_is_wrong_is_said_and_a_newer_document_is_called_newer() {
        let read = |bytes: &[u8]| parse::<Number>(bytes, 2).map(|document| document.number);
        for good in [&br#"{"version":1,"number":7}"#[..], br#"{"version":2,"number":7}"#, br#"{"number":7}"#] {
            assert_eq!(read(good), Ok(7));
            assert_eq!(newer(good, 2), None);
        }
        let later = br#"{"version":3,"numbers":[]}"#;
        assert_eq!((read(later), newer(later, 2)), (Err(DocumentError::Newer(3)), Some(3)));
        for (bytes, why) in [
            (b"".as_slice(), "it is empty"),
            (b" \n", "it is empty"),
            (b"{\"version\":1,\"number\":", "it is cut off"),
            (b"{\"version\":1,\n\"number\":\"x\"}", "line 2 column"),
            (b"{\"version\":1}", "missing field `number`"),
            (b"{\"version\":0,\"number\":1}", "version is 0"),
            (b"{\"version\":1,\n\"number\":\"\xff\"}", "line 2 column 11 is not UTF-8"),
        ] {
            let error = read(bytes).expect_err(why);
            assert!(matches!(&error, DocumentError::Malformed(said) if said.contains(why)), "{error}");
            assert_eq!(newer(bytes, 2), None);
        }
    }
}
