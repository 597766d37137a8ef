//! Policies for a certificate that is only watched, in the order in which they are asked. Nothing is ordered or sent but
//! where to look.

use pinion_proto::stage::{Halt, Trouble};

use crate::planner::{
    case::{Case, Verdict, held_up},
    decision::Decision,
};

/// Pinion's own files of this name are still in the guest.
pub(super) fn was_managed(case: &Case<'_>) -> Option<Verdict> {
    let held = case.held()?;
    let name = &case.certificate.name;
    Some(Verdict::of(Decision::Block(Trouble {
        halt: Halt::Blocked,
        attempt: format!("watch {}", case.label()),
        cause: format!(
            "Pinion managed {name} here before: its files (serial {}) are still in the guest, and nobody renews them",
            held.leaf.serial()
        ),
        remedy: format!(
            "give the entry with \"watch\": true another name; then `pinion purge {}` removes the files when nothing uses \
             them",
            case.label()
        ),
        retry_at: None,
    })))
}

/// What was seen last stays known while the guest is away; before that nobody knows anything.
pub(super) fn wait_for_guest(case: &Case<'_>) -> Option<Verdict> {
    if case.report().is_some_and(|report| report.watched.is_some()) {
        return None;
    }
    let unreachable = case.reach.unreachable(format!("watch {}", case.label()))?;
    Some(Verdict::of(held_up(unreachable.trouble)))
}
