//! What a target is told: some alarms that are new, that last, or that are over, in words and as data.
//!
//! Invariant: a message is short however many alarms there are: each list has at most [`MAX_LISTED`] of them and says how
//! many more there are, and a text is cut at a line's end.

use pinion_proto::{clock::Timestamp, printable::line};
use serde::Serialize;

use super::alarm::{Alarm, Kind, Severity};

/// Alarms in one list of a message.
pub const MAX_LISTED: usize = 20;

/// The longest title (characters): a line of a telephone's screen or two.
const MAX_TITLE: usize = 120;

/// What a message says of the alarms in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Some are new.
    Firing,
    /// They last.
    Repeated,
    /// They are over.
    Clear,
    /// There are none: somebody tries the target.
    Test,
}

/// An alarm in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The alarm.
    #[serde(flatten)]
    pub alarm: Alarm,
    /// Since when it is so.
    pub since: Timestamp,
}

impl Entry {
    pub(super) fn of(alarm: &Alarm, since: Timestamp) -> Self {
        Self { alarm: alarm.clone(), since }
    }

    fn line(&self) -> String {
        let Alarm { kind, subject, text } = &self.alarm;
        format!("- {}: {subject}: {text}", kind.words())
    }
}

/// What a target is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    at: Timestamp,
    fired: Vec<Entry>,
    repeated: Vec<Entry>,
    cleared: Vec<Entry>,
    /// How many alarms there are when this has been told.
    remaining: usize,
}

impl Message {
    /// The worst first in each list.
    pub(super) fn new(
        at: Timestamp,
        mut fired: Vec<Entry>,
        mut repeated: Vec<Entry>,
        mut cleared: Vec<Entry>,
        remaining: usize,
    ) -> Self {
        for list in [&mut fired, &mut repeated, &mut cleared] {
            let rank = |kind: Kind| (kind.severity(), kind.is_urgent(), kind);
            list.sort_by_key(|entry| std::cmp::Reverse(rank(entry.alarm.kind)));
        }
        Self { at, fired, repeated, cleared, remaining }
    }

    /// One without an alarm, to try a target.
    #[must_use]
    pub fn test(at: Timestamp) -> Self {
        Self::new(at, Vec::new(), Vec::new(), Vec::new(), 0)
    }

    /// When it was made.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// What is new.
    #[must_use]
    pub fn fired(&self) -> &[Entry] {
        &self.fired
    }

    /// What lasts.
    #[must_use]
    pub fn repeated(&self) -> &[Entry] {
        &self.repeated
    }

    /// What is over.
    #[must_use]
    pub fn cleared(&self) -> &[Entry] {
        &self.cleared
    }

    /// How many alarms there are when this has been told.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// What it says of its alarms: news before what lasts, and that before what is over.
    #[must_use]
    pub fn state(&self) -> State {
        match (self.fired.is_empty(), self.repeated.is_empty(), self.cleared.is_empty()) {
            (false, _, _) => State::Firing,
            (true, false, _) => State::Repeated,
            (true, true, false) => State::Clear,
            (true, true, true) => State::Test,
        }
    }

    /// How bad the worst is that it tells of.
    #[must_use]
    pub fn severity(&self) -> Severity {
        let kinds = self.fired.iter().chain(&self.repeated).map(|entry| entry.alarm.kind.severity());
        kinds.max().unwrap_or(Severity::Info)
    }

    /// All of it in one line.
    #[must_use]
    pub fn title(&self, host: &str) -> String {
        let text = match self.state() {
            State::Firing => summary(&self.fired),
            State::Repeated => format!("still {}", summary(&self.repeated)),
            State::Clear if self.remaining == 0 => format!("all clear: {}", named(&self.cleared)),
            State::Clear => format!("over: {}; {} left", named(&self.cleared), alarms(self.remaining)),
            State::Test => "test message".to_owned(),
        };
        line(&format!("Pinion on {host}: {text}"), MAX_TITLE)
    }

