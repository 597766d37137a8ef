//! The directory of ledgers: one JSON document a placement, replaced whole, held by one agent at a time.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pinion_proto::{
    document::{self, DocumentError},
    file_lock::FileLock,
    id::CertificateName,
    lock as mutex,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::Ledger;
use crate::install::{
    files::Files,
    replace::{Replacement, replace},
};

/// The version of the document that this agent writes and reads.
const VERSION: u32 = 1;

/// A bundle of 500 names with a long chain, three times over, and the files that were there before (bytes).
const MAX_LEDGER: u64 = 8 * 1024 * 1024;

/// It has keys in it.
const MODE: u32 = 0o600;

/// The document around a ledger.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    placement: &'a Ledger,
}

#[derive(Deserialize)]
struct OwnedDocument {
    placement: Ledger,
}

/// An agent that has just stopped may leave its lock to a hook that it is starting, until the hook's program runs.
const LOCK_TIME: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The directory of ledgers; held by one agent at a time.
#[derive(Debug)]
pub struct Ledgers {
    directory: PathBuf,
    files: Arc<dyn Files>,
    lock: Mutex<Option<FileLock>>,
}

impl Ledgers {
    /// Opens the ledgers below `state`, making the directories where they are missing.
    ///
    /// # Errors
    /// The directory cannot be made or read, or another agent holds it.
    pub fn open(state: &Path, files: Arc<dyn Files>) -> Result<Self, LedgerError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LedgerError::Directory { path, source }
        };
        std::fs::create_dir_all(state).map_err(failed(state))?;
        // Links are resolved here, once: later operations follow none.
        let state = state.canonicalize().map_err(failed(state))?;
        let lock = lock(&state)?;
        let directory = state.join("placements");
        if files.look(&directory).map_err(failed(&directory))?.is_none() {
            files.make_directory(&directory, 0o700).map_err(failed(&directory))?;
            // A ledger is as safe as the way to it.
            files.sync_directory(&state).map_err(failed(&state))?;
        }
        Ok(Self { directory, files, lock: Mutex::new(Some(lock)) })
    }

    /// The agent's own directory, without a link on its way.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.directory.parent().unwrap_or(&self.directory)
    }

    /// Lets another agent have the directory.
    pub fn release(&self) {
        drop(mutex::lock(&self.lock).take());
    }

    /// Every placement that is remembered, each with its ledger or why it cannot be read.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn read_all(&self) -> Result<BTreeMap<CertificateName, Result<Ledger, LedgerError>>, LedgerError> {
        let failed = |source| LedgerError::Directory { path: self.directory.clone(), source };
        let mut all = BTreeMap::new();
        for file in self.files.list(&self.directory).map_err(failed)? {
            let name = file.to_str().and_then(|file| file.strip_suffix(".json")).and_then(|stem| stem.parse().ok());
            if let Some(name) = name {
                let ledger = self.read(&name);
                all.insert(name, ledger);
            }
        }
        Ok(all)
    }

    /// One placement's ledger; an empty one when nothing is remembered.
    ///
    /// # Errors
    /// The document is broken, newer than this agent, or cannot be read.
    pub fn read(&self, name: &CertificateName) -> Result<Ledger, LedgerError> {
        let path = self.path(name);
        let failed = |source| LedgerError::Read { path: path.clone(), source };
        if self.files.look(&path).map_err(failed)?.is_none() {
            return Ok(Ledger::default());
        }
        let broken = |why: String| LedgerError::Broken { path: path.clone(), why };
        let bytes = self.files.read(&path, MAX_LEDGER).map_err(|source| match source.kind() {
            io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput => broken(source.to_string()),
            _ => failed(source),
        })?;
        match document::parse(&bytes, VERSION) {
            Ok(OwnedDocument { placement }) => Ok(placement),
            Err(DocumentError::Newer(version)) => Err(LedgerError::Version { path, version }),
            Err(DocumentError::Malformed(why)) => Err(broken(why)),
        }
    }

    /// Whether something is remembered of a placement, as far as that can be seen.
    #[must_use]
    pub fn is_there(&self, name: &CertificateName) -> bool {
        match self.files.look(&self.path(name)) {
            Ok(found) => found.is_some(),
            Err(e) => e.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Remembers a placement.
    ///
    /// # Errors
    /// The document cannot be written; what was remembered before still is.
    pub fn write(&self, name: &CertificateName, ledger: &Ledger) -> Result<(), LedgerError> {
        let path = self.path(name);
        let written = document(ledger).and_then(|bytes| {
            self.make_directory()?;
            replace(&*self.files, &path, &bytes, MODE)
        });
        written.map_err(|source| LedgerError::Write { path, source })
    }

    /// Makes the directory again if somebody removed it, with the one that it is in: what is in memory is then all there is.
    fn make_directory(&self) -> io::Result<()> {
        let is_missing = match self.files.look(&self.directory) {
            Ok(found) => found.is_none(),
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        };
        if !is_missing {
            return Ok(());
        }
        let state = self.state();
        tracing::warn!(path = %self.directory.display(), "The directory of what is remembered was removed; making it again");
        std::fs::create_dir_all(state)?;
        self.files.make_directory(&self.directory, 0o700)?;
        self.files.sync_directory(state)
    }

    /// Writes what is to be remembered of a placement beside what is, so that it can be synced together with the
    /// files that it speaks of.
    ///
    /// # Errors
    /// The document cannot be written; nothing is left behind.
    pub fn draft(&self, name: &CertificateName, ledger: &Ledger) -> Result<Replacement, LedgerError> {
        let path = self.path(name);
        let written = document(ledger).and_then(|bytes| {
            self.make_directory()?;
            Replacement::write(&*self.files, &path, &bytes, MODE)
        });
        written.map_err(|source| LedgerError::Write { path, source })
    }

    /// Remembers what was drafted and synced.
    ///
    /// # Errors
    /// The document cannot be put in place.
    pub fn put(&self, draft: Replacement) -> Result<(), LedgerError> {
        let path = draft.path().to_owned();
        draft.put(&*self.files).map_err(|source| LedgerError::Write { path, source })
    }

    /// Forgets a placement.
    ///
    /// # Errors
    /// The document cannot be removed.
    pub fn remove(&self, name: &CertificateName) -> Result<(), LedgerError> {
        let path = self.path(name);
        let failed = |source| LedgerError::Write { path: path.clone(), source };
        self.make_directory().map_err(failed)?;
        if self.files.look(&path).map_err(failed)?.is_some() {
            self.files.remove(&path).map_err(failed)?;
            self.files.sync_directory(&self.directory).map_err(failed)?;
        }
        Ok(())
    }

    fn path(&self, name: &CertificateName) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }
}

