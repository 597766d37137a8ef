//! Since when is a placement as it is? What the recorded events tell, and nothing that they do not.

use pinion_proto::clock::Timestamp;

use super::document::State;
use crate::{
    admin::protocol::{GuestStatus, PlacementStatus},
    events::{Event, Kind},
};

/// Since when the placement is in this state; none if no event tells. `events` are its last ones, oldest first.
pub(super) fn since(
    state: State,
    status: &PlacementStatus,
    guest: Option<&GuestStatus>,
    events: &[Event],
) -> Option<Timestamp> {
    match state {
        State::Expired => status.not_after,
        State::Retired => last(events, &[Kind::Retired, Kind::Destroyed]),
        State::Frozen => status.frozen.as_ref().map(|freeze| freeze.since),
        State::Good => last(events, &[Kind::Stage, Kind::Adopted]),
        State::UnderWay => last(events, &[Kind::Issued, Kind::Stage]),
        State::Waiting | State::Blocked | State::Expiring => {
            // The trouble began with the first bad event after the last good one.
            let good = |event: &Event| matches!(event.kind, Kind::Stage | Kind::Adopted | Kind::Issued);
            let bad = |event: &&Event| matches!(event.kind, Kind::Trouble | Kind::Failed | Kind::Refused);
            let lately = events.iter().rposition(good).map_or(events, |at| events.get(at + 1..).unwrap_or_default());
            let begun = lately.iter().find(bad).map(|event| event.at);
            // What waits for a guest that is away waits since it went.
            let away = guest.filter(|guest| !guest.linked).and_then(|guest| guest.since);
            begun.or(away)
        }
    }
}

fn last(events: &[Event], kinds: &[Kind]) -> Option<Timestamp> {
    events.iter().rfind(|event| kinds.contains(&event.kind)).map(|event| event.at)
}
