//! Everything that would be done now, for `pinion plan`.

use super::unknown::unknown;
use crate::{
    admin::protocol::{Answer, PlanDocument, PlanStep},
    manifest::Manifest,
    planner::{Decision, Plan, Planned},
    world::World,
};

/// Everything that would be done now, for `pinion plan`.
pub(in crate::reconcile) fn plan(world: &World, manifest: &Manifest, plan: &Plan<'_>) -> Answer {
    let mut steps: Vec<_> = plan.placements.iter().map(|planned| step(world, planned)).collect();
    steps.extend(plan.retired.iter().map(|id| PlanStep {
        placement: id.to_string(),
        action: "retired".into(),
        why: format!("it is not in the manifest; its files stay until `pinion purge {id}`"),
    }));
    let notes = plan.trust.iter().flat_map(|(issuer, trust)| trust.notes(issuer)).collect();
    Answer::Plan(PlanDocument { steps, notes, warnings: unknown(manifest, world), wake_at: plan.wake_at })
}

/// What would be done for one placement of the manifest.
pub(super) fn step(world: &World, planned: &Planned<'_>) -> PlanStep {
    let (action, why) = match &planned.decision {
        Decision::Keep if planned.ordered.is_some() => ("keep", "a new generation is being installed".to_owned()),
        Decision::Keep if planned.content().is_watched() => {
            ("watch", "its expiry is watched; somebody else renews it".to_owned())
        }
        Decision::Keep if planned.content().is_roots() => {
            let roots: Vec<_> = planned.roots.iter().map(|root| root.fingerprint().to_string()).collect();
            let issuer = planned.certificate.issuer.as_ref().map(|issuer| format!("{issuer}'s ")).unwrap_or_default();
            ("keep", format!("it has {issuer}roots: {}", roots.join(", ")))
        }
        Decision::Trust(change) => ("trust", change.to_string()),
        Decision::Keep => (
            "keep",
            match planned.renew_at {
                Some(at) => format!("it matches the manifest; the next renewal is due at {at}"),
                None => "there is nothing to do".to_owned(),
            },
        ),
        Decision::Order(order) => ("order", order.to_string()),
        Decision::Adopt(adopt) => ("adopt", adopt.to_string()),
        Decision::Wait(trouble) => ("wait", trouble.to_string()),
        Decision::Block(trouble) => ("block", trouble.to_string()),
        Decision::Purge => ("purge", "the manifest says so".to_owned()),
    };
    PlanStep { placement: planned.label(), action: action.into(), why: why + &replaces(world, planned) }
}

/// What was there before Pinion and is to be replaced.
fn replaces(world: &World, planned: &Planned<'_>) -> String {
    if matches!(planned.decision, Decision::Adopt(_)) {
        return String::new();
    }
    let report = planned.id().and_then(|id| world.report(&id));
    let originals = report.iter().flat_map(|report| &report.originals).filter(|original| original.kept.is_none());
    originals.map(|original| format!("; it replaces {}, {original}, and keeps a copy", original.path)).collect()
}

#[cfg(test)]
mod tests;
