//! One guest or placement whole, page by page, for `pinion show`; and how much of a guest `pinion status` lists.
//!
//! Invariant: what a guest says makes no answer long: placements that the manifest does not name are listed up to
//! [`MAX_UNLISTED`] for each guest, and counted past that.

use std::collections::BTreeMap;

use pinion_proto::id::{Guest, PlacementId};

use super::{
    Reconciler,
    view::{self, Chosen},
};
use crate::{
    admin::protocol::{Answer, AskShow, PlacementStatus, Selection, Shown},
    planner::Plan,
};

/// Placements of one guest that the manifest does not name, in a list of everything.
const MAX_UNLISTED: usize = 16;

/// The largest page.
const MAX_PAGE: usize = 100;

/// The placements that the manifest does not name, as far as they are listed, and how many more each guest has.
pub(super) fn listed<'p>(
    retired: impl Iterator<Item = &'p PlacementId>,
) -> (Vec<&'p PlacementId>, BTreeMap<Guest, usize>) {
    let mut counts: BTreeMap<Guest, usize> = BTreeMap::new();
    let mut listed = Vec::new();
    for id in retired {
        let count = counts.entry(id.guest).or_default();
        *count += 1;
        if *count <= MAX_UNLISTED {
            listed.push(id);
        }
    }
    let more = counts.into_iter().filter_map(|(guest, count)| Some((guest, count.checked_sub(MAX_UNLISTED)?)));
    (listed, more.filter(|(_, more)| *more > 0).collect())
}

/// A guest with its placements, a certificate's placements, or one placement.
pub(super) fn show(reconciler: &Reconciler, ask: &AskShow, plan: &Plan<'_>) -> Answer {
    let labels = || {
        let planned = plan.placements.iter().map(|planned| (planned.label(), planned.certificate.name.as_str()));
        planned.chain(plan.retired.iter().map(|id| (id.to_string(), id.certificate.as_str())))
    };
    let name = ask.name.clone();
    let of_certificate = labels().any(|(label, certificate)| label == name || certificate == name);
    let selection = if of_certificate {
        Selection { names: vec![name.clone()], guest: None }
    } else {
        Selection { names: Vec::new(), guest: Some(name.clone()) }
    };
    let chosen = match Chosen::new(reconciler, &selection) {
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
    let guest = view::guests(reconciler, &plan.placements)
        .into_iter()
        .find(|guest| !of_certificate && chosen.is_guest(guest.guest));
    if guest.is_none() && planned.is_empty() && retired.is_empty() {
        return unknown(&name);
    }
    let total = planned.len() + retired.len();
    let count = ask.count.clamp(1, MAX_PAGE);
    let in_manifest = planned.iter().skip(ask.from).take(count).map(|planned| view::placement(reconciler, planned));
    let mut placements: Vec<PlacementStatus> = in_manifest.collect();
    let skipped = ask.from.saturating_sub(planned.len());
    let rest = retired.iter().skip(skipped).take(count - placements.len());
    placements.extend(rest.filter_map(|id| view::retired_placement(reconciler, id)));
    Answer::Shown(Box::new(Shown { guest, from: ask.from, total, placements }))
}

fn unknown(name: &str) -> Answer {
    Answer::NoSuchName(format!(
        "no guest, certificate or placement is called {}; `pinion status` lists them",
        pinion_proto::id::shown(name)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_guest_does_not_fill_the_list() {
        let ids: Vec<PlacementId> = (0..1000)
            .map(|n| format!("c{n}@101"))
            .chain(["web@102".into()])
            .map(|id| id.parse().expect("an id"))
            .collect();
        let (listed, more) = listed(ids.iter());
        assert_eq!(listed.len(), MAX_UNLISTED + 1);
        assert_eq!(more, BTreeMap::from([("101".parse().expect("a guest"), 1000 - MAX_UNLISTED)]));
    }
}
