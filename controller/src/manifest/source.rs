//! Where the manifest is: a file, and a directory of further files beside it.
//!
//! Answers: which files are the manifest, and what do they contain?
//! Invariant: the files are those of one moment. If one changes while they are read, all of them are read again.

use std::{
    fs::{self, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{ManifestErrors, texts::FileText};

/// Larger than any file of a manifest (bytes); the parser has its own limit below this.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// More files than guests of a large host.
const MAX_FILES: usize = 1_000;

/// Files that change again and again while they are read are taken as they are, after so many tries.
const TRIES: usize = 3;

/// The manifest's place. `X.json` is one file together with the files `*.json` in the directory `X.d`; a directory is the
/// files `*.json` in it.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
}

/// A file that belongs to the manifest, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) path: PathBuf,
    /// None of what is no regular file, or cannot be looked at.
    stat: Option<Stat>,
}

/// What changes with a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    inode: u64,
    changed: (i64, i64),
    length: u64,
}

impl Listed {
    /// A path with what it leads to.
    fn of(path: PathBuf, metadata: Option<&Metadata>) -> Self {
        let stat = metadata.filter(|found| found.is_file()).map(|found| Stat {
            inode: found.ino(),
            changed: (found.mtime(), found.mtime_nsec()),
            length: found.len(),
        });
        Self { path, stat }
    }

    /// When its content changed last: seconds since 1970.
    pub(super) fn changed_at(&self) -> Option<i64> {
        self.stat.map(|stat| stat.changed.0)
    }
}

impl Source {
    /// The manifest at this path.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of further files.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        if self.path.is_dir() { self.path.clone() } else { beside(&self.path) }
    }

    /// The files of the directory, in the order of their names; none if there is no directory.
    ///
    /// # Errors
    /// It cannot be listed, or has too many.
    pub fn more_files(&self) -> Result<Vec<PathBuf>, FileError> {
        Ok(self.more()?.into_iter().map(|listed| listed.path).collect())
    }

    /// All files that are the manifest now, in their order; never none. If no file is there, the main file is among them.
    pub(super) fn list(&self) -> Result<Vec<Listed>, FileError> {
        let more = self.more()?;
        if self.path.is_dir() {
            return match more.is_empty() {
                true => Err(FileError::Empty { path: self.path.clone() }),
                false => Ok(more),
            };
        }
        // A link that leads nowhere is not an absent file.
        let is_absent = matches!(self.path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound);
        let main = (!is_absent || more.is_empty())
            .then(|| Listed::of(self.path.clone(), fs::metadata(&self.path).ok().as_ref()));
        Ok(main.into_iter().chain(more).collect())
    }

    /// All files with what they contain.
    pub(super) fn read(&self) -> Result<(Vec<Listed>, Vec<FileText>), FileError> {
        let mut listed = self.list()?;
        for _ in 1..TRIES {
            let texts = read_all(&listed);
            let again = self.list()?;
            if again == listed {
                return texts.map(|texts| (listed, texts));
            }
            listed = again;
        }
        read_all(&listed).map(|texts| (listed, texts))
    }

    fn more(&self) -> Result<Vec<Listed>, FileError> {
        let directory = self.directory();
        let failed = |source| FileError::List { path: directory.clone(), source };
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if !is_manifest_name(&path) {
                continue;
            }
            // Directories, pipes and the like are nobody's manifest. What cannot be looked at is a problem of its own.
            let metadata = fs::metadata(&path).ok();
            if metadata.as_ref().is_none_or(Metadata::is_file) {
                files.push(Listed::of(path, metadata.as_ref()));
            }
            if files.len() > MAX_FILES {
                return Err(FileError::TooMany { path: directory });
            }
        }
        files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }
}

/// `X.d` of `X.json`.
fn beside(path: &Path) -> PathBuf {
    let mut name = match path.extension() {
        Some(extension) if extension == "json" => path.with_extension("").into_os_string(),
        _ => path.as_os_str().to_owned(),
    };
    name.push(".d");
    name.into()
}

/// Whether a file of the directory belongs to the manifest by its name: hidden files, copies and what an editor leaves do not.
fn is_manifest_name(path: &Path) -> bool {
    let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !is_hidden && path.extension().is_some_and(|extension| extension == "json")
}

fn read_all(listed: &[Listed]) -> Result<Vec<FileText>, FileError> {
    let mut texts = Vec::with_capacity(listed.len());
    let mut left = MAX_BYTES;
    for Listed { path, .. } in listed {
        let mut bytes = Vec::new();
        fs::File::open(path)
            .and_then(|file| file.take(left).read_to_end(&mut bytes))
            .map_err(|source| FileError::Read { path: path.clone(), source })?;
        left = left.saturating_sub(bytes.len().try_into().unwrap_or(u64::MAX));
        texts.push(FileText { path: path.clone(), bytes });
        // The parser refuses so much.
        if left == 0 {
            break;
        }
    }
    Ok(texts)
}

/// Why files are no manifest.
#[derive(Debug, Error)]
pub enum FileError {
    /// A file cannot be read.
    #[error("cannot read the manifest {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why the system could not read it.
        source: io::Error,
    },
    /// The directory cannot be listed.
    #[error("cannot list the manifest's directory {path}")]
    List {
        /// The directory.
        path: PathBuf,
        /// Why the system could not list it.
        source: io::Error,
    },
    /// A directory without a file.
    #[error("{path} contains no manifest: no file whose name ends in .json")]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// More files than are read.
    #[error("{path} contains more than {MAX_FILES} files *.json: put several certificates into one file")]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
    /// Something is wrong in them; each problem is a line of its own, with its file first.
    #[error("{0}")]
    Bad(ManifestErrors),
}

impl FileError {
    /// Whether there is no manifest at all.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
