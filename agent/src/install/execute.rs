//! Doing what a plan says.
//!
//! Invariants: every new file is wholly written, owned and synced beside its target before the first target changes
//! (only what is [`Prepared`] can be exchanged); content is in a file that only its owner can open until owner and mode
//! are right; a failure before [`Prepared::exchange`] leaves nothing behind.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use pinion_proto::spec::FileMode;

use super::{
    InstallError, MOST_FILE,
    files::{Files, Kind, NewFile},
    plan::{Plan, Write, temporary},
    replace::{Replacement, sync_together},
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

/// A plan whose new files are all written beside their targets, and not synced yet.
pub struct Written<'a> {
    files: &'a dyn Files,
    plan: &'a Plan,
    new: Vec<Box<dyn NewFile>>,
}

/// A plan whose new files are all on disk beside their targets.
#[derive(Debug)]
pub struct Prepared<'a> {
    files: &'a dyn Files,
    plan: &'a Plan,
}

/// A plan that is done, and on disk once its directories are synced: until then a power cut may undo any part of it.
#[derive(Debug)]
#[must_use = "what is not synced may be undone by a power cut"]
pub struct Exchanged {
    directories: Vec<PathBuf>,
}

/// Writes every new file beside its target.
///
/// # Errors
/// An operation fails; what was written is removed again.
pub fn write<'a>(files: &'a dyn Files, plan: &'a Plan) -> Result<Written<'a>, InstallError> {
    for directory in &plan.make {
        match files.make_directory(directory, DIRECTORY_MODE) {
            Ok(()) => {}
            // Another placement of the same service made it meanwhile.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed("make the directory", directory)(source)),
        }
    }
    let mut written = Written { files, plan, new: Vec::with_capacity(plan.writes.len()) };
    for write in &plan.writes {
        match write_beside(files, write) {
            Ok(new) => written.new.push(new),
            Err(e) => {
                written.discard();
                return Err(e);
            }
        }
    }
    Ok(written)
}

impl fmt::Debug for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<'a> Written<'a> {
    /// Syncs every file, and a journal that speaks of them with the same wait.
    ///
    /// # Errors
    /// One cannot be synced; the new files are removed again, the journal is not.
    pub fn sync(mut self, journal: Option<&mut Replacement>) -> Result<Prepared<'a>, InstallError> {
        let mut paths: Vec<PathBuf> = self.plan.writes.iter().map(|write| write.target.clone()).collect();
        let mut all: Vec<&mut dyn NewFile> = Vec::with_capacity(paths.len() + 1);
        for new in &mut self.new {
            all.push(&mut **new);
        }
        if let Some(journal) = journal {
            paths.push(journal.path().into());
            all.push(journal.file());
        }
        match sync_together(all) {
            Ok(()) => Ok(Prepared { files: self.files, plan: self.plan }),
            Err((at, source)) => {
                self.discard();
                Err(failed("sync", paths.get(at).map_or(Path::new(""), PathBuf::as_path))(source))
            }
        }
    }

    /// Removes the new files instead.
    pub fn discard(self) {
        clean(self.files, self.plan.writes.iter().map(|write| write.target.as_path()));
    }
}

impl Prepared<'_> {
    /// Puts every file in its place, in the plan's order, and removes what the plan removes.
    ///
    /// # Errors
    /// An operation fails: some targets may be new and some old.
    pub fn exchange(&self) -> Result<Exchanged, InstallError> {
        for write in &self.plan.writes {
            self.files.rename(&write.temporary, &write.target).map_err(failed("put in place", &write.target))?;
        }
        for path in &self.plan.removes {
            match self.files.remove(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", path)(e)),
                _ => {}
            }
        }
        Ok(Exchanged { directories: self.plan.directories().map(Path::to_path_buf).collect() })
    }

    /// Removes the new files instead.
    pub fn discard(&self) {
        clean(self.files, self.plan.writes.iter().map(|write| write.target.as_path()));
    }
}

impl Exchanged {
    /// An exchange that found all in its place, perhaps by an earlier one that was not synced.
    pub fn found<'a>(targets: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut directories: Vec<_> = targets.into_iter().filter_map(Path::parent).map(Path::to_path_buf).collect();
        directories.sort_unstable();
        directories.dedup();
        Self { directories }
    }

    /// Makes it survive a power cut.
    ///
    /// # Errors
    /// A directory cannot be synced.
    pub fn sync(&self, files: &dyn Files) -> Result<(), InstallError> {
        for directory in &self.directories {
            files.sync_directory(directory).map_err(failed("sync the directory", directory))?;
        }
        Ok(())
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

fn write_beside(files: &dyn Files, write: &Write) -> Result<Box<dyn NewFile>, InstallError> {
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
    Ok(new)
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> InstallError + use<> {
    let path: PathBuf = path.into();
    move |source| InstallError::Operation { operation, path: path.clone(), source }
}
