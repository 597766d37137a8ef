//! What happened, in one file that only grows, for `pinion events`.
//!
//! Invariant: an event is told to the log and to the file once; losing the file loses history, nothing else.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use pinion_proto::{
    clock::Timestamp,
    id::{CertificateName, Guest},
};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tracing::{info, warn};

use crate::admin::caller::Caller;

/// At this size (bytes) the file becomes the old one and a new one begins: some 40,000 events each.
const MOST: u64 = 8 * 1024 * 1024;

/// A follower that is further behind than this misses events and is told so.
const FOLLOW_QUEUE: usize = 1024;

/// The longest line that is read back (bytes).
const MOST_LINE: usize = 64 * 1024;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: Kind,
    /// In which guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
    /// With which certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateName>,
    /// With which of its contents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The leaf's serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The local user who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<Caller>>,
    /// In words.
    pub text: String,
}

impl Event {
    /// An event that concerns nothing in particular yet.
    #[must_use]
    pub fn new(at: Timestamp, kind: Kind, text: impl Into<String>) -> Self {
        Self { at, kind, guest: None, certificate: None, generation: None, serial: None, by: None, text: text.into() }
    }

    /// The event with its guest.
    #[must_use]
    pub fn guest(mut self, guest: Guest) -> Self {
        self.guest = Some(guest);
        self
    }

    /// The event with its certificate.
    #[must_use]
    pub fn certificate(mut self, certificate: &CertificateName) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    /// The event with the user who asked for it, also in its words.
    #[must_use]
    pub fn by(mut self, caller: &Caller) -> Self {
        self.text = format!("{}; asked by {caller}", self.text);
        self.by = Some(Box::new(caller.clone()));
        self
    }

    /// The event with its generation.
    #[must_use]
    pub fn generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    /// The event with its serial number.
    #[must_use]
    pub fn serial(mut self, serial: &str) -> Self {
        self.serial = Some(serial.to_owned());
        self
    }
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The controller has started or stops.
    Controller,
    /// A manifest is in force, or one was rejected.
    Manifest,
    /// A token was made.
    Token,
    /// A guest got an identity.
    Joined,
    /// An identity was renewed.
    Renewed,
    /// An agent was brought into a guest.
    Enrolled,
    /// A guest is linked.
    Linked,
    /// A guest's link is gone.
    Unlinked,
    /// A guest was taken back to an earlier state: rolled back to a snapshot, or restored.
    RolledBack,
    /// Something was refused: a join, a link, a request.
    Refused,
    /// A certificate was signed.
    Issued,
    /// A certificate that was replaced was revoked.
    Revoked,
    /// An issuer has other roots.
    Roots,
    /// Signing, or revoking, failed.
    Failed,
    /// A placement has come to another stage.
    Stage,
    /// A placement is held up in its guest.
    Trouble,
    /// A placement is no longer in the manifest.
    Retired,
    /// A placement's files were removed.
    Purged,
    /// A guest was destroyed, or made anew.
    Destroyed,
    /// A person asked for something.
    Asked,
}

impl Kind {
    /// The kind's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Manifest => "manifest",
            Self::Token => "token",
            Self::Joined => "joined",
            Self::Renewed => "renewed",
            Self::Enrolled => "enrolled",
            Self::RolledBack => "rolled-back",
            Self::Linked => "linked",
            Self::Unlinked => "unlinked",
            Self::Refused => "refused",
            Self::Issued => "issued",
            Self::Revoked => "revoked",
            Self::Roots => "roots",
            Self::Failed => "failed",
            Self::Stage => "stage",
            Self::Trouble => "trouble",
            Self::Retired => "retired",
            Self::Purged => "purged",
            Self::Destroyed => "destroyed",
            Self::Asked => "asked",
        }
    }

    /// Whether an operator should look.
    fn is_bad(self) -> bool {
        matches!(self, Self::Unlinked | Self::Refused | Self::Failed | Self::Trouble)
    }
}

/// The journal of events.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: Mutex<Option<File>>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Events {
    /// Opens `events.jsonl` in a directory that exists.
    ///
    /// # Errors
    /// The file cannot be opened for appending.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("events.jsonl");
        let file = append(&path)?;
        Ok(Self { path, file: Mutex::new(Some(file)), live: broadcast::channel(FOLLOW_QUEUE).0 })
    }

    /// Records an event. A full disk costs the event, and is told to the log.
    pub fn record(&self, event: Event) {
        let (kind, guest, certificate) = (event.kind.as_str(), event.guest, event.certificate.as_ref());
        let (guest, certificate) = (guest.map(tracing::field::display), certificate.map(tracing::field::display));
        let (generation, serial) = (event.generation, event.serial.as_deref());
        if event.kind.is_bad() {
            warn!(kind, guest, certificate, generation, serial, "{}", event.text);
        } else {
            info!(kind, guest, certificate, generation, serial, "{}", event.text);
        }
        if let Err(error) = self.append(&event) {
            warn!(%error, path = %self.path.display(), "Cannot write the event down");
        }
        // Nobody may be following.
        self.live.send(Arc::new(event)).ok();
    }

    /// The last `most` events, oldest first; lines that are no events are passed over.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn recent(&self, most: usize) -> io::Result<Vec<Event>> {
        let mut events = std::collections::VecDeque::new();
        for path in [old(&self.path), self.path.clone()] {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for line in BufReader::new(file).split(b'\n') {
                let line = line?;
                if line.len() > MOST_LINE {
                    continue;
                }
                if let Ok(event) = serde_json::from_slice(&line) {
                    if events.len() == most {
                        events.pop_front();
                    }
                    events.push_back(event);
                }
            }
        }
        Ok(events.into())
    }

    /// Events from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<Event>> {
        self.live.subscribe()
    }

    fn append(&self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let mut slot = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut file = match slot.take() {
            Some(file) => file,
            None => append(&self.path)?,
        };
        if file.metadata()?.len() > MOST {
            fs::rename(&self.path, old(&self.path))?;
            file = append(&self.path)?;
        }
        file.write_all(&line)?;
        *slot = Some(file);
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn old(path: &Path) -> PathBuf {
    path.with_extension("1.jsonl")
}
