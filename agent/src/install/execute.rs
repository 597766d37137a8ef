//! Doing what a plan says.
//!
//! Invariants: every new file is wholly written, owned and synced beside its target before the first target changes;
//! content is in a file that only its owner can open until owner and mode are right; a failure before
//! [`Prepared::switch`] leaves nothing behind.

use std::{
    io,
    path::{Path, PathBuf},
};

use pinion_proto::spec::FileMode;

use super::{
    InstallError, MOST_FILE,
    files::{Files, Kind},
    plan::{Plan, Write, temporary},
};
use crate::ledger::{Saved, SavedFile};

/// A directory on the way to a certificate; the files in it have modes of their own.
const DIRECTORY_MODE: u32 = 0o755;

/// What is at these paths now, for comparing and for putting back.
///
/// # Errors
/// A file cannot be read.
pub fn present<'a>(files: &dyn Files, targets: impl IntoIterator<Item = &'a Path>) -> Result<Vec<Saved>, InstallError> {
    targets.into_iter().map(|path| Ok(Saved { path: path.into(), file: read(files, path)? })).collect()
}

fn read(files: &dyn Files, path: &Path) -> Result<Option<SavedFile>, InstallError> {
    let failed = |source| InstallError::Present { path: path.into(), source };
    let found = match files.look(path) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        // Nothing is below a directory that is not there.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    if found.kind != Kind::File {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let content = files.read(path, MOST_FILE).map_err(failed)?;
    // Bits beyond the permissions are not Pinion's to give, so they are not put back either.
    let mode = FileMode::from_bits(found.mode & 0o777).map_err(|e| failed(io::Error::other(e)))?;
    Ok(Some(SavedFile { uid: found.uid, gid: found.gid, mode, content }))
}

/// A plan whose new files are all written beside their targets.
#[derive(Debug)]
pub struct Prepared<'a> {
    files: &'a dyn Files,
    plan: &'a Plan,
}

/// Writes every new file beside its target.
///
/// # Errors
/// An operation fails; what was written is removed again.
pub fn prepare<'a>(files: &'a dyn Files, plan: &'a Plan) -> Result<Prepared<'a>, InstallError> {
    for directory in &plan.make {
        match files.make_directory(directory, DIRECTORY_MODE) {
            Ok(()) => {}
            // Another placement of the same service made it meanwhile.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed("make the directory", directory)(source)),
        }
    }
    let prepared = Prepared { files, plan };
    for write in &plan.writes {
        if let Err(e) = write_beside(files, write) {
            prepared.discard();
            return Err(e);
        }
    }
    Ok(prepared)
}

impl Prepared<'_> {
    /// Puts every file in its place, in the plan's order, and removes what the plan removes.
    ///
    /// # Errors
    /// An operation fails: some targets may be new and some old.
    pub fn switch(&self) -> Result<(), InstallError> {
        for write in &self.plan.writes {
            self.files.rename(&write.temporary, &write.target).map_err(failed("put in place", &write.target))?;
        }
        for path in &self.plan.removes {
            match self.files.remove(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", path)(e)),
                _ => {}
            }
        }
        for directory in self.plan.directories() {
            self.files.sync_directory(directory).map_err(failed("sync the directory", directory))?;
        }
        Ok(())
    }

    /// Removes the new files instead.
    pub fn discard(&self) {
        clean(self.files, self.plan.writes.iter().map(|write| write.target.as_path()));
    }
}

/// Removes leftovers of an interrupted exchange at these targets, as far as possible.
pub fn clean<'a>(files: &dyn Files, targets: impl IntoIterator<Item = &'a Path>) {
    for target in targets {
        let leftover = temporary(target);
        if matches!(files.look(&leftover), Ok(Some(_)))
            && let Err(error) = files.remove(&leftover)
        {
            tracing::warn!(path = %leftover.display(), %error, "Could not remove a temporary file");
        }
    }
}

fn write_beside(files: &dyn Files, write: &Write) -> Result<(), InstallError> {
    let Write { temporary, target, file } = write;
    if files.look(temporary).map_err(failed("look at", temporary))?.is_some() {
        files.remove(temporary).map_err(failed("remove", temporary))?;
    }
    let mut new = files.create(temporary).map_err(failed("create a file beside", target))?;
    new.write(&file.content).map_err(failed("write", target))?;
    new.set_owner(file.uid, file.gid).map_err(|source| InstallError::Owner {
        path: target.clone(),
        uid: file.uid,
        gid: file.gid,
        source,
    })?;
    new.set_mode(file.mode.bits()).map_err(|source| InstallError::Mode {
        path: target.clone(),
        mode: file.mode,
        source,
    })?;
    new.sync().map_err(failed("sync", target))
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> InstallError + use<> {
    let path: PathBuf = path.into();
    move |source| InstallError::Operation { operation, path: path.clone(), source }
}
