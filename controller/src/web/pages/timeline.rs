//! The life of each placement's certificate, from its issue to its end, with its renewal and its windows: a picture in SVG.
//!
//! Invariant: positions are percentages of the picture's width, so that it fits every screen, and what it shows is said in words too.

use askama::Template;
use pinion_proto::clock::Timestamp;

use super::{
    super::{gate::Visitor, site::Shown},
    frame::{Frame, Moment, path_of},
    state::State,
};
use crate::admin::protocol::{PlacementStatus, Status};

/// How far back and ahead the picture goes at most: longer lives are cut at its edges.
const MAX_BACK: i64 = 45 * DAY;
const MAX_AHEAD: i64 = 100 * DAY;
const DAY: i64 = 24 * 3600;

/// A window of two hours in two months could not be seen (hundredths of a percent).
const MIN_WINDOW: i64 = 80;

/// How many dates the axis names.
const TICKS: i64 = 6;

/// A picture.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) ticks: Vec<Tick>,
    pub(super) now: String,
    pub(super) lives: Vec<Life>,
    /// How many placements there are besides these.
    pub(super) more: usize,
}

/// A date on the axis.
#[derive(Debug)]
pub(super) struct Tick {
    pub(super) at: String,
    pub(super) word: String,
}

/// A certificate's life.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) placement: String,
    pub(super) path: String,
    pub(super) state: State,
    pub(super) from: String,
    pub(super) width: String,
    /// How much of it is over.
    pub(super) past: String,
    pub(super) renews: Option<String>,
    pub(super) windows: Vec<(String, String)>,
    /// The same in words.
    pub(super) words: String,
    pub(super) expires: Moment,
}

/// The part of time that is shown.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: i64,
    until: i64,
}

impl Span {
    fn of<'s>(statuses: impl Iterator<Item = &'s PlacementStatus> + Clone, now: Timestamp) -> Self {
        let now = now.unix();
        let begin = statuses.clone().filter_map(|status| status.not_before).map(Timestamp::unix).min();
        let end = statuses.filter_map(|status| status.not_after).map(Timestamp::unix).max();
        let from = begin.unwrap_or(now).clamp(now - MAX_BACK, now - 3600);
        let until = end.unwrap_or(now).clamp(now + 3600, now + MAX_AHEAD);
        // Room for what lies at an edge.
        let margin = (until - from) / 50;
        Self { from: from - margin, until: until + margin }
    }

    /// Where a moment is, in hundredths of a percent.
    fn place(self, at: i64) -> i64 {
        (at.clamp(self.from, self.until) - self.from) * 10_000 / (self.until - self.from).max(1)
    }

    fn percent(self, at: Timestamp) -> String {
        percent(self.place(at.unix()))
    }
}

fn percent(hundredths: i64) -> String {
    format!("{}.{:02}%", hundredths / 100, hundredths % 100)
}

impl Timeline {
    /// Of at most `max` placements, the soonest to end first.
    pub(super) fn of(status: &Status, now: Timestamp, max: usize) -> Self {
        let mut held: Vec<_> =
            status.placements.iter().filter(|placement| !placement.retired && placement.not_after.is_some()).collect();
        held.sort_by_key(|placement| placement.not_after);
        let more = held.len().saturating_sub(max);
        held.truncate(max);
        let span = Span::of(held.iter().copied(), now);
        let ticks = (1..TICKS).map(|tick| {
            let at = Timestamp::from_unix(span.from + (span.until - span.from) * tick / TICKS);
            // The date, and for short lives the time: 2026-11-30T12:00:00Z.
            let text = at.to_string();
            let word = if span.until - span.from > 4 * DAY { text.get(5..10) } else { text.get(11..16) };
            Tick { at: span.percent(at), word: word.unwrap_or_default().to_owned() }
        });
        let lives = held.iter().filter_map(|placement| life(placement, span, now)).collect();
        Self { ticks: ticks.collect(), now: span.percent(now), lives, more }
    }
}

fn life(status: &PlacementStatus, span: Span, now: Timestamp) -> Option<Life> {
    let end = status.not_after?;
    let begin = status.not_before.unwrap_or(end).min(end);
    let (from, until) = (span.place(begin.unix()), span.place(end.unix()));
    let past = span.place(now.unix()).clamp(from, until) - from;
    let state = State::of(status);
    let renews = status.renew_at.map_or_else(String::new, |at| format!(", renewal at {at}"));
    let windows = status.openings.iter().take(8).map(|opening| {
        let (opens, closes) = (span.place(opening.opens.unix()), span.place(opening.closes.unix()));
        (percent(opens), percent((closes - opens).max(MIN_WINDOW)))
    });
    Some(Life {
        placement: status.placement.clone(),
        path: path_of(&status.placement),
        state,
        from: percent(from),
        width: percent((until - from).max(30)),
        past: percent(past),
        renews: status.renew_at.filter(|at| *at <= end).map(|at| span.percent(at)),
        windows: windows.collect(),
        words: format!("{}: {}, valid from {begin} until {end}{renews}", status.placement, state.word()),
        expires: Moment::of(end, now),
    })
}

#[derive(Template)]
#[template(path = "timeline_page.html")]
struct TimelinePage {
    frame: Frame,
    timeline: Timeline,
}

/// The view with every placement.
pub(in crate::web) fn timeline(shown: &Shown, visitor: &Visitor, status: &Status) -> Result<String, askama::Error> {
    let frame = Frame::new(shown, visitor, "Timeline", "/timeline");
    TimelinePage { frame, timeline: Timeline::of(status, shown.web.clock.now(), usize::MAX) }.render()
}
