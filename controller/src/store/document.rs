//! A document's form: its version, and what it is about.

use std::path::Path;

use pinion_proto::document::{self, DocumentError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::StoreError;
pub(super) use super::area::VERSION;

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

/// Reads a document of this form.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, StoreError> {
    match document::parse(bytes, VERSION) {
        Ok(Data { data }) => Ok(data),
        Err(DocumentError::Newer(version)) => Err(StoreError::Newer { path: path.into(), version }),
        Err(DocumentError::Malformed(why)) => Err(StoreError::Malformed { path: path.into(), why }),
    }
}

/// Refuses to touch a document that a newer program wrote.
pub(super) fn refuse_newer(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    match document::newer(bytes, VERSION) {
        Some(version) => Err(StoreError::Newer { path: path.into(), version }),
        None => Ok(()),
    }
}
