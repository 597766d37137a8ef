//! The views: HTML made on the server from one answer of the loop, from templates that are checked when they are compiled.
//!
//! Invariant: a view changes nothing and asks nobody; all text from outside is escaped by the templates.

mod frame;
mod placements;
mod show;
mod state;
mod timeline;
mod whole;

pub(super) use frame::{Filter, error, path_of, sign_in};
pub(super) use placements::placements;
pub(super) use show::{MAX_OWN_EVENTS, is_about, placement};
pub(super) use timeline::timeline;
pub(super) use whole::{MAX_EVENTS, MAX_RECENT, events, guests, issuers, overview};
