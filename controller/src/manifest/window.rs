//! When something that still works may be disturbed.
//!
//! A window opens on its days at `from` and closes at the next `to`, by the clock on the wall of its time
//! zone. When the clock is put forward over `from`, it opens as much later; a window that would vanish
//! altogether keeps its length. When the clock is put back, the first of the two moments counts.

use std::time::Duration;

use jiff::{
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};
use pinion_proto::{clock::Timestamp, id::shown, spec::Opening};

use super::{fields::Fields, node::Node};

/// A week, and a day on either side for windows that cross midnight.
const DAYS_TO_SEARCH: u8 = 9;

/// Stretches of time that recur every week.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// On which it opens, Monday first.
    days: [bool; 7],
    from: Time,
    /// Not after `from`: on the next day.
    to: Time,
    zone: TimeZone,
}

impl Window {
    /// A window that opens on `days` at `from` and closes at the next `to`; equal, it stays open for 24 hours.
    #[must_use]
    pub fn new(days: &[Weekday], from: Time, to: Time, zone: TimeZone) -> Self {
        let mut open = [false; 7];
        for (slot, day) in open.iter_mut().zip(WEEK) {
            *slot = days.contains(&day);
        }
        Self { days: open, from, to, zone }
    }

    /// Whether it is open.
    #[must_use]
    pub fn contains(&self, now: Timestamp) -> bool {
        self.next_open(now) == Some(now)
    }

    /// When it is open next: `now` itself when it is open now; none for a window that never opens.
    #[must_use]
    pub fn next_open(&self, now: Timestamp) -> Option<Timestamp> {
        let today = self.local_date(now)?;
        let mut day = today.yesterday().ok()?;
        for _ in 0..DAYS_TO_SEARCH {
            if let Some((opens, closes)) = self.on(day)
                && now < closes
            {
                return Some(opens.max(now));
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// Its next stretches from `now` on, soonest first, the one that is open included; at most `max`.
    #[must_use]
    pub fn openings(&self, now: Timestamp, max: usize) -> Vec<Opening> {
        let yesterday = self.local_date(now).and_then(|today| today.yesterday().ok());
        let days = std::iter::successors(yesterday, |day| day.tomorrow().ok());
        // A window opens once a week at least, or never.
        let days = days.take(usize::from(DAYS_TO_SEARCH).saturating_mul(max));
        let stretches = days.filter_map(|day| self.on(day)).filter(|(_, closes)| now < *closes);
        stretches.map(|(opens, closes)| Opening { opens, closes }).take(max).collect()
    }

    /// When it opens on a day and when it closes then, which is no part of it any more.
    fn on(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        let opens_today = WEEK.iter().zip(self.days).any(|(weekday, open)| open && *weekday == day.weekday());
        if !opens_today {
            return None;
        }
        let last_day = if self.to > self.from { day } else { day.tomorrow().ok()? };
        let opens = self.moment(day, self.from)?;
        let closes = self.moment(last_day, self.to)?;
        if opens < closes {
            return Some((opens, closes));
        }
        // The clock was put forward from inside the window to its end or past it.
        let length = last_day.to_datetime(self.to).duration_since(day.to_datetime(self.from));
        Some((opens, opens + Duration::try_from(length).ok()?))
    }

    fn moment(&self, day: Date, time: Time) -> Option<Timestamp> {
        let moment = self.zone.to_ambiguous_timestamp(day.to_datetime(time)).compatible().ok()?;
        Some(Timestamp::from_unix(moment.as_second()))
    }

    fn local_date(&self, now: Timestamp) -> Option<Date> {
        let now = jiff::Timestamp::from_second(now.unix()).ok()?;
        Some(self.zone.to_datetime(now).date())
    }
}

/// `{"days": ["sat"], "from": "02:00", "to": "04:00", "time_zone": "Europe/Berlin"}`.
pub(super) fn read(node: Node<'_>, local: &TimeZone) -> Option<Window> {
    let fields = Fields::of(
        node,
        "an object such as {\"from\": \"02:00\", \"to\": \"04:00\"}",
        &["days", "from", "to", "time_zone"],
    )?;
    let days = fields.or("days", WEEK.to_vec(), |n| {
        let days = n.each("a list of days such as [\"sat\", \"sun\"]", weekday)?;
        if days.is_empty() {
            n.problem("a window without days never opens: leave \"days\" out for every day");
        }
        Some(days)
    });
    let from = fields.or("from", Time::midnight(), |n| time(n, false));
    let to = fields.or("to", Time::midnight(), |n| time(n, true));
    let zone = fields.or("time_zone", local.clone(), zone);
    if fields.has("from") != fields.has("to") {
        fields.problem("a window needs both \"from\" and \"to\", or neither for the whole day");
    } else if !fields.has("from") && !fields.has("days") {
        fields.problem("a window needs \"days\", or \"from\" and \"to\", or both");
    } else if fields.has("from") && from.is_some() && from == to && !fields.text_is("to", "24:00") {
        fields.problem_with("to", "the window closes when it opens: leave \"from\" and \"to\" out for the whole day");
    }
    Some(Window::new(&days?, from?, to?, zone?))
}

fn weekday(node: Node<'_>) -> Option<Weekday> {
    let text = node.text("a day such as \"sat\"")?;
    let found = DAY_WORDS.iter().zip(WEEK).find(|(word, _)| **word == text).map(|(_, day)| day);
    if found.is_none() {
        node.problem(format_args!("`{}` is not a day: use {}", shown(text), DAY_WORDS.join(", ")));
    }
    found
}

/// `HH:MM`; as an end also `24:00`, which is midnight.
fn time(node: Node<'_>, is_end: bool) -> Option<Time> {
    let text = node.text("a time of day in quotes such as \"02:00\"")?;
    if is_end && text == "24:00" {
        return Some(Time::midnight());
    }
    let two = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        if plain { digits.parse::<i8>().ok() } else { None }
    };
    let parsed = text.split_once(':').and_then(|(hour, minute)| Time::new(two(hour)?, two(minute)?, 0, 0).ok());
    if parsed.is_none() {
        node.problem(format_args!("`{}` is not a time of day: write HH:MM, from 00:00 to 23:59", shown(text)));
    }
    parsed
}

fn zone(node: Node<'_>) -> Option<TimeZone> {
    let text = node.text("a time zone such as \"Europe/Berlin\"")?;
    let found = TimeZone::get(text).ok();
    if found.is_none() {
        node.problem(format_args!(
            "this host does not know the time zone `{}`: use an IANA name such as Europe/Berlin or UTC (the package \
             tzdata has them)",
            shown(text)
        ));
    }
    found
}

const WEEK: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

/// The manifest's words for [`WEEK`].
const DAY_WORDS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
