//! Everything that is known, for `pinion status`.
//!
//! Invariant: what a guest says makes no answer long: placements that the manifest does not name are listed up to
//! [`MAX_UNLISTED`] for each guest, and counted past that.

use std::collections::BTreeMap;

use pinion_proto::{
    bundle::RootCertificate,
    id::{Guest, PlacementId},
    length::Length,
    stage::Trouble,
};

use super::{identity_root, placement, view::View};
use crate::{
    admin::{
        presence::Presence,
        protocol::{Answer, GuestStatus, IssuerStatus, ManifestStatus, RootStatus, Selection, Status},
    },
    events::Events,
    issuer::IssuerRoots,
    planner::{Plan, Planned},
    reconcile::{
        chosen::{Chosen, no_such_name},
        enrolment, freezing,
        resources::Resources,
        troubles,
    },
    world::Link,
};

/// Placements of one guest that the manifest does not name, in a list of everything.
const MAX_UNLISTED: usize = 16;

/// Everything, for `pinion status`.
pub(in crate::reconcile) fn status(
    view: View<'_>,
    resources: &Resources,
    selection: &Selection,
    plan: &Plan<'_>,
) -> Answer {
    let world = view.world;
    let chosen = match Chosen::of_known_guests(world, selection) {
        Ok(chosen) => chosen,
        Err(answer) => return answer,
    };
    let labels = plan
        .placements
        .iter()
        .map(|planned| (planned.label(), planned.certificate.name.as_str()))
        .chain(plan.retired.iter().map(|id| (id.to_string(), id.certificate.as_str())));
    if let Some(unknown) = chosen.unknown(labels) {
        return no_such_name(world, unknown);
    }
    let mut placements: Vec<_> = plan
        .placements
        .iter()
        .filter(|planned| chosen.means(&planned.label(), planned.certificate.name.as_str(), planned.guest))
        .map(|planned| placement::planned(view, planned))
        .collect();
    let retired =
        plan.retired.iter().filter(|id| chosen.means(&id.to_string(), id.certificate.as_str(), Some(id.guest)));
    // Whoever is asked for by name is listed.
    let (listed, unlisted) = if chosen.has_names() { (retired.collect(), BTreeMap::new()) } else { listed(retired) };
    placements.extend(listed.into_iter().filter_map(|id| placement::retired(view, id)));
    let mut guests = guests(view, &plan.placements);
    for guest in &mut guests {
        guest.unlisted = unlisted.get(&guest.guest).copied().unwrap_or(0);
    }
    let mut notes = Vec::new();
    // What is wanted at all comes first.
    notes.extend(world.in_force().notes());
    notes.extend(enrolment::must_rejoin_note(world));
    notes.extend(identity_root::note(&resources.identities));
    notes.extend(freezing::notes(world, resources.clock.now()));
    notes.extend(world.reachable().problems.iter().cloned());
    notes.extend(enrolment::version_note(world));
    for (issuer, limit) in world.shortened() {
        notes.push(format!(
            "issuer {issuer} allows no more than {}, and certificates were shortened to that; `pinion issuer check` \
             says how to allow more",
            Length(*limit)
        ));
    }
    let targets = resources.notifier.status();
    let mut troubles = host_troubles(view, &resources.events);
    troubles.extend(targets.iter().filter_map(|target| target.trouble.clone()));
    let manifest = ManifestStatus { since: world.in_force().since, problem: world.in_force().problem.clone() };
    Answer::Status(Box::new(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        manifest,
        notes,
        troubles,
        freezes: world.reports().freezes().iter().cloned().collect(),
        placements,
        guests,
        targets,
        issuers: issuers(view),
    }))
}

/// The issuers that the manifest names, with their roots.
fn issuers(view: View<'_>) -> Vec<IssuerStatus> {
    let roots = |name| {
        let roots = view.world.reports().roots(name).map(|roots| (roots, &roots.current));
        roots.into_iter().flat_map(|(roots, current)| current.iter().map(|root| root_status(root, roots)))
    };
    let names = view.world.manifest().issuers().into_iter();
    names.map(|name| IssuerStatus { name: name.to_string(), roots: roots(name).collect() }).collect()
}

fn root_status(root: &RootCertificate, roots: &IssuerRoots) -> RootStatus {
    RootStatus {
        fingerprint: root.fingerprint(),
        subject: root.subject(),
        not_after: root.not_after(),
        signing: root.fingerprint() == roots.signing,
    }
}

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

/// What is wrong with the host as a whole, other than that somebody cannot be told.
pub(in crate::reconcile) fn host_troubles(view: View<'_>, events: &Events) -> Vec<Trouble> {
    let shared_state = view.world.shared_state_problem().map(troubles::shared_state);
    let own = [shared_state, events.trouble(), view.parts.evictions.trouble()];
    let inventory = view.world.inventory().troubles().cloned();
    own.into_iter().flatten().chain(inventory).chain(view.parts.enrolment.trouble()).collect()
}

/// Every guest that the manifest names or that was ever linked.
pub(super) fn guests(view: View<'_>, placements: &[Planned<'_>]) -> Vec<GuestStatus> {
    let mut links: BTreeMap<Guest, Link> =
        placements.iter().filter_map(|planned| Some((planned.guest?, Link::NeverSeen))).collect();
    links.extend(view.world.reports().guests().map(|(guest, entry)| (guest, entry.link())));
    links
        .into_iter()
        .map(|(guest, link)| GuestStatus {
            guest,
            name: view.name(guest),
            linked: matches!(link, Link::Linked { .. }),
            since: match link {
                Link::NeverSeen => None,
                Link::Linked { since } | Link::Away { since } => Some(since),
            },
            presence: Presence::of(view.world.inventory(), guest),
            unlisted: 0,
            agent_version: view.world.facts(guest).map(|facts| facts.agent_version.clone()),
        })
        .collect()
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
        let (all, more) = listed(ids.iter());
        assert_eq!(all.len(), MAX_UNLISTED + 1);
        assert_eq!(more, BTreeMap::from([("101".parse().expect("a guest"), 1000 - MAX_UNLISTED)]));
        let (all, more) = listed(ids.iter().take(MAX_UNLISTED));
        assert_eq!((all.len(), more), (MAX_UNLISTED, BTreeMap::new()), "exactly as many as are listed");
    }
}
