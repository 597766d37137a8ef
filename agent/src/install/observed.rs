//! What is at a placement's files now, for comparing and for putting back. Nothing is changed here.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use pinion_proto::{id::CertificateName, spec::FileMode};

use super::{
    InstallError,
    files::{Files, Kind},
    generations::{self, Generations},
};
use crate::ledger::{Saved, SavedFile};

/// The largest file that is kept for a rollback (bytes): certificates and keys are small.
const MAX_FILE: u64 = 1024 * 1024;

/// Everything that is there at some targets of one placement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// One for each target, in the order that was asked for.
    pub files: Vec<Present>,
    /// One for each directory that has a target.
    pub generations: Vec<ObservedGenerations>,
}

/// What is at one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its path, without a link on the way.
    pub target: PathBuf,
    /// What is there.
    pub at: At,
}

/// How something is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// Not at all.
    Nothing,
    /// As a regular file, or through a link of another placement's.
    File(SavedFile),
    /// Through a link to this placement's generation in use: what is there, if anything.
    Alias(Option<SavedFile>),
}

/// One directory's generations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedGenerations {
    /// The directory of the files.
    pub directory: PathBuf,
    /// Where the generations are.
    pub generations: Generations,
    /// The one in use.
    pub in_use: Option<u64>,
}

impl Observed {
    /// Looks at these targets of a placement.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn look<'a>(
        files: &dyn Files,
        certificate: &CertificateName,
        targets: impl IntoIterator<Item = &'a Path>,
    ) -> Result<Self, InstallError> {
        let mut observed = Self { files: Vec::new(), generations: Vec::new() };
        for target in targets {
            observed.files.push(Present { target: target.into(), at: look(files, certificate, target)? });
            let Some(directory) = target.parent() else { continue };
            if observed.generations(directory).is_none() {
                let generations = Generations::of(directory, certificate);
                let in_use = generations.in_use(files).map_err(failed(&generations.current()))?;
                observed.generations.push(ObservedGenerations { directory: directory.into(), generations, in_use });
            }
        }
        Ok(observed)
    }

    /// What is at a target.
    #[must_use]
    pub fn at(&self, target: &Path) -> &At {
        self.files.iter().find(|present| present.target == target).map_or(&At::Nothing, |present| &present.at)
    }

    /// The generations of a directory.
    #[must_use]
    pub fn generations(&self, directory: &Path) -> Option<&ObservedGenerations> {
        self.generations.iter().find(|found| found.directory == directory)
    }

    /// What the links of a directory lead to, besides these targets.
    pub fn others<'s>(
        &'s self,
        found: &'s ObservedGenerations,
        targets: impl Iterator<Item = &'s Path> + Clone,
    ) -> impl Iterator<Item = (&'s OsStr, &'s SavedFile)> {
        let here = self.files.iter().filter(|present| present.target.parent() == Some(&found.directory));
        here.filter(move |present| !targets.clone().any(|target| target == present.target)).filter_map(|present| {
            match &present.at {
                At::Alias(Some(file)) => Some((present.target.file_name()?, file)),
                At::Alias(None) | At::File(_) | At::Nothing => None,
            }
        })
    }

    /// What has to be remembered for the way back.
    #[must_use]
    pub fn saved(&self) -> Vec<Saved> {
        let one = |present: &Present| {
            let (file, generation) = match &present.at {
                At::Nothing | At::Alias(None) => (None, None),
                At::File(file) => (Some(file.clone()), None),
                At::Alias(Some(file)) => {
                    let found = present.target.parent().and_then(|directory| self.generations(directory));
                    (Some(file.clone()), found.and_then(|found| found.in_use))
                }
            };
            Saved { path: present.target.clone(), file, generation }
        };
        self.files.iter().map(one).collect()
    }
}

impl At {
    /// The content that a reader gets.
    #[must_use]
    pub fn file(&self) -> Option<&SavedFile> {
        match self {
            Self::Nothing => None,
            Self::File(file) => Some(file),
            Self::Alias(file) => file.as_ref(),
        }
    }
}

/// Where the content of a target really is: behind a link of Pinion's, and whose; none when it is no such link, or the
/// link leads nowhere.
///
/// # Errors
/// It cannot be looked at.
pub fn behind(files: &dyn Files, target: &Path) -> io::Result<Option<(CertificateName, Option<PathBuf>)>> {
    let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else { return Ok(None) };
    if !files.look(target)?.is_some_and(|found| found.kind == Kind::Link) {
        return Ok(None);
    }
    let Some(owner) = generations::owner(&files.read_link(target)?, name) else { return Ok(None) };
    let generations = Generations::of(directory, &owner);
    let real = generations.in_use(files)?.map(|generation| generations.directory_of(generation).join(name));
    Ok(Some((owner, real)))
}

/// A regular file's content, owner and mode; none when it is not there.
///
/// # Errors
/// It cannot be read, or is no regular file.
pub fn read(files: &dyn Files, path: &Path) -> Result<Option<SavedFile>, InstallError> {
    let found = match files.look(path) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        // Nothing is below a directory that is not there.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(path)(source)),
    };
    if found.kind != Kind::File {
        return Err(failed(path)(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let content = files.read(path, MAX_FILE).map_err(failed(path))?;
    let acl = files.acl(path).map_err(failed(path))?;
    let bits = acl.as_ref().map_or(found.mode, |acl| acl.mode(found.mode));
    // Bits beyond the permissions are not Pinion's to give, so they are not put back either.
    let mode = FileMode::from_bits(bits & 0o777).map_err(|e| failed(path)(io::Error::other(e)))?;
    Ok(Some(SavedFile { uid: found.uid, gid: found.gid, mode, acl, content }))
}

fn look(files: &dyn Files, certificate: &CertificateName, target: &Path) -> Result<At, InstallError> {
    let behind = match behind(files, target) {
        Ok(behind) => behind,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(At::Nothing),
        Err(e) => return Err(failed(target)(e)),
    };
    let Some((owner, real)) = behind else {
        return Ok(read(files, target)?.map_or(At::Nothing, At::File));
    };
    let file = real.map(|real| read(files, &real)).transpose()?.flatten();
    if owner == *certificate { Ok(At::Alias(file)) } else { Ok(file.map_or(At::Nothing, At::File)) }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> InstallError + use<> {
    let path: PathBuf = path.into();
    move |source| InstallError::Present { path: path.clone(), source }
}
