//! Delivery: certificates that are signed and that their guests do not have yet.
//!
//! Answers: what is sent to which guest now; is there a certificate already for what a guest requests?
//! Invariant: a certificate is given to nobody but the guest that shows the request that it was signed for, and is
//! forgotten when the guest says that it has it or requests something else. Each is written before its guest can have
//! it (`undelivered`), which is a convenience: without it a certificate is signed once more.

mod undelivered;

use std::collections::{HashMap, HashSet};

use pinion_proto::{
    clock::Timestamp,
    id::{Guest, PlacementId},
};

use undelivered::MAX_KEPT;
pub(super) use undelivered::{Documents, Undelivered, remove};

use super::{
    clock_watch::SKEW,
    effects::{Effects, Outgoing},
};
use crate::{
    planner::{Plan, Planned},
    world::World,
};

/// Every certificate on its way, by guest: what one guest says costs nothing for the others, however many wait.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    ready: HashMap<Guest, HashMap<PlacementId, Undelivered>>,
    count: usize,
}

impl Deliveries {
    /// Sends what is ready to guests that are linked, request it and have not been sent it.
    pub(super) fn step(&mut self, world: &World, plan: &Plan<'_>, effects: &mut Effects) {
        if self.count == 0 {
            return;
        }
        // Signed under a root that only turned out to be a new one when it came.
        let waiting: HashSet<_> =
            plan.placements.iter().filter(|planned| planned.waits_for_root).filter_map(Planned::id).collect();
        let now = effects.now();
        // Who is linked is sent it all the same, and says what is wrong with it: a clock may be.
        self.retain(|id, ready| world.is_linked(id.guest) || !ready.is_expired(now), effects);
        for (id, ready) in self.iter() {
            let (entry, delivery) = (world.placement(id), &ready.delivery);
            let is_sent =
                entry.and_then(|entry| entry.delivery()).is_some_and(|note| note.generation == delivery.generation);
            let held_back = waiting.contains(id) || world.inventory().hands_off(id.guest);
            if !is_sent && !held_back && world.is_linked(id.guest) && ready.answers(entry) {
                effects.send(id, Outgoing::Delivery(Box::new(delivery.clone())));
            }
        }
    }

    /// A certificate was signed, which was asked for at that moment.
    pub(super) fn add(
        &mut self,
        id: PlacementId,
        signed: Undelivered,
        asked: Timestamp,
        world: &World,
        effects: &mut Effects,
    ) {
        let (guest, now) = (id.guest, effects.now());
        let early = signed.delivery.chain.leaf().not_before() > now + SKEW;
        self.insert(id.clone(), signed);
        // Signed by a clock that was set back meanwhile: it is of no use to anybody, and there will be another.
        if early && asked > now + SKEW {
            self.forget(&id, effects);
        }
        self.settle(guest, world, effects);
    }

    /// These were on their way when the controller stopped.
    pub(super) fn restore(ready: HashMap<PlacementId, Undelivered>) -> Self {
        let mut deliveries = Self::default();
        ready.into_iter().for_each(|(id, undelivered)| deliveries.insert(id, undelivered));
        deliveries
    }

    fn insert(&mut self, id: PlacementId, undelivered: Undelivered) {
        let before = self.ready.entry(id.guest).or_default().insert(id, undelivered);
        self.count += usize::from(before.is_none());
    }

    fn get(&self, id: &PlacementId) -> Option<&Undelivered> {
        self.ready.get(&id.guest)?.get(id)
    }

    /// Everything that is on its way.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PlacementId, &Undelivered)> {
        self.ready.values().flatten()
    }

    /// Whether a certificate is there already that is what the guest requests, as the manifest is now.
    pub(super) fn has(&self, id: &PlacementId, planned: &Planned<'_>, world: &World) -> bool {
        self.get(id).is_some_and(|ready| ready.answers(world.placement(id)) && ready.fits(planned))
    }

    /// Whether a certificate is signed for it that the guest has not taken yet.
    pub(super) fn is_ready(&self, id: &PlacementId) -> bool {
        self.get(id).is_some()
    }

    /// Whether one more is kept, while so many are being signed.
    pub(super) fn has_room(&self, under_way: usize) -> bool {
        self.count + under_way < MAX_KEPT
    }

    /// Forgets certificates that a guest's reports show it to have, or not to request any more.
    pub(super) fn settle(&mut self, guest: Guest, world: &World, effects: &mut Effects) {
        self.retain_of(guest, |id, ready| ready.answers(world.placement(id)), effects);
    }

    /// Forgets certificates that begin too late: they were signed by a clock that was set back.
    pub(super) fn forget_early(&mut self, effects: &mut Effects) {
        let now = effects.now();
        self.retain(|_, ready| ready.delivery.chain.leaf().not_before() <= now + SKEW, effects);
    }

    /// Forgets everything that is on its way to a guest.
    pub(super) fn forget_guest(&mut self, guest: Guest, effects: &mut Effects) {
        self.retain_of(guest, |_, _| false, effects);
    }

    /// Forgets a placement's certificate, here and on disk.
    pub(super) fn forget(&mut self, id: &PlacementId, effects: &mut Effects) {
        self.retain_of(id.guest, |known, _| known != id, effects);
    }

    /// Forgets certificates of which this does not hold, here and on disk.
    fn retain(&mut self, holds: impl Fn(&PlacementId, &Undelivered) -> bool, effects: &mut Effects) {
        let guests: Vec<Guest> = self.ready.keys().copied().collect();
        guests.into_iter().for_each(|guest| self.retain_of(guest, &holds, effects));
    }

    /// As [`Self::retain`], of one guest's.
    fn retain_of(&mut self, guest: Guest, holds: impl Fn(&PlacementId, &Undelivered) -> bool, effects: &mut Effects) {
        let Some(ready) = self.ready.get_mut(&guest) else { return };
        let before = ready.len();
        ready.retain(|id, undelivered| {
            let stays = holds(id, undelivered);
            if !stays {
                effects.discard(id.clone(), undelivered.delivery.generation);
            }
            stays
        });
        self.count -= before - ready.len();
        if ready.is_empty() {
            self.ready.remove(&guest);
        }
    }
}

#[cfg(test)]
mod tests;
