//! Whether a file that Pinion wrote is still as it wrote it, and the removal of one that is.
//!
//! Invariant: a file that anybody changed since is never removed.

use std::path::{Path, PathBuf};

use pinion_proto::bundle::Fingerprint;
use zeroize::Zeroizing;

use super::{InstallError, files::Files, observed, place, unlink::unlink};
use crate::{
    config::Config,
    ledger::{InstalledFile, SavedFile},
};

/// What became of a file that Pinion wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// Nothing is there.
    Gone,
    /// It is as it was written; where it really is.
    AsWritten(PathBuf),
    /// It says something else by now: this.
    Changed(Zeroizing<Vec<u8>>),
}

/// Looks at a file that Pinion wrote once.
///
/// # Errors
/// The guest does not allow its place any more, or it cannot be read.
pub fn look(files: &dyn Files, config: &Config, file: &InstalledFile) -> Result<Drift, InstallError> {
    let place = place::find(files, config, &file.path)?;
    let failed = |operation| {
        let path = place.target.clone();
        move |source| InstallError::Operation { operation, path, source }
    };
    if !place.missing.is_empty() || files.look(&place.target).map_err(failed("look at"))?.is_none() {
        return Ok(Drift::Gone);
    }
    let real = match observed::behind(files, &place.target).map_err(failed("look behind"))? {
        // A link of Pinion's that leads nowhere.
        Some((_, None)) => return Ok(Drift::AsWritten(place.target)),
        Some((_, Some(real))) => real,
        None => place.target.clone(),
    };
    let Some(SavedFile { content, .. }) = observed::read(files, &real)? else {
        return Ok(Drift::AsWritten(place.target));
    };
    if Fingerprint::of(&content) == file.content {
        Ok(Drift::AsWritten(place.target))
    } else {
        Ok(Drift::Changed(content))
    }
}

/// Removes a file that was just found as it was written, and what is behind it when it is a link of Pinion's; or an
/// empty directory.
///
/// # Errors
/// It cannot be removed for good.
pub fn remove(files: &dyn Files, target: &Path) -> Result<(), InstallError> {
    let failed = |operation| move |source| InstallError::Operation { operation, path: target.to_owned(), source };
    if let Some((_, Some(real))) = observed::behind(files, target).map_err(failed("look behind"))?
        && files.look(&real).map_err(failed("look behind"))?.is_some()
    {
        files.remove(&real).map_err(failed("remove what is behind"))?;
    }
    unlink(files, target)
}
