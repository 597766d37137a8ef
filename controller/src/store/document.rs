//! A document's form: its version, and what it is about.

use std::path::Path;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::StoreError;

/// The form of documents that this program writes and reads.
pub(super) const VERSION: u32 = 1;

/// A document as it is written.
#[derive(Serialize)]
pub(super) struct Document<T> {
    pub(super) version: u32,
    pub(super) data: T,
}

/// A document as it is read.
#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

/// What every form of a document has, so that a newer one is known for what it is. One without a number is of the first.
#[derive(Deserialize)]
struct AnyVersion {
    #[serde(default = "first")]
    version: u32,
}

fn first() -> u32 {
    1
}

/// Reads a document of this form.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    let malformed = |why: String| StoreError::Malformed { path: path.into(), why };
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
    if version > VERSION {
        return Err(StoreError::Newer { path: path.into(), version });
    }
    if version == 0 {
        return Err(malformed("its version is 0".into()));
    }
    let document: Data<T> = serde_json::from_str(text).map_err(describe)?;
    Ok(document.data)
}

/// Refuses to touch a document that a newer program wrote.
pub(super) fn refuse_newer(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    match serde_json::from_slice(bytes) {
        Ok(AnyVersion { version }) if version > VERSION => Err(StoreError::Newer { path: path.into(), version }),
        _ => Ok(()),
    }
}
