//! Removing one name: what was removed does not come back after a power cut.

use std::path::Path;

use super::{
    InstallError,
    files::{Files, Kind},
};

/// Removes a file, a link and not what it leads to, or an empty directory.
pub(super) fn unlink(files: &dyn Files, path: &Path) -> Result<(), InstallError> {
    let failed = |operation| move |source| InstallError::Operation { operation, path: path.to_owned(), source };
    let directory = files.look(path).map_err(failed("look at"))?.is_some_and(|found| found.kind == Kind::Directory);
    let removed = if directory { files.remove_directory(path) } else { files.remove(path) };
    removed.map_err(failed("remove"))?;
    match path.parent() {
        Some(directory) => files.sync_directory(directory).map_err(failed("sync the directory of")),
        None => Ok(()),
    }
}
