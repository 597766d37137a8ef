//! Directories of documents.

use std::{io, path::Path};

use super::{StoreError, files::Files};

pub(super) fn make_directory(files: &dyn Files, path: &Path) -> Result<(), StoreError> {
    let fail = |source| StoreError::Io { doing: "make directory", path: path.into(), source };
    files.make_directory(path).map_err(fail)
}

/// What is in a directory; nothing when it is missing.
pub(super) fn entries(files: &dyn Files, path: &Path) -> Result<Vec<(String, bool)>, StoreError> {
    match files.list(path) {
        Ok(entries) => Ok(entries),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(StoreError::Io { doing: "list", path: path.into(), source }),
    }
}