    /// All of it in lines, of which there are fewer where they would be more than `max` bytes.
    #[must_use]
    pub fn text(&self, max: usize) -> String {
        if self.state() == State::Test {
            return "This is a test of `pinion notify test`: this target works, and nothing is wrong.".to_owned();
        }
        let lists = [("New:", &self.fired), ("Still so:", &self.repeated), ("Over:", &self.cleared)];
        let mut lines = Vec::new();
        for (head, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            lines.push(head.to_owned());
            lines.extend(list.iter().take(MAX_LISTED).map(Entry::line));
            if list.len() > MAX_LISTED {
                lines.push(format!("- and {} more", list.len() - MAX_LISTED));
            }
        }
        let end = match self.remaining {
            0 => "No alarm is left.".to_owned(),
            left => format!("{} now; `pinion status` shows everything.", alarms(left)),
        };
        let mut out = String::new();
        let room = max.saturating_sub(end.len() + CUT.len());
        for line in &lines {
            if out.len() + line.len() + 1 > room {
                out += CUT;
                break;
            }
            out += line;
            out.push('\n');
        }
        out + &end
    }
}

/// What stands for lines that are left out.
const CUT: &str = "…\n";

fn alarms(count: usize) -> String {
    if count == 1 { "1 alarm".to_owned() } else { format!("{count} alarms") }
}

/// `web@101: expired`, or `3 alarms: 1 expired, 2 blocked`.
fn summary(list: &[Entry]) -> String {
    if let [Entry { alarm, .. }] = list {
        return format!("{}: {}", alarm.subject, alarm.kind.words());
    }
    let mut kinds: Vec<(Kind, usize)> = Vec::new();
    for entry in list {
        match kinds.iter_mut().find(|(kind, _)| *kind == entry.alarm.kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((entry.alarm.kind, 1)),
        }
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {}", kind.words())).collect();
    format!("{}: {}", alarms(list.len()), kinds.join(", "))
}

/// The first of them by name.
fn named(list: &[Entry]) -> String {
    let mut names: Vec<_> = list.iter().map(|entry| entry.alarm.subject.as_str()).collect();
    names.dedup();
    match names.as_slice() {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        names => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: Kind, subject: &str) -> Entry {
        let alarm = Alarm { kind, subject: subject.into(), text: "because of this".into() };
        Entry::of(&alarm, Timestamp::from_unix(1_800_000_000))
    }

    fn message(fired: Vec<Entry>, repeated: Vec<Entry>, cleared: Vec<Entry>, remaining: usize) -> Message {
        Message::new(Timestamp::from_unix(1_800_000_000), fired, repeated, cleared, remaining)
    }

    #[test]
    fn the_title_says_the_worst_first() {
        let (web, db, all) = (entry(Kind::Expired, "web@101"), entry(Kind::Blocked, "db@102"), "Pinion on pve1: ");
        for (told, title, severity) in [
            (message(vec![web.clone()], vec![], vec![], 1), "web@101: expired", Severity::Critical),
            (
                message(vec![db.clone(), web.clone()], vec![], vec![db.clone()], 2),
                "2 alarms: 1 expired, 1 blocked",
                Severity::Critical,
            ),
            (message(vec![], vec![db.clone()], vec![web.clone()], 1), "still db@102: blocked", Severity::Warning),
            (message(vec![], vec![], vec![web.clone(), db.clone()], 0), "all clear: web@101, db@102", Severity::Info),
            (message(vec![], vec![], vec![web], 2), "over: web@101; 2 alarms left", Severity::Info),
            (message(vec![], vec![], vec![], 0), "test message", Severity::Info),
        ] {
            assert_eq!((told.title("pve1"), told.severity()), (format!("{all}{title}"), severity));
        }
    }

    #[test]
    fn a_text_is_bounded_and_says_what_it_leaves_out() {
        let many: Vec<_> = (0..200).map(|number| entry(Kind::Blocked, &format!("c{number}@101"))).collect();
        let told = message(many.clone(), vec![], vec![entry(Kind::Expired, "web@7")], 200);
        let text = told.text(10_000);
        assert!(text.starts_with("New:\n- blocked: c0@101: because of this\n"), "{text}");
        assert!(text.contains("- and 180 more\nOver:\n- expired: web@7: "), "{text}");
        assert!(text.ends_with("200 alarms now; `pinion status` shows everything."), "{text}");
        for max in [200, 400, 700] {
            let cut = told.text(max);
            assert!(cut.len() <= max && cut.contains("…\n200 alarms now"), "{max}: {cut}");
        }
        let over = message(vec![], vec![], many, 0).text(10_000);
        assert!(over.ends_with("No alarm is left."), "{over}");
    }
}
