//! Questions that wait: each `pinion ensure` in progress.
//!
//! Invariant: who waits is told each change once, and is let go when everything is reached; or when something needs a
//! person and nothing else is under way. What a guest said before the question is not taken for an answer.

use std::{collections::HashMap, time::Duration};

use pinion_proto::id::PlacementId;
use tokio::{sync::mpsc, time::Instant};

use super::{
    answers::View,
    chosen::{Chosen, no_such_name},
    effects::{Effects, Outgoing},
    rest::Rest,
};
use crate::{
    admin::{
        caller::Caller,
        protocol::{Answer, Ensure, EnsureProgress, ProgressLine},
    },
    events::{HostEvent, What},
    planner::{self, Plan},
    world::{Change, World},
};

/// After a placement was asked to try again by an agent that does not say when it has, its old trouble is not believed for
/// this long.
const FRESH: Duration = Duration::from_secs(3);

/// Telling those who wait for a large fleet takes a fifth of a core at most.
const REST: u32 = 5;

/// Everyone who waits.
#[derive(Debug)]
pub(super) struct Waiting {
    waiters: Vec<Waiter>,
    rest: Rest,
    /// When those who wait are told what they were not told for the rest.
    put_off_until: Option<Instant>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { waiters: Vec::new(), rest: Rest::of(REST), put_off_until: None }
    }
}

/// One `pinion ensure` in progress.
#[derive(Debug)]
struct Waiter {
    ensure: Ensure,
    chosen: Chosen,
    /// By placement, the generation that must be exceeded.
    above: HashMap<String, u64>,
    answers: mpsc::Sender<Answer>,
    believed_from: Instant,
    /// By placement, the look that has to be done before anything is believed.
    looks: HashMap<String, (PlacementId, u64)>,
    /// What the asker knows, by placement.
    sent: HashMap<String, ProgressLine>,
}

impl Waiting {
    /// Begins to make something so, which the next plan has in it. What speaks against it is answered.
    pub(super) fn ask(
        &mut self,
        ensure: Ensure,
        by: &Caller,
        answers: mpsc::Sender<Answer>,
        world: &mut World,
        effects: &mut Effects,
    ) {
        match start(ensure, by, answers.clone(), world, effects) {
            Ok(waiter) => {
                self.waiters.push(waiter);
                self.rest.end();
            }
            // The asker may be gone.
            Err(answer) => drop(answers.try_send(answer)),
        }
    }

    /// Sends those who wait what is new, and lets those go who have what they asked for. Guests that were not asked for
    /// their look yet are asked.
    pub(super) fn step(&mut self, view: &View<'_>, plan: &Plan<'_>, effects: &mut Effects) {
        let began = Instant::now();
        self.put_off_until = self.rest.until(began).filter(|_| !self.waiters.is_empty());
        if self.put_off_until.is_some() {
            return;
        }
        self.waiters.retain_mut(|waiter| !waiter.answer(view, plan));
        let looks = self.waiters.iter().flat_map(|waiter| waiter.looks.values());
        for (id, look) in looks.filter(|(id, _)| !view.world.inventory().hands_off(id.guest)) {
            effects.send(id, Outgoing::Look(*look));
        }
        self.rest.worked(began, Instant::now());
    }

    /// When some waiter's placements have to be looked at anew although nothing has happened.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.waiters.iter().filter_map(Waiter::believes_at).chain(self.put_off_until).min()
    }
}

