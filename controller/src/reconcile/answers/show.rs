//! One guest or placement whole, page by page, for `pinion show`.
//!
//! Invariant: a page has at most [`MAX_PAGE`] placements, whatever is asked for.

use pinion_proto::{content::Content, key::Rotation, length::Length};
use tokio::time::Instant;

use super::{placement, plan, status, view::View};
use crate::{
    admin::protocol::{Answer, AskShow, PlacementStatus, PlanStep, Selection, ShownPage, Wanted},
    manifest::PlacedLeaf,
    planner::{Plan, Planned},
    reconcile::chosen::Chosen,
};

/// The largest page.
const MAX_PAGE: usize = 100;

/// A guest with its placements, a certificate's placements, or one placement.
pub(in crate::reconcile) fn show(view: View<'_>, ask: &AskShow, plan: &Plan<'_>) -> Answer {
    let labels = || {
        let planned = plan.placements.iter().map(|planned| (planned.label(), planned.certificate.name.as_str()));
        planned.chain(plan.retired.iter().map(|id| (id.to_string(), id.certificate.as_str())))
    };
    let name = ask.name.clone();
    let of_certificate = labels().any(|(label, certificate)| label == name || certificate == name);
    let selection = if of_certificate {
        Selection { names: vec![name.clone()], guest: None, more_guests: Vec::new() }
    } else {
        Selection { names: Vec::new(), guest: Some(name.clone()), more_guests: Vec::new() }
    };
    let chosen = match Chosen::new(view.world, &selection) {
        Ok(chosen) => chosen,
        // A name of no guest and no certificate: the guest's error would say half of that.
        Err(_) => return unknown(&name),
    };
    let planned = plan.placements.iter();
    let planned =
        planned.filter(|planned| chosen.means(&planned.label(), planned.certificate.name.as_str(), planned.guest));
    let planned: Vec<_> = planned.collect();
    let retired: Vec<_> = plan
        .retired
        .iter()
        .filter(|id| chosen.means(&id.to_string(), id.certificate.as_str(), Some(id.guest)))
        .collect();
    let guest = status::guests(view, &plan.placements)
        .into_iter()
        .find(|guest| !of_certificate && chosen.is_guest(guest.guest));
    if guest.is_none() && planned.is_empty() && retired.is_empty() {
        return unknown(&name);
    }
    let total = planned.len() + retired.len();
    let count = ask.count.clamp(1, MAX_PAGE);
    let in_manifest = planned.iter().skip(ask.from).take(count).map(|planned| whole(view, planned));
    let mut placements: Vec<PlacementStatus> = in_manifest.collect();
    let skipped = ask.from.saturating_sub(planned.len());
    let rest = retired.iter().skip(skipped).take(count - placements.len());
    placements.extend(rest.filter_map(|id| placement::retired(view, id)));
    Answer::Shown(Box::new(ShownPage { guest, from: ask.from, total, placements }))
}

/// A placement of the manifest, with what is wanted there.
fn whole(view: View<'_>, planned: &Planned<'_>) -> PlacementStatus {
    let renewal = planned.id().and_then(|id| view.parts.timings.last(&id, Instant::now())).map(Box::new);
    PlacementStatus { wanted: Some(Box::new(wanted(view, planned))), renewal, ..placement::planned(view, planned) }
}

fn wanted(view: View<'_>, planned: &Planned<'_>) -> Wanted {
    let PlanStep { action, why, .. } = plan::step(view.world, planned);
    let nothing = Wanted {
        names: Vec::new(),
        key: None,
        rotates: false,
        shared: false,
        duration: None,
        issuer: planned.certificate.issuer.as_ref().map(ToString::to_string).unwrap_or_default(),
        purge: planned.placement.purge,
        action,
        why,
    };
    match planned.content() {
        Content::Roots | Content::Watched => nothing,
        Content::Leaf(PlacedLeaf { policy, names, .. }) => Wanted {
            names: names.iter().map(|name| name.plain()).collect(),
            key: Some(policy.key.algorithm.to_string()),
            rotates: policy.key.rotation == Rotation::Always,
            shared: policy.shared,
            duration: Some(Length(policy.duration).to_string()),
            ..nothing
        },
    }
}

fn unknown(name: &str) -> Answer {
    Answer::NoSuchName(format!(
        "no guest, certificate or placement is called {}; `pinion status` lists them",
        pinion_proto::id::shown(name)
    ))
}

#[cfg(test)]
mod tests;
