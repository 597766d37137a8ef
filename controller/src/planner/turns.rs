//! Turns: of the placements of one certificate, or of one recipe, one is disrupted at a time.
//!
//! Answers: which renewal that disturbs its service begins now, and which waits for another to be served?
//! Invariants: a renewal has its turn until its service shows the new certificate, and for [`MAX_TURN`] at most, so that one
//! that never comes so far does not hold up the others for ever. Nothing waits so long that it could end: see [`InUse::is_urgent`].
//! A first installation disturbs nobody and waits for nobody, unless it replaces what its guest has found.

use std::{collections::BTreeMap, time::Duration};

use pinion_proto::{
    clock::Timestamp,
    report::{Found, Held},
    spec::{AdoptionDecision, Opening, Reload},
    stage::{Halt, Trouble},
};

use super::{Decision, Planned, Step, Turn};
use crate::{
    manifest::Placement,
    world::{PlacementEntry, Reports},
};

/// How long a renewal holds up others at most: a restart of dockerd with its containers takes a few minutes, and an agent
/// that notified its service in vain tries again within that time.
pub(super) const MAX_TURN: Duration = Duration::from_secs(10 * 60);

/// The shipped recipes that restart their service, for agents from before reports said so themselves
/// ([`pinion_proto::report::PlacementReport::disruptive`]). The list is closed: whatever knows a newer recipe also reports
/// what it does.
const DISRUPTIVE: [&str; 6] =
    ["docker", "docker-container", "portainer", "portainer-swarm", "systemd-unit", "traefik-client"];

/// Whether telling the service of new files disturbs it, or may: as the manifest says, or else as the guest does.
pub(super) fn is_disruptive(placement: &Placement, entry: Option<&PlacementEntry>) -> bool {
    let disturbs = |reload: &Reload| match reload {
        Reload::Restart(_) | Reload::Container(_) | Reload::Swarm(_) | Reload::Hook(_) => true,
        Reload::Reload(_) | Reload::Signal(_) | Reload::Touch(_) | Reload::Nothing => false,
    };
    match (&placement.reload, &placement.recipe) {
        (Some(first), _) => disturbs(first) || placement.more_reloads.iter().any(disturbs),
        (None, None) => false,
        (None, Some(recipe)) => {
            entry.and_then(PlacementEntry::report).is_some_and(|report| report.disruptive)
                || DISRUPTIVE.contains(&recipe.as_str())
        }
    }
}

/// What a service uses until its files are replaced.
#[derive(Clone, Copy)]
enum InUse<'r> {
    Held(&'r Held),
    /// What was there before Pinion.
    Found(&'r Found),
    /// The guest has begun to replace what it had found.
    Replaced,
}

impl InUse<'_> {
    /// When the certificate begins and ends, if that is known.
    fn life(self) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::Held(held) => Some((held.leaf.not_before(), held.expires())),
            Self::Found(Found::Good(pair)) => Some((pair.leaf.not_before(), pair.chain_ends)),
            Self::Found(Found::Unfit(_)) | Self::Replaced => None,
        }
    }

    /// Whether it is in the last sixth of its life: half of the time that there was for its renewal has passed.
    fn is_urgent(self, now: Timestamp) -> bool {
        self.life().is_some_and(|(begin, end)| end - end.since(begin) / 6 <= now)
    }

    /// What may have ended already comes first.
    fn ends(self, now: Timestamp) -> Timestamp {
        self.life().map_or(now, |(_, end)| end)
    }
}

/// What has its turn together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Group<'m> {
    Certificate(&'m str),
    Recipe(&'m str),
}

fn groups<'m>(planned: &Planned<'m>) -> impl Iterator<Item = Group<'m>> + use<'m> {
    let certificate = Group::Certificate(planned.certificate.name.as_str());
    let recipe = planned.placement.recipe.as_ref().map(|recipe| Group::Recipe(recipe.as_str()));
    [certificate].into_iter().chain(recipe)
}

/// Whose turn it is, and until when.
struct Occupied {
    label: String,
    until: Timestamp,
}

