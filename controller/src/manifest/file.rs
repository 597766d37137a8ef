//! The manifest's file: read at start, and again whenever it changes.
//!
//! Invariant: a file that is bad, or gone, never replaces the manifest in force; it is told, once.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pinion_proto::bundle::Fingerprint;
use thiserror::Error;
use tokio::sync::watch;

use super::{Manifest, ManifestErrors};

/// How often the file is looked at. It is looked at rather than watched, because on pmxcfs a change that
/// another node makes raises no inotify event; a look is one stat.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A file changed so recently (seconds) may change again without its times showing it: it is read anew.
const UNSETTLED: i64 = 3;

/// Larger than any manifest (bytes); the parser has its own limit below this.
const MOST: u64 = 64 * 1024 * 1024;

/// The file and the manifest in force.
#[derive(Debug)]
pub struct ManifestFile {
    path: PathBuf,
    seen: Mutex<Option<Seen>>,
    in_force: watch::Sender<InForce>,
}

/// The manifest in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// What is desired.
    pub manifest: Arc<Manifest>,
    /// Why the file on disk is not what is in force.
    pub problem: Option<String>,
}

/// What was seen of the file last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    stat: Option<(u64, i64, i64, u64)>,
    content: Result<Fingerprint, String>,
}

impl ManifestFile {
    /// Reads the file. One that is missing is an empty manifest: nothing is desired yet.
    ///
    /// # Errors
    /// The file is bad or cannot be read.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let manifest = match read(path) {
            Ok(bytes) => parse(path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Manifest::empty(),
            Err(source) => return Err(FileError::Read { path: path.into(), source }),
        };
        let missing = !path.exists();
        let problem = missing.then(|| format!("{} does not exist yet: nothing is desired", path.display()));
        let in_force = InForce { manifest: Arc::new(manifest), problem };
        Ok(Self { path: path.into(), seen: Mutex::new(None), in_force: watch::channel(in_force).0 })
    }

    /// The manifest in force, now and at each change.
    #[must_use]
    pub fn in_force(&self) -> watch::Receiver<InForce> {
        self.in_force.subscribe()
    }

    /// Looks at the file until the future is dropped.
    pub async fn watch(&self) {
        loop {
            self.look();
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Looks at the file once; what has changed is in force, or told, when this returns.
    pub fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stat = fs::metadata(&self.path).ok().map(|m| (m.ino(), m.mtime(), m.mtime_nsec(), m.len()));
        let now = pinion_proto::clock::Timestamp::from(std::time::SystemTime::now()).unix();
        let settled = stat.is_none_or(|(_, changed, ..)| now.saturating_sub(changed) > UNSETTLED);
        if settled && seen.as_ref().is_some_and(|seen| seen.stat == stat) {
            return;
        }
        let bytes = read(&self.path);
        let content = bytes.as_ref().map(|bytes| Fingerprint::of(bytes)).map_err(ToString::to_string);
        let before = seen.replace(Seen { stat, content: content.clone() });
        if before.is_some_and(|before| before.content == content) {
            return;
        }
        let outcome = match bytes {
            Ok(bytes) => parse(&self.path, &bytes),
            Err(source) => Err(FileError::Read { path: self.path.clone(), source }),
        };
        match outcome {
            Ok(manifest) => {
                self.in_force.send_if_modified(|in_force| {
                    let changed = *in_force.manifest != manifest || in_force.problem.is_some();
                    if *in_force.manifest != manifest {
                        in_force.manifest = Arc::new(manifest);
                    }
                    in_force.problem = None;
                    changed
                });
            }
            Err(error) => {
                let problem = pinion_proto::causes::chain(&error);
                self.in_force.send_if_modified(|in_force| {
                    let changed = in_force.problem.as_ref() != Some(&problem);
                    in_force.problem = Some(problem);
                    changed
                });
            }
        }
    }
}

/// Reads and parses a manifest's file, for those who want it once.
///
/// # Errors
/// It cannot be read, or is bad.
pub fn load(path: &Path) -> Result<Manifest, FileError> {
    let bytes = read(path).map_err(|source| FileError::Read { path: path.into(), source })?;
    parse(path, &bytes)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Manifest, FileError> {
    Manifest::parse(bytes).map_err(|errors| FileError::Bad { path: path.into(), errors })
}

/// Why a file is no manifest.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the manifest {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something is wrong in it; each problem on a line of its own, with the file before it.
    #[error("{}", lines(path, errors))]
    Bad {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        errors: ManifestErrors,
    },
}

fn lines(path: &Path, errors: &ManifestErrors) -> String {
    let lines: Vec<_> = errors.to_string().lines().map(|line| format!("{}:{line}", path.display())).collect();
    lines.join("\n")
}
