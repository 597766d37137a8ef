//! What happened, in one file that only grows, for `pinion events`.
//!
//! Invariant: an event is told to the log and to the file once; losing the file, or not being able to write it, loses
//! history and nothing else.

mod counts;
mod document;
mod event;
mod examples;
mod journal;
mod limit;
mod what;
mod words;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use event::Urgency;
use journal::Journal;
use pinion_proto::{
    clock::Timestamp,
    lock::lock,
    stage::{Halt, Trouble},
};
use tokio::sync::broadcast;
use tracing::{error, info, warn};

pub use counts::{EventCounts, PlacementCounts};
pub(crate) use document::Document;
pub use event::{Event, Kind};
pub use examples::examples;
pub(crate) use limit::EventLimit;
pub(crate) use what::{CertificateEvent, GuestEvent, HostEvent, IssuerEvent, NameEvent, PlacementEvent, What};
pub(crate) use words::{WHILE_UNWRITABLE, taken_back_or_cloned};

/// A follower that is further behind than this misses events and is told so.
const FOLLOW_QUEUE: usize = 1024;

/// The events: written down, logged, and told to those who follow.
#[derive(Debug)]
pub struct Events {
    journal: Mutex<Journal>,
    live: broadcast::Sender<Arc<Event>>,
    /// Since the controller started.
    counts: Mutex<EventCounts>,
    /// What the file had when it was first asked for.
    earlier: OnceLock<EventCounts>,
}

impl Events {
    /// The events of a directory, in its `events.jsonl`. A file that cannot be opened stops nothing:
    /// [`Self::trouble`] says so, and it is tried again with each event.
    #[must_use]
    pub fn open(directory: &Path) -> Self {
        let journal = Mutex::new(Journal::open(directory.join("events.jsonl")));
        let (counts, earlier) = (Mutex::default(), OnceLock::new());
        Self { journal, live: broadcast::channel(FOLLOW_QUEUE).0, counts, earlier }
    }

    /// Records an event. While the file cannot be written the last ones are kept in memory.
    pub fn record(&self, event: Event) {
        let (kind, guest, certificate) = (event.kind.as_str(), event.guest, event.certificate.as_ref());
        let (guest, certificate) = (guest.map(tracing::field::display), certificate.map(tracing::field::display));
        let (generation, serial) = (event.generation, event.serial.as_deref());
        match event.kind.urgency() {
            Urgency::Error => error!(kind, guest, certificate, generation, serial, "{}", event.text),
            Urgency::Warning => warn!(kind, guest, certificate, generation, serial, "{}", event.text),
            Urgency::Info => info!(kind, guest, certificate, generation, serial, "{}", event.text),
        }
        self.journal().append(&event);
        lock(&self.counts).note(&event);
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

    /// The last `max` events, oldest first, as [`Self::recent_of`].
    #[must_use]
    pub fn recent(&self, max: usize, now: Timestamp) -> Vec<Event> {
        self.recent_of(max, now, |_| true)
    }

    /// The last `max` events that are meant, oldest first; lines that are no events are passed over. A file that cannot be read is
    /// told as an event of now.
    #[must_use]
    pub fn recent_of(&self, max: usize, now: Timestamp, is_meant: impl Fn(&Event) -> bool) -> Vec<Event> {
        let content = self.journal().content();
        let unreadable = content.unreadable();
        let mut events = content.last(max, is_meant);
        if let Some(problem) = unreadable {
            events.push(What::Host(HostEvent::Unreadable(Document::Journal, problem)).at(now));
        }
        events
    }

    /// What they add up to. The first call reads the whole file.
    #[must_use]
    pub fn counts(&self) -> EventCounts {
        let earlier = self.earlier.get_or_init(|| {
            let content = self.journal().content();
            let mut earlier = EventCounts::default();
            content.each(|event| earlier.recall(&event));
            earlier
        });
        earlier.clone().and(&lock(&self.counts))
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