/// Asks for what is missing.
fn start(
    ensure: Ensure,
    by: &Caller,
    answers: mpsc::Sender<Answer>,
    world: &mut World,
    effects: &mut Effects,
) -> Result<Waiter, Answer> {
    let chosen = Chosen::of_known_guests(world, &ensure.selection)?;
    // What is in force is not what the administrator wants; that a certificate is renewed all the same may be urgent.
    if let Some(refusal) = not_in_force(world).filter(|_| !ensure.renew) {
        return Err(refusal);
    }
    let manifest = world.manifest().clone();
    let mut wanted = Vec::with_capacity(manifest.placement_count());
    for certificate in &manifest.certificates {
        for placement in &certificate.placements {
            let guest = world.inventory().resolve(&placement.guest).ok();
            wanted.push((certificate, placement, guest, planner::label(certificate, placement, guest)));
        }
    }
    let labels = wanted.iter().map(|(certificate, _, _, label)| (label.clone(), certificate.name.as_str()));
    if let Some(unknown) = chosen.unknown(labels) {
        return Err(no_such_name(world, unknown));
    }
    if let Some((.., label)) = wanted.iter().find(|(certificate, _, guest, label)| {
        let is_named = chosen.has_names() && chosen.means(label, certificate.name.as_str(), *guest);
        ensure.renew && is_named && certificate.content.is_watched()
    }) {
        return Err(Answer::Refused(format!(
            "Pinion only watches {label} (\"watch\": true): renew it where its certificate is made; `pinion ensure {label}` \
             without --renew looks at it now"
        )));
    }
    let (mut above, mut looks) = (HashMap::new(), HashMap::new());
    for (certificate, placement, guest, label) in wanted {
        let Some(guest) = guest.filter(|_| chosen.means(&label, certificate.name.as_str(), guest)) else { continue };
        let id = PlacementId { certificate: certificate.name.clone(), guest };
        if ensure.renew && !placement.purge && !certificate.content.is_watched() {
            above.insert(label.clone(), world.request_renewal(&id, ensure.now));
            effects.save_at_once(id.guest);
        }
        effects.change(Change::AttemptForgotten(id.clone()));
        let held_up = world.report(&id).is_some_and(|report| report.trouble.is_some());
        // Whatever is said of the next generation is said after the question.
        if above.contains_key(&label) && !held_up {
            continue;
        }
        if let Some(look) = world.request_look(&id) {
            looks.insert(label, (id, look));
            continue;
        }
        if held_up && !world.inventory().hands_off(id.guest) {
            effects.send(&id, Outgoing::Retry);
        }
    }
    if ensure.renew {
        effects.asked(What::Host(HostEvent::RenewalAsked(above.len())), by);
    }
    let believed_from = Instant::now() + FRESH;
    Ok(Waiter { ensure, chosen, above, answers, believed_from, looks, sent: HashMap::new() })
}

/// Why nothing can be said to be as it should be, if the manifest on disk is broken.
fn not_in_force(world: &World) -> Option<Answer> {
    let problem = world.in_force().problem.as_ref()?;
    Some(Answer::Refused(format!("the manifest on disk is not in force: {problem}")))
}

impl Waiter {
    /// When its placements' troubles become believable; none once they are.
    fn believes_at(&self) -> Option<Instant> {
        Some(self.believed_from).filter(|at| *at > Instant::now())
    }

    /// True when it is over for this one.
    fn answer(&mut self, view: &View<'_>, plan: &Plan<'_>) -> bool {
        if self.answers.is_closed() {
            return true;
        }
        let believed = self.believes_at().is_none();
        let mut is_blocked = false;
        // Nothing is under way for those that are reached or held up.
        let mut is_over = true;
        let mut placements = Vec::new();
        for planned in &plan.placements {
            let label = planned.label();
            if !self.chosen.means(&label, planned.certificate.name.as_str(), planned.guest) {
                continue;
            }
            let look = self.looks.get(&label).map(|(_, look)| *look);
            let line = view.progress(planned, self.ensure.until, self.above.get(&label).copied(), look);
            let is_new = look.is_some() || believed;
            is_blocked |= is_new && line.is_blocked();
            is_over &= line.reached || (line.is_held_up() && (is_new || !line.is_blocked()));
            placements.push(line);
        }
        let is_reached = placements.iter().all(|line| line.reached);
        if is_reached || (is_blocked && is_over && !self.ensure.wait) {
            let ended = not_in_force(view.world).unwrap_or(Answer::Ensured(EnsureProgress { placements }));
            return self.answers.try_send(ended).is_ok();
        }
        let changed: Vec<_> =
            placements.into_iter().filter(|line| self.sent.get(&line.placement) != Some(line)).collect();
        // A queue that is full is sent the newest state at the next change.
        if !changed.is_empty()
            && self.answers.try_send(Answer::Progress(EnsureProgress { placements: changed.clone() })).is_ok()
        {
            self.sent.extend(changed.into_iter().map(|line| (line.placement.clone(), line)));
        }
        false
    }
}

#[cfg(test)]
mod tests;
