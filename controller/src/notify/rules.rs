//! When is something an alarm?
//!
//! Invariant: pure: the same facts and the same moment give the same alarms, and nothing is remembered between two looks.

use std::time::Duration;

use pinion_proto::{
    clock::Timestamp,
    length::Length,
    printable::line,
    stage::{Halt, Trouble, Validity},
};

use super::alarm::{Alarm, AlarmId, Alarms, Kind, Topic};
use crate::manifest::first_problem;

/// The longest text of one alarm (characters): a cause may be a page.
const MAX_TEXT: usize = 600;

/// The longest name of what an alarm is about (characters).
const MAX_SUBJECT: usize = 200;

/// A renewal is late when less than this part of its window is left.
const LATE_PART: u32 = 3;

/// A certificate is valid up to the end of its last second.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// How long something may last before it is an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A guest may be silent so long although something is due.
    pub silent_after: Duration,
    /// An issuer may be down so long.
    pub issuer_down_after: Duration,
}

/// Everything that is looked at.
#[derive(Debug, Default)]
pub struct Facts {
    /// Every placement of the manifest.
    pub placements: Vec<PlacementFacts>,
    /// Placements of guests that are not linked: what was wrong with them may still be.
    pub unheard: Vec<String>,
    /// Guests that are not linked, and for which something is due.
    pub silent: Vec<SilentGuest>,
    /// Issuers that the manifest names.
    pub issuers: Vec<IssuerFacts>,
    /// What is wrong with the host as a whole.
    pub host: Vec<Trouble>,
    /// Why the manifest on disk is not in force.
    pub manifest: Option<String>,
}

/// A placement that is not simply good.
#[derive(Debug, Clone)]
pub struct PlacementFacts {
    /// `web@101`.
    pub label: String,
    /// What holds it up.
    pub trouble: Option<Trouble>,
    /// How good what it holds is.
    pub validity: Option<Validity>,
    /// When what it holds is renewed.
    pub renew_at: Option<Timestamp>,
    /// When what it holds ends.
    pub not_after: Option<Timestamp>,
}

/// A guest that is not linked, and for which something is due.
#[derive(Debug, Clone)]
pub struct SilentGuest {
    /// `guest 101 (web)`.
    pub subject: String,
    /// Since when it is silent.
    pub since: Timestamp,
    /// What is due.
    pub due: Vec<String>,
}

/// An issuer that the manifest names.
#[derive(Debug, Clone)]
pub struct IssuerFacts {
    /// Its name.
    pub name: String,
    /// How it answers.
    pub state: IssuerState,
}

/// How an issuer answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IssuerState {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It answered last time.
    Up,
    /// It has not answered since then, because of this.
    Down(Timestamp, String),
}

/// Everything that is wrong now, and when that changes next by itself.
#[must_use]
pub fn alarms(facts: &Facts, patience: Patience, now: Timestamp) -> (Alarms, Option<Timestamp>) {
    let mut look = Look { alarms: Alarms::default(), next: None, now };
    facts.placements.iter().for_each(|placement| look.placement(placement));
    facts.unheard.iter().for_each(|label| look.unheard(label));
    facts.silent.iter().for_each(|guest| look.silent(guest, patience.silent_after));
    facts.issuers.iter().for_each(|issuer| look.issuer(issuer, patience.issuer_down_after));
    for trouble in facts.host.iter().filter(|trouble| trouble.halt == Halt::Blocked) {
        look.add(Kind::Blocked, &format!("host: {}", trouble.attempt), &words(trouble));
    }
    if let Some(problem) = &facts.manifest {
        let first = first_problem(problem);
        look.add(Kind::Blocked, "manifest", &format!("the manifest on disk is not in force: {first}"));
    }
    (look.alarms, look.next)
}

/// A trouble without when it is tried again, which is another moment each time.
fn words(trouble: &Trouble) -> String {
    let Trouble { attempt, cause, remedy, .. } = trouble;
    let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
    format!("{attempt}: {cause}{remedy}")
}

struct Look {
    alarms: Alarms,
    next: Option<Timestamp>,
    now: Timestamp,
}

impl Look {
    fn add(&mut self, kind: Kind, subject: &str, text: &str) {
        let (subject, text) = (line(subject, MAX_SUBJECT), line(text, MAX_TEXT));
        self.alarms.add(Alarm { kind, subject, text });
    }

    /// Whether a moment has come; if not, it is looked again then.
    fn has_come(&mut self, at: Timestamp) -> bool {
        if at > self.now {
            self.next = self.next.into_iter().chain([at]).min();
        }
        at <= self.now
    }

    fn placement(&mut self, placement: &PlacementFacts) {
        let PlacementFacts { label, trouble, validity, renew_at, not_after } = placement;
        if let Some(trouble) = trouble.as_ref().filter(|trouble| trouble.halt == Halt::Blocked) {
            self.add(Kind::Blocked, label, &words(trouble));
        }
        let because = trouble.as_ref().map(|trouble| format!("; {}", words(trouble))).unwrap_or_default();
        let Some(end) = *not_after else { return };
        match validity {
            None | Some(Validity::Ok) => {}
            Some(Validity::Expired) => {
                self.add(Kind::Expired, label, &format!("its certificate expired at {end}{because}"));
            }
            Some(Validity::Expiring) => {
                let window = renew_at.map_or(Duration::ZERO, |renew_at| end.since(renew_at));
                let kind = if self.has_come(end - window / LATE_PART) { Kind::RenewalLate } else { Kind::Expiring };
                self.has_come(end + LAST_SECOND);
                self.add(kind, label, &format!("its certificate expires at {end} and is not renewed{because}"));
            }
        }
    }

    fn unheard(&mut self, label: &str) {
        for topic in [Topic::Blocked, Topic::Expiry] {
            self.alarms.unsettle(AlarmId { topic, subject: line(label, MAX_SUBJECT) });
        }
    }

    fn silent(&mut self, guest: &SilentGuest, after: Duration) {
        let SilentGuest { subject, since, due } = guest;
        if self.has_come(*since + after) {
            let text = format!(
                "its agent is not linked since {since}, and something is due for {}; check that the guest runs, and \
                 read its agent's log (journalctl -u pinion-agent)",
                due.join(", ")
            );
            self.add(Kind::Silent, subject, &text);
        } else {
            self.alarms.unsettle(AlarmId { topic: Topic::Silent, subject: line(subject, MAX_SUBJECT) });
        }
    }

    fn issuer(&mut self, issuer: &IssuerFacts, after: Duration) {
        let id = || AlarmId { topic: Topic::Issuer, subject: line(&issuer.name, MAX_SUBJECT) };
        match &issuer.state {
            IssuerState::Up => {}
            IssuerState::Unknown => self.alarms.unsettle(id()),
            IssuerState::Down(since, why) => {
                if self.has_come(*since + after) {
                    let lasted = Length(self.now.since(*since));
                    let text = format!(
                        "it has signed nothing and has not answered for {lasted}, since {since}: {why}; `pinion issuer \
                         check` checks it now"
                    );
                    self.add(Kind::IssuerDown, &issuer.name, &text);
                } else {
                    self.alarms.unsettle(id());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
