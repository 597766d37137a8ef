//! What happened, in one file that only grows, for `pinion events`.
//!
//! Invariant: an event is told to the log and to the file once; losing the file, or not being able to write it, loses
//! history and nothing else.

mod journal;
mod limit;
mod what;
mod words;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use journal::Journal;
use pinion_proto::{
    clock::Timestamp,
    id::{CertificateName, Guest},
    lock::lock,
    printable::line,
    stage::{Halt, Trouble},
};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tracing::{info, warn};

use crate::caller::Caller;
pub(crate) use limit::EventLimit;
pub(crate) use what::{CertificateEvent, Document, GuestEvent, HostEvent, IssuerEvent, PlacementEvent, What};
pub(crate) use words::{WHILE_UNWRITABLE, taken_back_or_cloned};

/// The longest text (characters): a trouble with all its words.
const MAX_TEXT: usize = 16_000;

/// A follower that is further behind than this misses events and is told so.
const FOLLOW_QUEUE: usize = 1024;

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
    /// In words: one printable line.
    pub text: String,
}

impl Event {
    /// An event that concerns nothing in particular yet: made by `words` alone.
    fn new(at: Timestamp, kind: Kind, text: impl Into<String>) -> Self {
        Self {
            at,
            kind,
            guest: None,
            certificate: None,
            generation: None,
            serial: None,
            by: None,
            text: line(&text.into(), MAX_TEXT),
        }
    }

    fn guest(mut self, guest: Guest) -> Self {
        self.guest = Some(guest);
        self
    }

    fn certificate(mut self, certificate: &CertificateName) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    /// The event with the user who asked for it, also in its words.
    #[must_use]
    pub(crate) fn by(mut self, caller: &Caller) -> Self {
        self.text = format!("{}; requested by {caller}", self.text);
        self.by = Some(Box::new(caller.clone()));
        self
    }

    fn generation(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    fn serial(mut self, serial: &str) -> Self {
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

/// The events: written down, logged, and told to those who follow.
#[derive(Debug)]
pub struct Events {
    journal: Mutex<Journal>,
    live: broadcast::Sender<Arc<Event>>,
}

impl Events {
    /// The events of a directory, in its `events.jsonl`. A file that cannot be opened stops nothing:
    /// [`Self::trouble`] says so, and it is tried again with each event.
    #[must_use]
    pub fn open(directory: &Path) -> Self {
        let journal = Mutex::new(Journal::open(directory.join("events.jsonl")));
        Self { journal, live: broadcast::channel(FOLLOW_QUEUE).0 }
    }

    /// Records an event. While the file cannot be written the last ones are kept in memory.
    pub fn record(&self, event: Event) {
        let (kind, guest, certificate) = (event.kind.as_str(), event.guest, event.certificate.as_ref());
        let (guest, certificate) = (guest.map(tracing::field::display), certificate.map(tracing::field::display));
        let (generation, serial) = (event.generation, event.serial.as_deref());
        if event.kind.is_bad() {
            warn!(kind, guest, certificate, generation, serial, "{}", event.text);
        } else {
            info!(kind, guest, certificate, generation, serial, "{}", event.text);
        }
        self.journal().append(&event);
        // Nobody may be following.
        self.live.send(Arc::new(event)).ok();
    }

    /// Why events are not written down now, if so. The file is tried again first.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let mut journal = self.journal();
        journal.catch_up();
        let cause = journal.problem()?;
        Some(Trouble {
            halt: Halt::Waiting,
            attempt: "write the events".into(),
            cause,
            remedy: format!(
                "free space on its disk, or let the user that runs `pinion serve` write to {}; until then Pinion \
                 keeps the last {} events in memory, and the log (`journalctl -u pinion`) has all of them",
                journal.path().display(),
                journal::MAX_PENDING
            ),
            retry_at: None,
        })
    }

    /// The last `max` events, oldest first; lines that are no events are passed over. A file that cannot be read is
    /// told as an event of now.
    #[must_use]
    pub fn recent(&self, max: usize, now: Timestamp) -> Vec<Event> {
        let content = self.journal().content();
        let unreadable = content.unreadable();
        let mut events = content.last(max);
        if let Some(problem) = unreadable {
            events.push(What::Host(HostEvent::Unreadable(Document::Journal, problem)).at(now));
        }
        events
    }

    /// Events from now on.
    #[must_use]
    pub fn follow(&self) -> broadcast::Receiver<Arc<Event>> {
        self.live.subscribe()
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        // Every change under the lock is whole in itself.
        lock(&self.journal)
    }
}
