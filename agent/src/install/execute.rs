//! Doing what a plan says.
//!
//! Invariants: every new file is wholly written, owned and synced where nobody reads it before the first step (only what
//! is [`Prepared`] can be exchanged); content is in a file that only its owner can open until owner and mode are right; a failure before
//! [`Prepared::exchange`] leaves nothing behind.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::{
    InstallError,
    files::{Files, NewFile},
    generations,
    replace::{Replacement, at_once, sync_together},
    steps::{Plan, Step, Write, temporary},
};

/// A directory on the way to a certificate; the files in it have modes of their own.
const DIRECTORY_MODE: u32 = 0o755;

/// A plan whose new files and links are all made where nobody reads them, and not synced yet.
pub struct Written<'a> {
    files: &'a dyn Files,
    plan: &'a Plan,
    new: Vec<Box<dyn NewFile>>,
}

/// A plan whose new files and links are all on disk.
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

/// Makes everything new where nobody reads it yet.
///
/// # Errors
/// An operation fails; what was made is removed again.
pub fn write<'a>(files: &'a dyn Files, plan: &'a Plan) -> Result<Written<'a>, InstallError> {
    let mut written = Written { files, plan, new: Vec::with_capacity(plan.writes.len()) };
    match written.make() {
        Ok(()) => Ok(written),
        Err(e) => {
            written.discard();
            Err(e)
        }
    }
}

impl fmt::Debug for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl<'a> Written<'a> {
    fn make(&mut self) -> Result<(), InstallError> {
        let Self { files, plan, new } = self;
        for directory in plan.make.iter().chain(&plan.fresh) {
            match files.make_directory(directory, DIRECTORY_MODE) {
                Ok(()) => {}
                // Another placement of the same service made it meanwhile, or an exchange that was broken off.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(failed("make the directory", directory)(source)),
            }
        }
        for directory in &plan.fresh {
            generations::empty(*files, directory).map_err(failed("empty", directory))?;
        }
        for write in &plan.writes {
            new.push(write_new(*files, write)?);
        }
        for link in &plan.links {
            remove_leftover(*files, &link.path)?;
            files.make_link(&link.path, &link.to).map_err(failed("make the link", &link.path))?;
        }
        Ok(())
    }

    /// Syncs every file, and a journal that speaks of them with the same wait.
    ///
    /// # Errors
    /// One cannot be synced; what was made is removed again, the journal is not.
    pub fn sync(mut self, journal: Option<&mut Replacement>) -> Result<Prepared<'a>, InstallError> {
        match self.try_sync(journal) {
            Ok(()) => Ok(Prepared { files: self.files, plan: self.plan }),
            Err(e) => {
                self.discard();
                Err(e)
            }
        }
    }

    fn try_sync(&mut self, journal: Option<&mut Replacement>) -> Result<(), InstallError> {
        let Self { files, plan, new } = self;
        let mut paths: Vec<PathBuf> = plan.writes.iter().map(|write| write.path.clone()).collect();
        let mut all: Vec<&mut dyn NewFile> = Vec::with_capacity(paths.len() + 1);
        for new in new {
            all.push(&mut **new);
        }
        if let Some(journal) = journal {
            paths.push(journal.path().into());
            all.push(journal.file());
        }
        // A link to a directory must not outlive it in a power cut.
        let parents = plan.fresh.iter().chain(&plan.make).filter_map(|directory| directory.parent());
        let directories: Vec<_> = plan.fresh.iter().map(PathBuf::as_path).chain(parents).collect();
        let files: &dyn Files = *files;
        let (entries, contents) =
            at_once(|| sync_directories(files, directories.iter().copied()), || sync_together(all));
        contents
            .map_err(|(at, source)| failed("sync", paths.get(at).map_or(Path::new(""), PathBuf::as_path))(source))?;
        entries
    }

    /// Removes what was made instead.
    pub fn discard(self) {
        discard(self.files, self.plan);
    }
}

impl Prepared<'_> {
    /// Takes the plan's steps, in their order.
    ///
    /// # Errors
    /// An operation fails: some steps may be taken and some not, and what was made may be read by now.
    pub fn exchange(self) -> Result<Exchanged, InstallError> {
        let Self { files, plan } = self;
        for step in &plan.steps {
            match step {
                Step::Rename { from, to } => files.rename(from, to).map_err(failed("put in place", to))?,
                Step::Remove(path) => match files.remove(path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", path)(e)),
                    _ => {}
                },
            }
        }
        Ok(Exchanged::found(plan.steps.iter().map(Step::path).chain(plan.make.iter().map(PathBuf::as_path))))
    }

    /// Removes what was made instead.
    pub fn discard(self) {
        discard(self.files, self.plan);
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
        sync_directories(files, self.directories.iter().map(PathBuf::as_path))
    }
}

/// Syncs each of these once.
fn sync_directories<'a>(files: &dyn Files, directories: impl Iterator<Item = &'a Path>) -> Result<(), InstallError> {
    let mut directories: Vec<&Path> = directories.collect();
    directories.sort_unstable();
    directories.dedup();
    directories
        .into_iter()
        .try_for_each(|directory| files.sync_directory(directory).map_err(failed("sync the directory", directory)))
}

fn discard(files: &dyn Files, plan: &Plan) {
    for path in plan.writes.iter().map(|write| &write.path).chain(plan.links.iter().map(|link| &link.path)) {
        remove_if_there(files, path);
    }
    for directory in &plan.fresh {
        // What cannot be removed now is emptied by the next try.
        drop(files.remove_directory(directory));
    }
}

/// Removes leftovers of an interrupted exchange at these targets, as far as possible.
pub fn clean<'a>(files: &dyn Files, targets: impl IntoIterator<Item = &'a Path>) {
    for target in targets {
        remove_if_there(files, &temporary(target));
    }
}

fn remove_if_there(files: &dyn Files, path: &Path) {
    if matches!(files.look(path), Ok(Some(_)))
        && let Err(error) = files.remove(path)
    {
        tracing::warn!(path = %path.display(), %error, "Could not remove a temporary file");
    }
}

fn remove_leftover(files: &dyn Files, path: &Path) -> Result<(), InstallError> {
    if files.look(path).map_err(failed("look at", path))?.is_some() {
        files.remove(path).map_err(failed("remove", path))?;
    }
    Ok(())
}

fn write_new(files: &dyn Files, write: &Write) -> Result<Box<dyn NewFile>, InstallError> {
    let Write { path, file } = write;
    remove_leftover(files, path)?;
    let mut new = files.create(path).map_err(failed("make the file", path))?;
    new.write(&file.content).map_err(failed("write", path))?;
    new.set_owner(file.uid, file.gid).map_err(|source| InstallError::Owner {
        path: path.clone(),
        uid: file.uid,
        gid: file.gid,
        source,
    })?;
    new.set_mode(file.mode.bits()).map_err(|source| InstallError::Mode {
        path: path.clone(),
        mode: file.mode,
        source,
    })?;
    new.set_acl(file.acl.as_ref(), file.mode).map_err(failed("set the access control list of", path))?;
    Ok(new)
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> InstallError + use<> {
    let path: PathBuf = path.into();
    move |source| InstallError::Operation { operation, path: path.clone(), source }
}
