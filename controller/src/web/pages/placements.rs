//! The list of placements, narrowed and sorted as its form says.

use askama::Template;
use pinion_proto::clock::Timestamp;

use super::{
    super::{gate::Visitor, site::Shown},
    frame::{Filter, Frame},
    state::{Row, State},
};
use crate::admin::protocol::Status;

#[derive(Template)]
#[template(path = "placements.html")]
struct PlacementsPage<'f> {
    frame: Frame,
    rows: Vec<Row>,
    all: usize,
    filter: &'f Filter,
    states: [State; 7],
}

/// What the list can be sorted by.
const SORTS: [(&str, &str); 4] =
    [("state", "State"), ("expires", "Expiry"), ("renews", "Next renewal"), ("name", "Name")];

impl PlacementsPage<'_> {
    fn sorts(&self) -> [(&'static str, &'static str); 4] {
        SORTS
    }
}

/// The list.
pub(in crate::web) fn placements(
    shown: &Shown,
    visitor: &Visitor,
    status: &Status,
    filter: &Filter,
) -> Result<String, askama::Error> {
    let frame = Frame::new(shown, visitor, "Placements", "/placements");
    let (rows, all) = rows(status, filter, shown.web.clock.now());
    PlacementsPage { frame, rows, all, filter, states: State::ALL }.render()
}

/// Those that are meant, in their order, and how many there are in all.
pub(super) fn rows(status: &Status, filter: &Filter, now: Timestamp) -> (Vec<Row>, usize) {
    let rows = status.placements.iter().map(|placement| Row::of(placement, now));
    let is_meant = |row: &Row| {
        (filter.state.is_empty() || row.state.class() == filter.state)
            && filter.finds([row.placement.as_str(), &row.guest, &row.all_names, &row.issuer])
    };
    let mut rows: Vec<_> = rows.filter(is_meant).collect();
    // Stable: what is alike stays in the manifest's order. What has no such moment comes last.
    match filter.sort.as_str() {
        "expires" => rows.sort_by_key(|row| (row.not_after.is_none(), row.not_after)),
        "renews" => rows.sort_by_key(|row| (row.renew_at.is_none(), row.renew_at)),
        "name" => rows.sort_by(|a, b| a.placement.cmp(&b.placement)),
        _ => rows.sort_by_key(|row| row.state),
    }
    (rows, status.placements.len())
}
