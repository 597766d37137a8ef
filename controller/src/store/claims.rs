//! Claims on documents that are made once, as they are on the disk.
//!
//! Invariant: a claim is a directory beside its document, with a number that only grows. The highest one counts.

use std::{path::Path, time::Duration};

use super::{directory::entries, error::StoreError, files::Files};

/// A claim that has been there for so long belongs to nobody any more: a write on pmxcfs hangs for 8 s when a node is
/// lost, and then fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// How a claim's directory is called: this, the document's file, and the claim's number.
const CLAIM: &str = ".claim.";

/// What the claims on a document begin with.
pub(super) fn prefix(path: &Path) -> String {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{CLAIM}{file}.")
}

/// The number of the claim that counts; none where there is none.
pub(super) fn newest(files: &dyn Files, directory: &Path, prefix: &str) -> Result<Option<u64>, StoreError> {
    let names = entries(files, directory)?;
    Ok(names.iter().filter_map(|(name, _)| name.strip_prefix(prefix)?.parse().ok()).max())
}

/// Removes the claims on documents that are there: whoever made them was stopped before it could.
pub(super) fn clean(files: &dyn Files, directory: &Path) {
    let Ok(names) = entries(files, directory) else { return };
    for (name, is_directory) in &names {
        let file = name.strip_prefix(CLAIM).and_then(|rest| rest.rsplit_once('.')).map(|(file, _)| file);
        if file.is_some_and(|file| names.iter().any(|(name, _)| name == file)) {
            files.release(&directory.join(name)).ok();
        } else if *is_directory && !name.starts_with('.') {
            clean(files, &directory.join(name));
        }
    }
}
