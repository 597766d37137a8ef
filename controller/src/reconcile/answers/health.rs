//! How a placement is: what holds it up, how good what it holds is, and whether something is due.
//!
//! Invariant: `pinion status`, its `--check`, the events and systemd say the same of a placement, because all of them
//! ask here.

use pinion_proto::{
    bundle::RootCertificate,
    clock::Timestamp,
    content::Content,
    id::Guest,
    report::PlacementReport,
    stage::{Halt, Stage, Trouble, Validity},
};

use super::view::View;
use crate::{
    freeze,
    planner::{Decision, Planned},
    reconcile::freezing,
};

/// How a placement of the manifest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::reconcile) struct Health {
    /// What holds it up.
    pub(in crate::reconcile) trouble: Option<Trouble>,
    /// How good what it holds is; none while it holds nothing.
    pub(in crate::reconcile) validity: Option<Validity>,
    /// Whether something is to be done for it now.
    pub(in crate::reconcile) is_due: bool,
}

impl Health {
    pub(in crate::reconcile) fn of(view: &View<'_>, planned: &Planned<'_>, report: Option<&PlacementReport>) -> Self {
        let trouble = in_the_way(view, planned, report);
        let is_late = match report.and_then(|report| report.watched.as_ref()) {
            Some(watched) => watched.expiring_from() <= view.now,
            None => planned.renew_at.is_some_and(|at| at <= view.now) && trouble.is_some(),
        };
        let validity = expires(planned, report).map(|at| Validity::at(view.now, at, is_late));
        let is_due = is_due(view, planned, report, validity);
        Self { trouble, validity, is_due }
    }
}

/// When what a placement holds ends.
pub(in crate::reconcile) fn expires(planned: &Planned<'_>, report: Option<&PlacementReport>) -> Option<Timestamp> {
    match planned.content() {
        Content::Leaf(_) => report?.held.as_ref().map(|held| held.expires()),
        Content::Roots => planned.roots.iter().map(RootCertificate::not_after).min(),
        Content::Watched => report?.watched.as_ref().map(|watched| watched.expires),
    }
}

/// That a certificate which Pinion only watches has expired: nothing that Pinion does changes that.
pub(super) fn expired_watch(
    view: View<'_>,
    planned: &Planned<'_>,
    report: Option<&PlacementReport>,
) -> Option<Trouble> {
    let watched = report?.watched.as_ref().filter(|_| planned.content().is_watched())?;
    (watched.expires < view.now).then(|| Trouble {
        halt: Halt::Blocked,
        attempt: format!("see a valid certificate at {}", planned.label()),
        cause: format!("the one that is shown expired at {}, and Pinion only watches it", watched.expires),
        remedy: format!("renew it where it is made; its issuer is {}", watched.issuer),
        retry_at: None,
    })
}

/// What holds a placement up, as a person is shown it.
fn in_the_way(view: &View<'_>, planned: &Planned<'_>, report: Option<&PlacementReport>) -> Option<Trouble> {
    view.parts.evictions.trouble_of(planned).or_else(|| {
        let enrolment = &view.parts.enrolment;
        let agent = enrolment.must_rejoin(view.world, planned).or_else(|| enrolment.too_old(view.world, planned));
        let trouble = agent.or_else(|| trouble(planned, report).cloned())?;
        Some(freezing::trouble_for_status(view.world, planned, trouble))
    })
}

/// What holds a placement up: the controller's side first, unless only the guest's needs a person.
pub(super) fn trouble<'a>(planned: &'a Planned<'_>, report: Option<&'a PlacementReport>) -> Option<&'a Trouble> {
    let guests = report.and_then(|report| report.trouble.as_ref());
    match (planned.trouble(), guests) {
        (Some(here), Some(there)) if here.halt == Halt::Waiting && there.halt == Halt::Blocked => Some(there),
        (Some(here), _) => Some(here),
        (None, there) => there,
    }
}

fn is_due(
    view: &View<'_>,
    planned: &Planned<'_>,
    report: Option<&PlacementReport>,
    validity: Option<Validity>,
) -> bool {
    if planned.decision != Decision::Keep || planned.ordered.is_some() {
        return !is_left_alone(report, validity);
    }
    let Some(report) = report.filter(|_| !is_stopped(view, planned)) else { return validity != Some(Validity::Ok) };
    let is_there = report.stage >= report.goal && report.trouble.is_none();
    validity != Some(Validity::Ok) || !(is_there || is_left_alone(Some(report), validity))
}

/// Whether all that remains is to disturb the service, which the administrator does not want before its window opens.
fn is_left_alone(report: Option<&PlacementReport>, validity: Option<Validity>) -> bool {
    let waits_for_window = report
        .and_then(|report| report.trouble.as_ref())
        .is_some_and(|trouble| trouble.halt == Halt::Waiting && freeze::holds_back(&trouble.cause));
    let is_in_place = report.is_some_and(|report| report.held.is_some() && report.stage >= Stage::Installed);
    waits_for_window && is_in_place && validity == Some(Validity::Ok)
}

/// Whether the guest is stopped: what it said last of its services is about a time that is over.
fn is_stopped(view: &View<'_>, planned: &Planned<'_>) -> bool {
    let Some(Guest::Vmid(vmid)) = planned.guest else { return false };
    view.world.inventory().guest(vmid).is_some_and(|info| info.running == Some(false))
}

#[cfg(test)]
mod tests;
