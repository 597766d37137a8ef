//! Everything at one look; and the lists of guests, issuers and events.

use askama::Template;
use pinion_proto::{
    clock::Timestamp,
    stage::{Halt, Trouble},
    verdict::Tally,
};

use super::{
    super::{gate::Visitor, site::Shown},
    frame::{Filter, Frame, Moment},
    state::{Row, State},
    timeline::Timeline,
};
use crate::{
    admin::protocol::{GuestStatus, Status},
    events::Event,
};

/// What the first view shows of each; the other views have all.
const MAX_NEEDS: usize = 12;
const MAX_LIVES: usize = 40;
pub(in crate::web) const MAX_RECENT: usize = 8;

/// How many events their view shows.
pub(in crate::web) const MAX_EVENTS: usize = 300;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage<'s> {
    frame: Frame,
    verdict: Verdict,
    tally: String,
    status: &'s Status,
    placements: usize,
    linked: usize,
    needs: Vec<Row>,
    more_needs: usize,
    next_renewal: Option<(String, Moment)>,
    next_end: Option<(String, Moment)>,
    timeline: Timeline,
    events: Vec<EventRow>,
}

/// The verdict on everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    class: &'static str,
    symbol: &'static str,
    headline: &'static str,
}

impl Verdict {
    fn of(status: &Status) -> Self {
        let counted = status.placements.iter().filter(|placement| placement.counts());
        let worst = counted.map(State::of).min();
        let is_host = |halt| status.troubles.iter().any(|trouble: &Trouble| trouble.halt == halt);
        let (class, symbol, headline) = match worst {
            Some(State::Expired) => ("expired", "✕", "A certificate in use has expired"),
            Some(State::Blocked) => ("blocked", "■", "Something needs you"),
            _ if is_host(Halt::Blocked) => ("blocked", "■", "Something needs you"),
            _ if status.manifest.problem.is_some() => ("blocked", "■", "The manifest has a mistake"),
            Some(State::Expiring) => ("expiring", "▲", "A renewal is late"),
            Some(State::Waiting) => ("waiting", "◐", "Something waits, and continues by itself"),
            _ if is_host(Halt::Waiting) => ("waiting", "◐", "Something waits, and continues by itself"),
            None => ("good", "✓", "Nothing is in the manifest yet"),
            Some(State::UnderWay) => ("under-way", "▷", "Certificates are on their way"),
            Some(State::Good | State::Retired) => ("good", "✓", "All is well"),
        };
        Self { class, symbol, headline }
    }
}

/// Everything at one look.
pub(in crate::web) fn overview(
    shown: &Shown,
    visitor: &Visitor,
    status: &Status,
    events: &[Event],
) -> Result<String, askama::Error> {
    let now = shown.web.clock.now();
    let mut tally = Tally::default();
    for placement in status.placements.iter().filter(|placement| placement.counts()) {
        tally.add(placement.verdict(), || placement.placement.clone());
    }
    let mut needs: Vec<_> = status.placements.iter().map(|placement| Row::of(placement, now)).collect();
    needs.retain(|row| row.state.needs_a_person() || (row.state == State::Waiting));
    needs.sort_by_key(|row| (row.state, row.not_after));
    let more_needs = needs.len().saturating_sub(MAX_NEEDS);
    needs.truncate(MAX_NEEDS);
    let wanted = || status.placements.iter().filter(|placement| !placement.retired);
    let soonest = |moment: fn(&crate::admin::protocol::PlacementStatus) -> Option<Timestamp>| {
        let (name, at) = wanted().filter_map(|one| Some((&one.placement, moment(one)?))).min_by_key(|(_, at)| *at)?;
        Some((name.clone(), Moment::of(at, now)))
    };
    OverviewPage {
        frame: Frame::new(shown, visitor, "Overview", "/"),
        verdict: Verdict::of(status),
        tally: tally.to_string(),
        placements: wanted().count(),
        linked: status.guests.iter().filter(|guest| guest.linked).count(),
        needs,
        more_needs,
        next_renewal: soonest(|one| one.renew_at),
        next_end: soonest(|one| one.not_after),
        timeline: Timeline::of(status, now, MAX_LIVES),
        events: EventRow::all(events, now),
        status,
    }
    .render()
}

/// An event in a list.
#[derive(Debug)]
pub(super) struct EventRow {
    pub(super) at: Moment,
    pub(super) kind: String,
    /// How much it matters: `error`, `warning` or `info`.
    pub(super) level: &'static str,
    pub(super) text: String,
}

impl EventRow {
    pub(super) fn all(events: &[Event], now: Timestamp) -> Vec<Self> {
        events.iter().map(|event| Self::of(event, now)).collect()
    }

