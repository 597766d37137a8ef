//! How much of the journal may be filled by what guests and strangers do.
//!
//! Invariant: whoever floods the controller fills a bounded part of the journal a day, so that what happened before the
//! flood can still be read; that events are missing is an event too.

use std::{collections::HashMap, time::Duration};

use pinion_proto::{clock::Timestamp, id::Guest};

use super::{Event, GuestEvent, HostEvent, What};
use crate::rate_limit::{RateLimit, TokenBucket};

/// A hundred placements in a busy hour, and after that as many events as a hundred 24-hour certificates bring.
const EVENTS: RateLimit = RateLimit { burst: 1000, every: Duration::from_secs(10) };

/// That events are missing is written no more often.
const MISSING_EVERY: Duration = Duration::from_secs(3600);

/// The longest text that is written (characters): a whole chain of causes and what to do.
const MAX_TEXT: usize = 1500;

/// What is left to each guest, and to all strangers together.
#[derive(Debug, Default)]
pub(crate) struct EventLimit(HashMap<Option<Guest>, Source>);

#[derive(Debug)]
struct Source {
    left: TokenBucket,
    reported_missing: Option<Timestamp>,
}

impl EventLimit {
    /// What is recorded of an event that a guest brought about, or a stranger (none): the event, that events are left
    /// out, or nothing.
    pub(crate) fn pass(&mut self, who: Option<Guest>, mut event: Event) -> Option<Event> {
        let now = event.at;
        let source = self.0.entry(who).or_insert_with(|| Source { left: EVENTS.full(now), reported_missing: None });
        if source.left.take(now) {
            if let Some((end, _)) = event.text.char_indices().nth(MAX_TEXT) {
                event.text.truncate(end);
                event.text.push('…');
            }
            return Some(event);
        }
        if source.reported_missing.is_some_and(|at| now.since(at) < MISSING_EVERY && at <= now) {
            return None;
        }
        source.reported_missing = Some(now);
        let missing = match who {
            Some(guest) => What::Guest(guest, GuestEvent::EventsLeftOut),
            None => What::Host(HostEvent::EventsLeftOut),
        };
        Some(missing.at(now))
    }
}

#[cfg(test)]
mod tests;
