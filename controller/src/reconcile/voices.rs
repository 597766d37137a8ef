//! How much of the journal of events may be filled by what guests and strangers say.
//!
//! Invariant: whoever floods the controller fills a bounded part of the journal a day, so that what happened before
//! the flood can still be read, and what is not written down is told to be missing.

use std::{collections::HashMap, time::Duration};

use pinion_proto::{clock::Timestamp, id::Guest};

use super::Reconciler;
use crate::{
    events::{Event, GuestEvent, HostEvent, What},
    rate_limit::{RateLimit, TokenBucket},
};

/// A hundred placements in a busy hour, and after that as many events as a hundred 24-hour certificates bring.
const SAID: RateLimit = RateLimit { burst: 1000, every: Duration::from_secs(10) };

/// That events are missing is told no more often.
const TELL_MISSING: Duration = Duration::from_secs(3600);

/// The longest text that is written down (characters): a whole chain of causes and what to do.
const MOST_TEXT: usize = 1500;

/// Who fills the journal: guests, and all strangers together.
#[derive(Debug, Default)]
pub(super) struct Voices(HashMap<Option<Guest>, Voice>);

#[derive(Debug)]
struct Voice {
    left: TokenBucket,
    told_missing: Option<Timestamp>,
}

impl Reconciler {
    /// Records an event that a guest, or a stranger, brought about by what it said.
    pub(super) fn heard(&mut self, who: Option<Guest>, mut event: Event) {
        let now = event.at;
        let voice = self.voices.0.entry(who).or_insert_with(|| Voice { left: SAID.full(now), told_missing: None });
        if voice.left.take(now) {
            if let Some((end, _)) = event.text.char_indices().nth(MOST_TEXT) {
                event.text.truncate(end);
                event.text.push('…');
            }
            return self.record(event);
        }
        if voice.told_missing.is_some_and(|told| now.since(told) < TELL_MISSING && told <= now) {
            return;
        }
        voice.told_missing = Some(now);
        let missing = match who {
            Some(guest) => What::Guest(guest, GuestEvent::EventsLeftOut),
            None => What::Host(HostEvent::EventsLeftOut),
        };
        self.event(missing, now);
    }
}