    fn of(event: &Event, now: Timestamp) -> Self {
        Self {
            at: Moment::of(event.at, now),
            kind: event.kind.as_str().to_owned(),
            level: event.kind.level(),
            text: event.text.clone(),
        }
    }
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage<'f> {
    frame: Frame,
    events: Vec<EventRow>,
    filter: &'f Filter,
}

/// The last events.
pub(in crate::web) fn events(
    shown: &Shown,
    visitor: &Visitor,
    events: &[Event],
    filter: &Filter,
) -> Result<String, askama::Error> {
    let events = EventRow::all(events, shown.web.clock.now());
    EventsPage { frame: Frame::new(shown, visitor, "Events", "/events"), events, filter }.render()
}

#[derive(Template)]
#[template(path = "guests.html")]
struct GuestsPage<'f> {
    frame: Frame,
    rows: Vec<GuestRow>,
    all: usize,
    filter: &'f Filter,
}

struct GuestRow {
    guest: String,
    name: String,
    presence: String,
    is_linked: bool,
    since: Option<Moment>,
    agent: String,
    placements: usize,
    /// The worst of its placements.
    state: Option<State>,
}

/// The guests.
pub(in crate::web) fn guests(
    shown: &Shown,
    visitor: &Visitor,
    status: &Status,
    filter: &Filter,
) -> Result<String, askama::Error> {
    let now = shown.web.clock.now();
    let row = |guest: &GuestStatus| {
        let own = status.placements.iter().filter(|one| one.guest == Some(guest.guest) && !one.retired);
        GuestRow {
            guest: guest.guest.to_string(),
            name: guest.name.clone().unwrap_or_default(),
            presence: guest.presence.words(),
            is_linked: guest.linked,
            since: guest.since.map(|at| Moment::of(at, now)),
            agent: guest.agent_version.clone().unwrap_or_default(),
            placements: own.clone().count(),
            state: own.map(State::of).min(),
        }
    };
    let rows = status.guests.iter().map(row);
    let mut rows: Vec<_> = rows.filter(|row| filter.finds([row.guest.as_str(), &row.name, &row.agent])).collect();
    rows.sort_by_key(|row| (row.is_linked, row.state));
    let frame = Frame::new(shown, visitor, "Guests", "/guests");
    GuestsPage { frame, rows, all: status.guests.len(), filter }.render()
}

#[derive(Template)]
#[template(path = "issuers.html")]
struct IssuersPage {
    frame: Frame,
    issuers: Vec<IssuerRow>,
}

struct IssuerRow {
    name: String,
    kind: String,
    address: String,
    is_up: bool,
    calls: u64,
    errors: u64,
    waiting: usize,
    placements: usize,
    authority_ends: Option<Moment>,
    clock: Option<i64>,
    warnings: Vec<String>,
    roots: Vec<RootRow>,
}

struct RootRow {
    subject: String,
    fingerprint: String,
    ends: Moment,
    is_signing: bool,
}

/// The issuers that the manifest names.
pub(in crate::web) fn issuers(shown: &Shown, visitor: &Visitor, status: &Status) -> Result<String, askama::Error> {
    let now = shown.web.clock.now();
    let calls = shown.web.issuers.calls();
    let row = |issuer: &crate::admin::protocol::IssuerStatus| {
        let calls = calls.iter().find(|(name, _)| name.as_str() == issuer.name).map(|(_, calls)| calls);
        let check = calls.and_then(|calls| calls.checked.as_ref());
        let counted = |is_error: bool| {
            let counts = calls.into_iter().flat_map(|calls| &calls.counts);
            counts.filter(|((_, result), _)| !is_error || *result != "ok").map(|(_, count)| count).sum()
        };
        IssuerRow {
            name: issuer.name.clone(),
            kind: check.map(|check| check.kind.clone()).unwrap_or_default(),
            address: check.and_then(|check| check.address.clone()).unwrap_or_default(),
            is_up: calls.is_none_or(|calls| calls.down_since.is_none()),
            calls: counted(false),
            errors: counted(true),
            waiting: calls.map_or(0, |calls| calls.waiting),
            placements: status.placements.iter().filter(|one| one.issuer == issuer.name && !one.retired).count(),
            authority_ends: check.and_then(|check| check.authority_ends).map(|at| Moment::of(at, now)),
            clock: check.and_then(|check| check.clock_difference),
            warnings: check.map(|check| check.warnings.clone()).unwrap_or_default(),
            roots: issuer
                .roots
                .iter()
                .map(|root| RootRow {
                    subject: root.subject.clone(),
                    fingerprint: root.fingerprint.to_string(),
                    ends: Moment::of(root.not_after, now),
                    is_signing: root.signing,
                })
                .collect(),
        }
    };
    let issuers = status.issuers.iter().map(row).collect();
    IssuersPage { frame: Frame::new(shown, visitor, "Issuers", "/issuers"), issuers }.render()
}
