//! Policies for a placement whose files are to be removed, in the order in which they are asked.

use pinion_proto::stage::Stage;

use crate::{
    planner::{
        case::{Case, Verdict, held_up},
        decision::Decision,
    },
    world::Link,
};

/// Nothing of it is in the guest. What a guest holds that has never been seen nobody knows; one that does not exist holds
/// nothing.
pub(super) fn nothing_is_there(case: &Case<'_>) -> Option<Verdict> {
    let nothing = case.report().is_none_or(|report| {
        let none = report.held.is_none() && report.incoming.is_none();
        none && report.left_behind.is_empty() && report.stage < Stage::Installed
    });
    let known = case.reach.link != Link::NeverSeen || case.reach.is_no_guest();
    (nothing && known).then(|| Verdict::of(Decision::Keep))
}

/// The guest can remove nothing now.
pub(super) fn wait_for_guest(case: &Case<'_>) -> Option<Verdict> {
    case.reach.unreachable(case.renewing()).map(|unreachable| Verdict::of(held_up(unreachable.trouble)))
}

/// The guest removes the files.
pub(super) fn remove(_: &Case<'_>) -> Verdict {
    Verdict::of(Decision::Purge)
}