/// Gives turns to those whose order disturbs their service, and has the others wait; when the plan changes for it.
pub(super) fn give(placements: &mut [Planned<'_>], reports: &Reports, now: Timestamp) -> Option<Timestamp> {
    // Nearly all placements are as they should be, and none of this is about them.
    if placements.iter().all(|planned| !planned.disruptive) {
        return None;
    }
    let mut occupied: BTreeMap<Group<'_>, Occupied> = BTreeMap::new();
    let mut waiting: Vec<(bool, Timestamp, usize)> = Vec::new();
    for (at, planned) in placements.iter_mut().enumerate() {
        let Some((entry, in_use)) = disturbed(planned, reports) else { continue };
        match (entry.turn(), is_settled(planned, entry)) {
            (Some(_), true) => planned.turn = Turn::Ends,
            (Some(since), false) => occupy(&mut occupied, planned, since + MAX_TURN),
            (None, _) if matches!(planned.decision, Decision::Order(_)) => {
                waiting.push((!in_use.is_urgent(now), in_use.ends(now), at));
            }
            // It is on its way, and was before this controller was started.
            (None, _) if is_under_way(planned, entry) => {
                planned.turn = Turn::Begins;
                occupy(&mut occupied, planned, now + MAX_TURN);
            }
            (None, _) => {}
        }
    }
    occupied.retain(|_, occupied| now < occupied.until);
    // The urgent ones, then the soonest to end; equals in the manifest's order.
    waiting.sort_unstable();
    let mut wake_at: Option<Timestamp> = None;
    for (patient, _, at) in waiting {
        let Some(planned) = placements.get_mut(at) else { continue };
        let before = groups(planned).filter_map(|group| occupied.get(&group)).max_by_key(|occupied| occupied.until);
        match before {
            Some(before) if patient => {
                let trouble = trouble(planned, before);
                wake_at = Some(wake_at.map_or(before.until, |earliest| earliest.min(before.until)));
                wait(planned, trouble);
            }
            _ => {
                planned.turn = Turn::Begins;
                occupy(&mut occupied, planned, now + MAX_TURN);
            }
        }
    }
    wake_at
}

/// A placement whose order disturbs a service that uses what is there.
fn disturbed<'r>(planned: &Planned<'_>, reports: &'r Reports) -> Option<(&'r PlacementEntry, InUse<'r>)> {
    if planned.certificate.content.leaf().is_none() || planned.placement.purge || !planned.disruptive {
        return None;
    }
    let entry = reports.placement(&planned.id()?)?;
    let report = entry.report()?;
    let in_use = match (&report.held, &report.found) {
        (Some(held), _) => InUse::Held(held),
        (None, Some(found)) => InUse::Found(found),
        (None, None) => entry.turn().map(|_| InUse::Replaced)?,
    };
    Some((entry, in_use))
}

fn is_settled(planned: &Planned<'_>, entry: &PlacementEntry) -> bool {
    planned.decision == Decision::Keep
        && planned.ordered.is_none()
        && entry.report().is_some_and(|report| report.stage >= report.goal)
}

fn is_under_way(planned: &Planned<'_>, entry: &PlacementEntry) -> bool {
    planned.decision == Decision::Keep
        && entry
            .report()
            .is_some_and(|report| report.trouble.is_none() && (planned.ordered.is_some() || report.stage < report.goal))
}

fn occupy<'m>(occupied: &mut BTreeMap<Group<'m>, Occupied>, planned: &Planned<'m>, until: Timestamp) {
    for group in groups(planned) {
        let known = occupied.get(&group).is_some_and(|known| until < known.until);
        if !known {
            occupied.insert(group, Occupied { label: planned.label(), until });
        }
    }
}

fn trouble(planned: &Planned<'_>, before: &Occupied) -> Trouble {
    let together = match &planned.placement.recipe {
        Some(recipe) => format!("of the placements of one certificate, or of the recipe {recipe},"),
        None => "of the placements of one certificate".to_owned(),
    };
    Trouble {
        halt: Halt::Waiting,
        attempt: format!("renew {}", planned.label()),
        cause: format!("{} is being renewed, and {together} Pinion disturbs one service at a time", before.label),
        remedy: "nothing: Pinion continues when that one is served, and at that time at the latest".to_owned(),
        retry_at: Some(before.until),
    }
}

fn wait(planned: &mut Planned<'_>, trouble: Trouble) {
    // A request that is there already stays with the guest.
    let keeps = matches!(&planned.decision, Decision::Order(order) if order.step == Step::Sign);
    planned.ordered = planned.ordered.filter(|_| keeps);
    // A guest that is told to replace what it has found stops looking at it, and it would be a first installation.
    planned.adoption = planned.adoption.map(|_| AdoptionDecision::Undecided);
    planned.decision = Decision::Wait(trouble);
}

/// Has the windows of services that are disturbed together open one after the other: agents go by their windows alone, also
/// without a controller. Each gets an equal part of the window first, of [`MAX_TURN`] at most.
pub(super) fn stagger(placements: &mut [Planned<'_>]) {
    let mut together: BTreeMap<Group<'_>, Vec<usize>> = BTreeMap::new();
    for (at, planned) in placements.iter().enumerate() {
        if planned.window.is_some()
            && planned.disruptive
            && let Some(group) = groups(planned).last()
        {
            together.entry(group).or_default().push(at);
        }
    }
    for members in together.into_values() {
        for (turn, at) in (0_u32..).zip(&members) {
            let Some(window) = placements.get_mut(*at).and_then(|planned| planned.window.as_mut()) else { continue };
            for Opening { opens, closes } in window {
                let part = closes.since(*opens) / u32::try_from(members.len()).unwrap_or(u32::MAX);
                *opens = *opens + part.min(MAX_TURN) * turn;
            }
        }
    }
}
