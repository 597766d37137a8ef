//! What an alarm is.
//!
//! Invariant: an alarm is known by what it is about and of which topic it is, so that a certificate that goes from expiring to
//! expired is one alarm that has become worse, and not two.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is wrong. Within a topic, the later one is the worse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Something needs a person.
    Blocked,
    /// A certificate is past its renewal, and cannot be renewed.
    Expiring,
    /// The same, with less than a third of its renewal window left.
    RenewalLate,
    /// A certificate is past its end.
    Expired,
    /// A guest for which something is due is not linked.
    Silent,
    /// An issuer does not answer.
    IssuerDown,
    /// A guest's identity is locked.
    Locked,
}

/// What an alarm may be about. A subject has at most one alarm of each topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// [`Kind::Expiring`], [`Kind::RenewalLate`], [`Kind::Expired`].
    Expiry,
    /// [`Kind::Blocked`].
    Blocked,
    /// [`Kind::Silent`].
    Silent,
    /// [`Kind::IssuerDown`].
    Issuer,
    /// [`Kind::Locked`].
    Lock,
}

/// How bad an alarm is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is wrong (any more).
    Info,
    /// Somebody should look today.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl Kind {
    /// What it is about.
    #[must_use]
    pub fn topic(self) -> Topic {
        match self {
            Self::Expiring | Self::RenewalLate | Self::Expired => Topic::Expiry,
            Self::Blocked => Topic::Blocked,
            Self::Silent => Topic::Silent,
            Self::IssuerDown => Topic::Issuer,
            Self::Locked => Topic::Lock,
        }
    }

    /// Whether it is sent without waiting for others to go with it.
    #[must_use]
    pub fn is_urgent(self) -> bool {
        self.topic() == Topic::Expiry
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::Expired | Self::RenewalLate | Self::Locked => Severity::Critical,
            Self::Blocked | Self::Expiring | Self::Silent | Self::IssuerDown => Severity::Warning,
        }
    }

    /// Its words, as people read them after what it is about.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Expiring => "expiring",
            Self::RenewalLate => "renewal late",
            Self::Expired => "expired",
            Self::Silent => "silent",
            Self::IssuerDown => "issuer down",
            Self::Locked => "locked",
        }
    }
}

/// By what an alarm is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlarmId {
    /// Of which topic it is.
    pub topic: Topic,
    /// What it is about: `web@101`, `guest 101`, `step-ca`, `host`.
    pub subject: String,
}

/// Something that somebody should be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// What is wrong.
    pub kind: Kind,
    /// With what.
    pub subject: String,
    /// Everything else, in one line: when, why, and what to do.
    pub text: String,
}

impl Alarm {
    /// By what it is known.
    #[must_use]
    pub fn id(&self) -> AlarmId {
        AlarmId { topic: self.kind.topic(), subject: self.subject.clone() }
    }
}

/// Everything that is wrong at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alarms {
    firing: BTreeMap<AlarmId, Alarm>,
    /// What may be wrong, which is not known yet: neither news nor the end of an alarm.
    unsettled: BTreeSet<AlarmId>,
    /// Topics of which nothing is known yet.
    unknown: BTreeSet<Topic>,
}

impl Alarms {
    /// Nothing is known yet.
    #[must_use]
    pub fn unknown() -> Self {
        let unknown = [Topic::Expiry, Topic::Blocked, Topic::Silent, Topic::Issuer, Topic::Lock].into();
        Self { unknown, ..Self::default() }
    }

    /// Nothing is known yet of one topic.
    #[must_use]
    pub fn without(topic: Topic) -> Self {
        Self { unknown: [topic].into(), ..Self::default() }
    }

    /// One more is wrong; of two that are known by the same, the worse one stays.
    pub fn add(&mut self, alarm: Alarm) {
        let id = alarm.id();
        if self.firing.get(&id).is_none_or(|known| known.kind <= alarm.kind) {
            self.firing.insert(id, alarm);
        }
    }

    /// Whether this is wrong is not known yet.
    pub fn unsettle(&mut self, id: AlarmId) {
        self.unsettled.insert(id);
    }

    /// Takes in what somebody else has found.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        other.firing.values().for_each(|alarm| self.add(alarm.clone()));
        self.unsettled.extend(other.unsettled.iter().cloned());
        self.unknown.extend(&other.unknown);
        self
    }

    /// Everything that is wrong.
    pub fn firing(&self) -> impl Iterator<Item = (&AlarmId, &Alarm)> {
        self.firing.iter()
    }

    /// This alarm, if it is wrong now.
    #[must_use]
    pub fn get(&self, id: &AlarmId) -> Option<&Alarm> {
        self.firing.get(id)
    }

    /// Whether it is known that this is not wrong.
    #[must_use]
    pub fn is_over(&self, id: &AlarmId) -> bool {
        !self.firing.contains_key(id) && !self.unsettled.contains(id) && !self.unknown.contains(&id.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_the_worst_alarm_of_a_topic_and_one_of_each() {
        let alarm = |kind, text: &str| Alarm { kind, subject: "web@101".into(), text: text.into() };
        let mut alarms = Alarms::default();
        for kind in [Kind::Expired, Kind::Expiring, Kind::Blocked, Kind::RenewalLate] {
            alarms.add(alarm(kind, "x"));
        }
        let kinds: Vec<_> = alarms.firing().map(|(_, alarm)| alarm.kind).collect();
        assert_eq!(kinds, [Kind::Expired, Kind::Blocked]);
        let mut other = Alarms::without(Topic::Lock);
        other.add(alarm(Kind::Silent, "y"));
        other.unsettle(AlarmId { topic: Topic::Issuer, subject: "ca".into() });
        let all = alarms.and(&other);
        let over = |topic, subject: &str| all.is_over(&AlarmId { topic, subject: subject.into() });
        assert!(!over(Topic::Expiry, "web@101") && !over(Topic::Silent, "web@101") && !over(Topic::Issuer, "ca"));
        assert!(!over(Topic::Lock, "guest 7"), "nobody knows yet");
        assert!(over(Topic::Issuer, "other") && over(Topic::Expiry, "web@102"));
    }
}
