//! What is frozen: placements whose services nothing disruptive is done to.
//!
//! Answers: is this placement frozen, until when, and who wanted it?
//! Invariant: a freeze is a window that is closed, for all that a window holds back and nothing else: restarts of units
//! and containers, rotations of a Swarm service's secrets, and hooks. So a service is let expire by neither: the guest's
//! agent does what is needed in the last day of what is served, also where the freeze ends within it. A freeze without an
//! end lasts until it is lifted.

use std::time::Duration;

use pinion_proto::{clock::Timestamp, id::Guest, report::PlacementReport, spec::Opening, stage::Trouble};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::caller::Caller;

/// The end of a freeze that has none, 2100-01-01: no certificate lasts until then.
const NEVER: Timestamp = Timestamp::from_unix(4_102_444_800);

/// So long before its end what is served is replaced whatever is frozen: the agents' rule for a window that opens too
/// late.
pub const LAST_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A window that opens only when what is served has ended: an agent waits until the last day of that, and no longer. When
/// the freeze ends before, the controller tells it.
const CLOSED: Opening = Opening { opens: NEVER, closes: Timestamp::from_unix(2 * NEVER.unix()) };

/// What an agent says first of a service that it leaves alone because of its window.
const HELD_BACK: &str = "the new files are in place";

/// The document that they are written in.
pub(crate) const DOCUMENT: &str = "freezes";

/// So many may be named at once: more than a person types, and a bound for what a status shows.
pub const MAX_FREEZES: usize = 1000;

/// One freeze.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Freeze {
    /// A certificate (`docker`) or a placement (`docker@1001`); none means all.
    #[serde(default)]
    pub name: Option<String>,
    /// Only what is in this guest.
    #[serde(default)]
    pub guest: Option<Guest>,
    /// When it began.
    pub since: Timestamp,
    /// When it ends; null if only when it is lifted.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// The user who asked for it.
    pub by: Caller,
}

impl Freeze {
    /// What is frozen, in words.
    #[must_use]
    pub fn what(&self) -> String {
        match (&self.name, self.guest) {
            (None, None) => "everything".to_owned(),
            (None, Some(guest)) => format!("everything in guest {guest}"),
            (Some(name), None) => name.clone(),
            (Some(name), Some(guest)) => format!("{name} in guest {guest}"),
        }
    }

    /// Until when, in words.
    #[must_use]
    pub fn end(&self) -> String {
        self.until.map_or_else(|| "until it is lifted".to_owned(), |until| format!("until {until}"))
    }

    /// The command that lifts it.
    #[must_use]
    pub fn lift(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let guest = self.guest.map(|guest| format!(" --guest {guest}")).unwrap_or_default();
        format!("pinion freeze --lift{name}{guest}")
    }

    fn covers(&self, label: &str, certificate: &str, guest: Option<Guest>) -> bool {
        let named = self.name.as_deref().is_none_or(|name| name == label || name == certificate);
        named && (self.guest.is_none() || self.guest == guest)
    }

    fn ends(&self) -> Timestamp {
        self.until.unwrap_or(NEVER)
    }

    /// When a service with a window may be disturbed, with the freeze on top of it; `window` has the openings from a
    /// moment on. An agent waits for an opening that comes before what it serves ends: the freeze's end is told as one
    /// only when what is served is known to last a day longer.
    #[must_use]
    pub fn openings(
        &self,
        report: Option<&PlacementReport>,
        now: Timestamp,
        window: impl FnOnce(Timestamp) -> Option<Vec<Opening>>,
    ) -> Vec<Opening> {
        let Some(ends) = self.until.filter(|ends| report.is_some_and(|report| outlasts(report, *ends))) else {
            return vec![CLOSED];
        };
        match window(now.max(ends)) {
            None => vec![Opening { opens: ends, ..CLOSED }],
            Some(openings) => {
                openings.into_iter().map(|opening| Opening { opens: opening.opens.max(ends), ..opening }).collect()
            }
        }
    }

