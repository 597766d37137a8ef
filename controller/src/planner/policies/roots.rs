//! Policies for a placement of an issuer's roots, in the order in which they are asked. Nothing is ordered: the guest is
//! sent the roots that it is to have.

use pinion_proto::stage::{Halt, Trouble};

use crate::planner::{
    case::{Case, Verdict, held_up},
    decision::Decision,
    rollover::RootChange,
};

/// The issuer has not said yet which roots it has.
pub(super) fn wait_until_known(case: &Case<'_>) -> Option<Verdict> {
    let issuer = case.certificate.issuer.as_ref()?;
    case.trust.is_none().then(|| {
        Verdict::of(Decision::Wait(Trouble {
            halt: Halt::Waiting,
            attempt: format!("install {issuer}'s roots at {}", case.label()),
            cause: format!("{issuer} has not announced its roots yet"),
            remedy: "`pinion issuer check` checks the issuer now".to_owned(),
            retry_at: None,
        }))
    })
}

/// The guest has those that it should have.
pub(super) fn keep_what_is_in_place(case: &Case<'_>) -> Option<Verdict> {
    due(case).is_none().then(|| Verdict::of(Decision::Keep))
}

/// The guest can take nothing now.
pub(super) fn wait_for_guest(case: &Case<'_>) -> Option<Verdict> {
    case.reach.unreachable(case.renewing()).map(|unreachable| Verdict::of(held_up(unreachable.trouble)))
}

/// The guest is sent other roots than it has.
pub(super) fn change(case: &Case<'_>) -> Verdict {
    Verdict::of(due(case).map_or(Decision::Keep, Decision::Trust))
}

fn due(case: &Case<'_>) -> Option<RootChange> {
    RootChange::between(case.report(), case.trust?)
}