/// Why something is not remembered.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The directory cannot be used.
    #[error("cannot use the directory {path}: the agent, and nobody else, must be able to write there", path = path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Someone else uses it.
    #[error("another pinion-agent is using {path}: stop that one first", path = path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A document cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A document says nothing intelligible.
    #[error("{path} is damaged: {why}", path = path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// The parser's reason.
        why: String,
    },
    /// A document of another version.
    #[error("{path} has version {version}, but this agent reads {VERSION}", path = path.display())]
    Version {
        /// Which.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A document cannot be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl LedgerError {
    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Directory { .. } => "make the directory writable for the agent".into(),
            Self::Busy { .. } => "stop the other agent".into(),
            Self::Read { .. } => "let the agent's user read the file".into(),
            Self::Broken { path, .. } => format!(
                "restore {0} from a backup, or remove it: Pinion then orders the certificate again, and the \
                 installed files stay until it arrives",
                path.display()
            ),
            Self::Version { .. } => "install the agent that wrote it, or a newer agent".into(),
            Self::Write { .. } => "free space on the disk, or let the agent's user write to the directory".into(),
        }
    }
}

/// A ledger as it is written: whole, with its keys.
fn document(ledger: &Ledger) -> io::Result<Zeroizing<Vec<u8>>> {
    let document = Document { version: VERSION, placement: ledger };
    // Sized at once, because growing would leave copies of the keys behind in freed memory; and no larger than it is,
    // because the thread that writes keeps what it had.
    let mut size = Count(0);
    serde_json::to_writer(&mut size, &document)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size.0));
    serde_json::to_writer(&mut *bytes, &document)?;
    Ok(bytes)
}

/// Counts bytes and keeps none.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock(state: &Path) -> Result<FileLock, LedgerError> {
    let path = state.join("lock");
    let deadline = Instant::now() + LOCK_TIME;
    loop {
        match FileLock::try_new(&path) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Ok(None) => return Err(LedgerError::Busy { path: state.into() }),
            Err(source) => return Err(LedgerError::Directory { path, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use pinion_proto::{key::KeyAlgorithm, names::SubjectName};

    use pinion_proto::private_key::PrivateKey;

    use super::*;
    use crate::{
        install::files::RealFiles,
        ledger::{Journal, PendingRequest, Phase, Saved, SavedFile},
    };

    #[test]
    fn what_is_written_is_read_back_and_kept_from_others() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let ledgers = Ledgers::open(&kept.path().join("state"), Arc::new(RealFiles)).expect("opened");
        let name: CertificateName = "docker".parse().expect("a name");
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).expect("a key");
        let pem = key.to_pem();
        let common_name: SubjectName = "a.example".parse().expect("a name");
        let ledger = Ledger {
            last_generation: 4,
            order: Some(PendingRequest {
                generation: 4,
                names: vec![common_name.clone()].try_into().expect("names"),
                common_name,
                algorithm: KeyAlgorithm::EcdsaP256,
                key: Some(key),
                request: vec![1, 2, 3],
            }),
            journal: Some(Journal {
                phase: Phase::Forward,
                saved: vec![Saved {
                    path: "/etc/ssl/key".into(),
                    generation: None,
                    file: Some(SavedFile {
                        acl: None,
                        uid: 0,
                        gid: 0,
                        mode: "0600".parse().expect("a mode"),
                        content: Zeroizing::new(b"secret bytes".to_vec()),
                    }),
                }],
                previous: None,
                was_serving: true,
                silent: vec!["127.0.0.1:25".parse().expect("an address")],
            }),
            ..Ledger::default()
        };
        ledgers.write(&name, &ledger).expect("written");
        assert_eq!(ledgers.read(&name).expect("read"), ledger);
        assert_eq!(ledgers.read_all().expect("read").len(), 1);
        let path = kept.path().join("state/placements/docker.json");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("a parent"))), (0o600, 0o700));
        let shown = format!("{ledger:?}");
        let secret = pem.lines().nth(1).expect("a line of the key");
        assert!(!shown.contains(secret) && !shown.contains("secret bytes") && !shown.contains("115, 101"), "{shown}");
        ledgers.remove(&name).expect("removed");
        assert_eq!(ledgers.read(&name).expect("nothing"), Ledger::default());
    }
}