    /// A trouble of a service that is left alone because of this freeze.
    #[must_use]
    pub fn held_back(&self, trouble: Trouble) -> Trouble {
        let (by, end) = (&self.by, self.end());
        let told = left_alone_until(&trouble);
        let early = told.filter(|at| *at < self.ends());
        let last = early.map(|at| format!(", or at {at}, a day before its certificate expires, in any case"));
        Trouble {
            cause: format!(
                "it is frozen {end}, by {by}: the new files are in place, and Pinion disturbs the service when the \
                 freeze is over{}",
                last.unwrap_or_default()
            ),
            remedy: format!("to lift the freeze, run `{}`", self.lift()),
            retry_at: told.or(self.until),
            ..trouble
        }
    }
}

/// Whether what a service serves is known to last a day longer than to this moment.
fn outlasts(report: &PlacementReport, ends: Timestamp) -> bool {
    match (&report.trouble, &report.held) {
        // The agent knows what is served: it says when the last day of that begins, or that it waits for later.
        (Some(trouble), _) if holds_back(&trouble.cause) => trouble.retry_at.is_some_and(|at| at >= ends),
        (_, Some(held)) => report.stage >= report.goal && held.expires() >= ends + LAST_DAY,
        (_, None) => true,
    }
}

/// Until when an agent leaves a service alone; none when that is until somebody says otherwise.
#[must_use]
pub fn left_alone_until(trouble: &Trouble) -> Option<Timestamp> {
    trouble.retry_at.filter(|at| holds_back(&trouble.cause) && *at < NEVER)
}

/// Everything that is frozen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freezes {
    freezes: Vec<Freeze>,
}

impl Freezes {
    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Freeze> {
        self.freezes.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.freezes.len()
    }

    /// The freeze of a placement that lasts longest; `label` is asked for only where something is frozen.
    pub fn of(&self, label: impl FnOnce() -> String, certificate: &str, guest: Option<Guest>) -> Option<&Freeze> {
        if self.freezes.is_empty() {
            return None;
        }
        let label = label();
        self.freezes
            .iter()
            .filter(|freeze| freeze.covers(&label, certificate, guest))
            .max_by_key(|freeze| freeze.ends())
    }

    /// Adds a freeze, in the place of one of the same.
    pub fn add(&mut self, freeze: Freeze) {
        self.freezes.retain(|other| (&other.name, other.guest) != (&freeze.name, freeze.guest));
        self.freezes.push(freeze);
    }

    /// Lifts those of this name and guest; of any where neither is given.
    pub fn lift(&mut self, name: Option<&str>, guest: Option<Guest>) -> Vec<Freeze> {
        let all = name.is_none() && guest.is_none();
        self.take(|freeze| all || (freeze.name.as_deref() == name && (guest.is_none() || freeze.guest == guest)))
    }

    /// Takes those out that are over.
    pub fn end(&mut self, now: Timestamp) -> Vec<Freeze> {
        self.take(|freeze| freeze.until.is_some_and(|until| until <= now))
    }

    fn take(&mut self, is_over: impl Fn(&Freeze) -> bool) -> Vec<Freeze> {
        let (over, left) = self.freezes.drain(..).partition(is_over);
        self.freezes = left;
        over
    }

    /// When the next one is over.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.freezes.iter().filter_map(|freeze| freeze.until).min()
    }
}

/// Whether an agent's cause is that it leaves a service alone until its window opens.
#[must_use]
pub fn holds_back(cause: &str) -> bool {
    cause.starts_with(HELD_BACK) && cause.contains("window")
}

