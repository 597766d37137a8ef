//! The manifest's file: read at start, and again whenever it changes.
//!
//! Invariant: a file that is bad, or gone, never replaces the manifest in force, also over a restart: then the last good
//! one is in force, which is kept in the local area. The problem is reported once.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use pinion_proto::{
    bundle::Fingerprint,
    causes::chain,
    clock::{Clock, Timestamp},
    lock::lock,
    spec::PlainName,
};
use thiserror::Error;
use tokio::sync::watch;

use super::{
    Manifest, ManifestErrors,
    last_good::{self, LastGood},
};
use crate::store::Store;

/// How often the file is looked at. It is looked at rather than watched, because on pmxcfs a change that
/// another node makes raises no inotify event; a look is one stat.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A file changed so recently (seconds) may change again without its times showing it: it is read anew.
const UNSETTLED: i64 = 3;

/// Larger than any manifest (bytes); the parser has its own limit below this.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The file and the manifest in force.
#[derive(Debug)]
pub struct ManifestFile {
    path: PathBuf,
    /// Issuers whose roots nobody can place.
    without_roots: BTreeSet<PlainName>,
    seen: Mutex<Option<Seen>>,
    in_force: watch::Sender<InForce>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// What is to be kept; none before there is anything new.
    good: watch::Sender<Option<LastGood>>,
}

/// The manifest in force.
#[derive(Debug, Clone)]
pub struct InForce {
    /// The manifest in force.
    pub manifest: Arc<Manifest>,
    /// Why the file on disk is not what is in force.
    pub problem: Option<String>,
    /// Since when it is in force; none before there ever was one.
    pub since: Option<Timestamp>,
}

impl InForce {
    /// What the operator should know of it, the file and the place in it first: each a line.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let Some(problem) = &self.problem else { return Vec::new() };
        let text = match self.since {
            Some(since) => format!(
                "the manifest on disk is not in force: {problem}\nthe last good manifest is in force, read at \
                 {since}: Pinion renews by it, and reads the file again as soon as it is good"
            ),
            None => problem.clone(),
        };
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

/// What was seen of the file last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    stat: Option<(u64, i64, i64, u64)>,
    content: Result<Fingerprint, String>,
}

impl ManifestFile {
    /// Reads the file; of issuers `without_roots` it can place none. When it is bad or gone, the last good one that `store` has is in force; where there never was one,
    /// a file that is missing is an empty manifest: nothing is desired yet.
    ///
    /// # Errors
    /// The file is bad or cannot be read, and no good one is known.
    pub fn open(
        path: &Path,
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        without_roots: BTreeSet<PlainName>,
    ) -> Result<Self, FileError> {
        let kept = last_good::read(&store, &without_roots);
        let now = clock.now();
        let mut good = None;
        let in_force = match (read_and_parse(path, &without_roots), kept) {
            (Ok((text, manifest)), kept) => {
                let known = kept.filter(|kept| kept.manifest == manifest).map(|kept| kept.since);
                let since = known.unwrap_or(now);
                good = known.is_none().then_some(LastGood { since, text });
                InForce { manifest: Arc::new(manifest), problem: None, since: Some(since) }
            }
            (Err(error), Some(kept)) => {
                InForce { manifest: Arc::new(kept.manifest), problem: Some(chain(&error)), since: Some(kept.since) }
            }
            (Err(FileError::Read { source, .. }), None) if source.kind() == io::ErrorKind::NotFound => {
                let problem = format!("{} does not exist yet: Pinion has nothing to do", path.display());
                InForce { manifest: Arc::new(Manifest::empty()), problem: Some(problem), since: None }
            }
            (Err(error), None) => return Err(error),
        };
        let (in_force, good) = (watch::channel(in_force).0, watch::channel(good).0);
        Ok(Self { path: path.into(), without_roots, seen: Mutex::new(None), in_force, store, clock, good })
    }

    /// The manifest in force, now and at each change.
    #[must_use]
    pub fn in_force(&self) -> watch::Receiver<InForce> {
        self.in_force.subscribe()
    }

    /// Looks at the file, and keeps what is good, until the future is dropped.
    pub async fn watch(&self) {
        let look = async {
            loop {
                self.look();
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::join!(look, last_good::keep(self.store.clone(), self.good.subscribe()));
    }

    /// Looks at the file once; what has changed is in force, or reported, when this returns.
    pub fn look(&self) {
        let mut seen = lock(&self.seen);
        let stat = fs::metadata(&self.path).ok().map(|m| (m.ino(), m.mtime(), m.mtime_nsec(), m.len()));
        let now = Timestamp::from(std::time::SystemTime::now()).unix();
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
            Ok(bytes) => parse(&self.path, &bytes, &self.without_roots).map(|manifest| (bytes, manifest)),
            Err(source) => Err(FileError::Read { path: self.path.clone(), source }),
        };
        match outcome {
            Ok((bytes, manifest)) => self.take(&bytes, manifest),
            Err(error) => {
                let problem = chain(&error);
                self.in_force.send_if_modified(|in_force| {
                    let changed = in_force.problem.as_ref() != Some(&problem);
                    in_force.problem = Some(problem);
                    changed
                });
            }
        }
    }

    /// A good manifest is in force from now on.
    fn take(&self, bytes: &[u8], manifest: Manifest) {
        let now = self.clock.now();
        let mut other = false;
        self.in_force.send_if_modified(|in_force| {
            other = *in_force.manifest != manifest || in_force.since.is_none();
            let changed = other || in_force.problem.is_some();
            if other {
                in_force.manifest = Arc::new(manifest);
                in_force.since = Some(now);
            }
            in_force.problem = None;
            changed
        });
        if other {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.good.send_replace(Some(LastGood { since: now, text }));
        }
    }
}

/// Reads and parses a manifest's file, for those who want it once.
///
/// # Errors
/// It cannot be read, or is bad.
pub fn load(path: &Path) -> Result<Manifest, FileError> {
    read_and_parse(path, &BTreeSet::new()).map(|(_, manifest)| manifest)
}

fn read_and_parse(path: &Path, without_roots: &BTreeSet<PlainName>) -> Result<(String, Manifest), FileError> {
    let bytes = read(path).map_err(|source| FileError::Read { path: path.into(), source })?;
    let manifest = parse(path, &bytes, without_roots)?;
    // What was parsed is UTF-8.
    Ok((String::from_utf8_lossy(&bytes).into_owned(), manifest))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(path: &Path, bytes: &[u8], without_roots: &BTreeSet<PlainName>) -> Result<Manifest, FileError> {
    Manifest::parse_for(bytes, without_roots).map_err(|errors| FileError::Bad { path: path.into(), errors })
}

/// Why a file is no manifest.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the manifest {path}")]
    Read {
        /// The path of the manifest that was read.
        path: PathBuf,
        /// Why the system could not read it.
        source: io::Error,
    },
    /// Something is wrong in it; each problem on a line of its own, with the file before it.
    #[error("{}", lines(path, errors))]
    Bad {
        /// The path of the manifest that was read.
        path: PathBuf,
        /// Everything that is wrong.
        errors: ManifestErrors,
    },
}

fn lines(path: &Path, errors: &ManifestErrors) -> String {
    let lines: Vec<_> = errors.to_string().lines().map(|line| format!("{}:{line}", path.display())).collect();
    lines.join("\n")
}
