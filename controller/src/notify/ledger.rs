//! What one target has been told, and what it is to be told next: a message when something is new, lasts, or is over.
//!
//! Invariant: pure, and level-triggered: what is to be told follows from what is wrong now and from what was told. There is
//! no queue: a target that could not be told for an hour is told then what is so then. Nothing counts as told before
//! the target has taken it.

use std::{collections::BTreeMap, time::Duration};

use pinion_proto::clock::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    alarm::{Alarm, AlarmId, Alarms},
    message::{Entry, Message},
};

/// Urgent alarms wait for nothing but this, so that a storm of them is no storm of messages.
pub const URGENT_PAUSE: Duration = Duration::from_secs(5);

/// How messages follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// So long an alarm waits for others to go with it, unless it is urgent.
    pub group: Duration,
    /// An alarm that lasts is not told again before this.
    pub repeat: Duration,
    /// An alarm is over when it has been so for this long.
    pub clear_after: Duration,
}

/// What a target has been told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    told: BTreeMap<AlarmId, Told>,
    /// What it has not been told, and since when that is so.
    news: BTreeMap<AlarmId, Timestamp>,
    /// When it took the last message.
    last: Option<Timestamp>,
    /// When it was last reminded of what lasts; before the first time, when something began to last.
    reminded: Option<Timestamp>,
}

/// An alarm that a target knows of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// As it was told last.
    alarm: Alarm,
    /// When that was.
    at: Timestamp,
    /// Since when it is so.
    since: Timestamp,
    /// Since when it seems to be over.
    #[serde(skip)]
    over: Option<Timestamp>,
}

/// What of it outlives the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRecord {
    #[serde(default)]
    told: Vec<Told>,
    #[serde(default)]
    last: Option<Timestamp>,
    #[serde(default)]
    reminded: Option<Timestamp>,
}

impl Ledger {
    /// What was known before a restart.
    #[must_use]
    pub fn restore(record: LedgerRecord) -> Self {
        let LedgerRecord { told, last, reminded } = record;
        let told = told.into_iter().map(|told| (told.alarm.id(), told)).collect();
        Self { told, news: BTreeMap::new(), last, reminded }
    }

    /// What is to be known after a restart.
    #[must_use]
    pub fn record(&self) -> LedgerRecord {
        LedgerRecord { told: self.told.values().cloned().collect(), last: self.last, reminded: self.reminded }
    }

    /// When the target took the last message.
    #[must_use]
    pub fn last_sent(&self) -> Option<Timestamp> {
        self.last
    }

    /// How many alarms the target has been told that are not known to be over.
    #[must_use]
    pub fn told(&self) -> usize {
        self.told.len()
    }

    /// Takes in what is wrong now.
    pub fn look(&mut self, alarms: &Alarms, now: Timestamp) {
        self.forget_the_future(now);
        for (id, told) in &mut self.told {
            match alarms.get(id) {
                Some(alarm) => {
                    told.over = None;
                    // What has become less bad is no news.
                    if alarm.kind <= told.alarm.kind {
                        told.alarm = alarm.clone();
                    }
                }
                None if alarms.is_over(id) => drop(told.over.get_or_insert(now)),
                None => told.over = None,
            }
        }
        // What came and went before anybody was told is nobody's business.
        self.news.retain(|id, _| alarms.get(id).is_some());
        for (id, alarm) in alarms.firing() {
            if self.told.get(id).is_none_or(|told| told.alarm.kind < alarm.kind) {
                self.news.entry(id.clone()).or_insert(now);
            }
        }
    }

    /// A clock that was set back makes nobody wait.
    fn forget_the_future(&mut self, now: Timestamp) {
        let moments = self.told.values_mut().flat_map(|told| [Some(&mut told.at), told.over.as_mut()]).flatten();
        let moments = moments.chain(self.news.values_mut()).chain(&mut self.last).chain(&mut self.reminded);
        moments.for_each(|moment| *moment = (*moment).min(now));
    }

    /// What is to be told now; none when that is nothing.
    #[must_use]
    pub fn message(&self, alarms: &Alarms, rhythm: Rhythm, now: Timestamp) -> Option<Message> {
        let due = self.next(alarms, rhythm).is_some_and(|at| at <= now);
        due.then(|| {
            let news = self.news.iter().filter_map(|(id, since)| Some((alarms.get(id)?, *since)));
            let fired = news.map(|(alarm, since)| Entry::of(alarm, since)).collect();
            let entries = |told: Vec<&Told>| told.into_iter().map(|told| Entry::of(&told.alarm, told.since)).collect();
            let repeated = entries(self.lasting(rhythm, now));
            let cleared: Vec<_> = self.told.values().filter(|told| told.is_over(rhythm, now)).collect();
            let remaining =
                self.told.len() - cleared.len() + self.news.keys().filter(|id| !self.told.contains_key(id)).count();
            Message::new(now, fired, repeated, entries(cleared), remaining)
        })
    }

    /// When something is to be told next, if nothing changes.
    #[must_use]
    pub fn next(&self, alarms: &Alarms, rhythm: Rhythm) -> Option<Timestamp> {
        let after = |pause: Duration| move |at: Timestamp| self.last.map_or(at, |last| at.max(last + pause));
        let urgent = |id: &AlarmId| alarms.get(id).is_some_and(|alarm| alarm.kind.is_urgent());
        let (urgent, others): (Vec<_>, Vec<_>) = self.news.iter().partition(|(id, _)| urgent(id));
        let urgent = urgent.into_iter().map(|(_, since)| *since).min().map(after(URGENT_PAUSE));
        let others = others.into_iter().map(|(_, since)| *since + rhythm.group);
        let over = self.told.values().filter_map(|told| Some(told.over? + rhythm.clear_after));
        let others = others.chain(over).min().map(after(rhythm.group));
        let lasts = self.told.values().filter(|told| told.over.is_none()).map(|told| told.at).min();
        let lasts = lasts.map(|at| at.max(self.reminded.unwrap_or(at)) + rhythm.repeat);
        [urgent, others, lasts].into_iter().flatten().min()
    }

    /// What the target is reminded of: at most once in each time of repeating, and of nothing sooner than that.
    fn lasting(&self, rhythm: Rhythm, now: Timestamp) -> Vec<&Told> {
        if self.reminded.is_some_and(|at| at + rhythm.repeat > now) {
            return Vec::new();
        }
        let worse = |told: &Told| self.news.contains_key(&told.alarm.id());
        let lasts = |told: &&Told| told.over.is_none() && told.at + rhythm.repeat <= now && !worse(told);
        self.told.values().filter(lasts).collect()
    }

    /// The target has taken a message.
    pub fn delivered(&mut self, message: &Message, now: Timestamp) {
        for entry in message.cleared() {
            self.told.remove(&entry.alarm.id());
        }
        if self.told.is_empty() || !message.repeated().is_empty() {
            self.reminded = Some(now);
        }
        for entry in message.fired().iter().chain(message.repeated()) {
            let id = entry.alarm.id();
            self.news.remove(&id);
            let since = self.told.get(&id).map_or(entry.since, |told| told.since);
            self.told.insert(id, Told { alarm: entry.alarm.clone(), at: now, since, over: None });
        }
        self.last = Some(now);
    }
}

impl Told {
    fn is_over(&self, rhythm: Rhythm, now: Timestamp) -> bool {
        self.over.is_some_and(|over| over + rhythm.clear_after <= now)
    }
}

#[cfg(test)]
mod tests;