#[cfg(test)]
mod tests {
    use pinion_proto::stage::Halt;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_800_000_000 + seconds)
    }

    fn freeze(name: Option<&str>, guest: Option<&str>, until: Option<i64>) -> Freeze {
        Freeze {
            name: name.map(ToOwned::to_owned),
            guest: guest.map(|guest| guest.parse().expect("a guest")),
            since: at(0),
            until: until.map(at),
            by: Caller { uid: 0, name: Some("root".into()) },
        }
    }

    fn until(freezes: &Freezes, label: &str) -> Option<Option<Timestamp>> {
        let (certificate, guest) = label.split_once('@').expect("a label");
        let found = freezes.of(|| label.to_owned(), certificate, guest.parse().ok());
        found.map(|freeze| freeze.until)
    }

    #[test]
    fn names_guests_and_everything_are_frozen_and_the_longest_counts() {
        let mut freezes = Freezes::default();
        assert_eq!(until(&freezes, "web@1001"), None);
        freezes.add(freeze(Some("web"), None, Some(10)));
        freezes.add(freeze(Some("docker@1002"), None, None));
        freezes.add(freeze(None, Some("1003"), Some(30)));
        assert_eq!(until(&freezes, "web@1001"), Some(Some(at(10))));
        assert_eq!(until(&freezes, "docker@1001"), None);
        assert_eq!(until(&freezes, "docker@1002"), Some(None));
        assert_eq!(until(&freezes, "web@1003"), Some(Some(at(30))));
        freezes.add(freeze(None, None, Some(20)));
        assert_eq!(until(&freezes, "docker@1001"), Some(Some(at(20))));
        assert_eq!(until(&freezes, "docker@1002"), Some(None), "without an end lasts longest");

        assert_eq!(freezes.end(at(10)).len(), 1);
        assert_eq!((until(&freezes, "web@1001"), freezes.next_end()), (Some(Some(at(20))), Some(at(20))));
        freezes.add(freeze(None, None, Some(5)));
        assert_eq!((freezes.count(), freezes.next_end()), (3, Some(at(5))), "the same once more is another end");
        assert!(freezes.lift(Some("web"), None).is_empty());
        assert_eq!(freezes.lift(None, Some("1003".parse().expect("a guest"))).len(), 1);
        assert_eq!(freezes.lift(None, None).len(), 2, "everything that is frozen");
        assert_eq!(freezes.count(), 0);
    }

    #[test]
    fn a_freeze_is_a_closed_window_on_top_of_the_manifests() {
        let opening = |from, to| Opening { opens: at(from), closes: at(to) };
        let nothing = PlacementReport::nothing("web".parse().expect("a name"));
        let ends = freeze(None, None, Some(100));
        assert_eq!(ends.openings(Some(&nothing), at(0), |_| None)[0].opens, at(100));
        let unending = freeze(None, None, None).openings(Some(&nothing), at(0), |_| None);
        assert_eq!(unending, [CLOSED], "no certificate lasts so long");
        let asked = |from| {
            assert_eq!(from, at(100), "openings before its end do not count");
            Some(vec![Opening { opens: at(90), closes: at(110) }, Opening { opens: at(200), closes: at(210) }])
        };
        assert_eq!(ends.openings(Some(&nothing), at(0), asked), [opening(100, 110), opening(200, 210)]);
    }

    #[test]
    fn who_is_held_back_is_told_until_when() {
        let trouble = |retry_at| Trouble {
            halt: Halt::Waiting,
            attempt: "restart web.service".into(),
            cause: format!("{HELD_BACK}, and the service is disturbed only in its window, which opens at 2100"),
            remedy: "nothing".into(),
            retry_at: Some(retry_at),
        };
        let told = freeze(None, None, Some(100)).held_back(trouble(at(50)));
        assert!(told.retry_at == Some(at(50)) && told.cause.contains(&at(50).to_string()), "its last day: {told}");
        let told = freeze(None, None, Some(40)).held_back(trouble(at(50)));
        assert!(told.retry_at == Some(at(50)) && !told.cause.contains("in any case"), "it is over before: {told}");
        let told = freeze(None, None, None).held_back(trouble(NEVER));
        assert!(told.retry_at.is_none() && !told.cause.contains("2100"), "when it ends is not known: {told}");
    }

    #[test]
    fn the_command_that_lifts_it_is_told() {
        assert_eq!(freeze(None, None, None).lift(), "pinion freeze --lift");
        let both = freeze(Some("web"), Some("1001"), None);
        assert_eq!(
            (both.what(), both.lift()),
            ("web in guest 1001".into(), "pinion freeze --lift web --guest 1001".into())
        );
    }
}
