//! How far a placement is, for `pinion ensure`.

use pinion_proto::{
    bundle::RootCertificate,
    report::{PlacementReport, Progress},
    stage::{Stage, Trouble},
};

use super::{health, view::View};
use crate::{
    admin::protocol::ProgressLine,
    planner::{self, Decision, Planned, Step},
    reconcile::{freezing, troubles},
};

impl View<'_> {
    /// How far a placement is on its way to a stage, with a generation above this where a renewal was asked for, as its
    /// guest has seen it at this look or later, where one was asked for.
    pub(in crate::reconcile) fn progress(
        &self,
        planned: &Planned<'_>,
        until: Stage,
        above: Option<u64>,
        look: Option<u64>,
    ) -> ProgressLine {
        let id = planned.id();
        let view = *self;
        let report = id.as_ref().and_then(|id| view.world.report(id));
        let held = report.and_then(|report| report.held.as_ref());
        let is_seen = look.is_none_or(|look| report.is_some_and(|report| report.looked >= look));
        let settled = planned.decision == Decision::Keep && planned.ordered.is_none();
        let gone = view.destroyed(id.as_ref());
        // What was said last is not what is served now, when nobody is there to say it.
        let linked = id.as_ref().is_some_and(|id| view.world.is_linked(id.guest));
        // What was shown before this look may be renewed by now.
        let over = health::expired_watch(view, planned, report.filter(|_| is_seen || !linked));
        let reached = if gone.is_some() || over.is_some() {
            false
        } else if planned.placement.purge {
            settled
        } else {
            let far = report.is_some_and(|report| {
                report.stage >= until.min(report.goal) && accepted(planned, report) && !is_in_the_way(report)
            });
            // Roots, and what is only watched, are not Pinion's to renew.
            let renewed = planned.content().leaf().is_none()
                || held.is_some_and(|held| above.is_none_or(|above| held.generation > above));
            linked
                && is_seen
                && ((settled && far && renewed) || (until <= Stage::Issued && is_issued(planned, report, above)))
        };
        let trouble = || match gone {
            Some(id) => Some(troubles::destroyed(&planned.label(), id.guest)),
            None => (view.parts.evictions.trouble_of(planned))
                .or_else(|| view.parts.enrolment.must_rejoin(view.world, planned))
                .or_else(|| view.parts.enrolment.too_old(view.world, planned))
                // What was in the way before may be gone.
                .or_else(|| health::trouble(planned, report.filter(|_| is_seen || !linked)).cloned())
                .or_else(|| absent(view, planned))
                .or(over),
        };
        let trouble = if reached {
            None
        } else {
            trouble().map(|trouble| freezing::trouble_for_waiting(view.world, planned, trouble))
        };
        let now = match (&planned.decision, report.and_then(|report| report.incoming.as_ref())) {
            _ if reached => "reached",
            (Decision::Order(order), _) if order.step == Step::Ask => "waiting for the guest's request",
            (Decision::Order(_), _) if id.as_ref().is_some_and(|id| view.parts.signing.is_under_way(id)) => {
                "being signed"
            }
            (Decision::Order(_), _) if id.as_ref().is_some_and(|id| view.parts.deliveries.is_ready(id)) => {
                "being delivered"
            }
            (Decision::Order(_), _) => "to be signed",
            (Decision::Keep, Some(incoming)) if incoming.progress == Progress::Delivered => "being installed",
            (Decision::Keep, Some(_)) => "being delivered",
            // What is under way says more.
            _ if linked && !is_seen => "being looked at",
            (Decision::Keep, None) => "being looked at",
            (Decision::Adopt(_), _) => "being adopted",
            (Decision::Trust(_), _) => "being sent its roots",
            (Decision::Purge, _) => "being removed",
            (Decision::Wait(_) | Decision::Block(_), _) => "held up",
        };
        ProgressLine {
            placement: planned.label(),
            stage: report.map_or(Stage::Pending, |report| report.stage),
            serial: held.map(|held| held.leaf.serial().to_owned()),
            reached,
            trouble,
            now: now.to_owned(),
        }
    }
}

/// Whether the guest has the certificate that it is asked to hold, and is still to install it.
fn is_issued(planned: &Planned<'_>, report: Option<&PlacementReport>, above: Option<u64>) -> bool {
    report.and_then(|report| report.incoming.as_ref()).is_some_and(|incoming| {
        incoming.progress == Progress::Delivered
            && planned.decision == Decision::Keep
            && planned.ordered == Some(incoming.generation)
            && above.is_none_or(|above| incoming.generation > above)
    })
}

/// Whether the guest's report is about what the manifest asks for now, not about what it asked for before.
fn accepted(planned: &Planned<'_>, report: &PlacementReport) -> bool {
    // Only a guest knows whether it has a file of roots: one that has says which of them are in use.
    let trusts = |root: &RootCertificate| report.roots.is_empty() || report.roots.contains(&root.fingerprint());
    report.revision == planned.revision() && planned.roots.iter().all(trusts)
}

/// Whether the trouble is about what is there, and not about a stage that is still to come: then what is there cannot be
/// renewed, or is not as it should be.
fn is_in_the_way(report: &PlacementReport) -> bool {
    report.trouble.is_some() && report.stage >= report.goal
}

/// Why nobody can say that a placement is served.
fn absent(view: View<'_>, planned: &Planned<'_>) -> Option<Trouble> {
    let attempt = format!("see {} served", planned.label());
    planner::absent(planned, view.world.inventory(), view.world.reports(), attempt)
}

#[cfg(test)]
mod tests;
