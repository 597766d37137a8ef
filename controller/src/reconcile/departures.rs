//! Departures: guests that were destroyed. Their identities are refused, and their placements stay in sight until a
//! person has taken note.
//!
//! Invariant: a guest counts as destroyed only when Proxmox listed it once and has gone without it for a while; one
//! that Proxmox never listed may be no guest of its, and a list that cannot be read says nothing. A list that has lost
//! all of several guests at once is more likely a cluster that has lost its files: it is believed much later.

use std::{collections::BTreeMap, time::Duration};

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::{Guest, Vmid},
};

use self::listed::ListedGuests;
use super::effects::Effects;
use crate::{
    admin::{caller::Caller, protocol::Answer},
    events::{self, Events, GuestEvent, HostEvent, What},
    inventory::Inventory,
    store::{Store, StoreError},
    world::{GuestEntry, World},
};

pub(super) mod listed;

/// Longer than any move of a configuration from one node to another takes to be seen.
const GONE_FOR: Duration = Duration::from_secs(10);

/// Long enough to restore a cluster's database (`/var/lib/pve-cluster`), which a person does before lunch.
const ALL_GONE_FOR: Duration = Duration::from_secs(60 * 60);

/// An identity that could not be refused is tried again after this long.
const RETRY: Duration = Duration::from_secs(30);

/// Which guests were there, and which are not any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Departures {
    /// What of it is written.
    record: ListedGuests,
    /// Those that it lists no more, and from when on that counts.
    leaving: BTreeMap<Vmid, Timestamp>,
    /// What was written before cannot be read, and is not replaced.
    unread: bool,
}

impl From<ListedGuests> for Departures {
    fn from(record: ListedGuests) -> Self {
        Self { record, leaving: BTreeMap::new(), unread: false }
    }
}

impl Departures {
    /// What was known when the controller stopped. A document that cannot be read is told and left as it is, for as
    /// long as this controller runs.
    pub(super) fn restore(store: &Store, events: &Events, now: Timestamp) -> Self {
        match ListedGuests::read(store) {
            Ok(record) => Self::from(record),
            Err(error) => {
                let what = HostEvent::Unreadable(events::Document::Departures, chain(&error));
                events.record(What::Host(what).at(now));
                Self { unread: true, ..Self::default() }
            }
        }
    }

    /// Takes in which guests there are now. What is known of a destroyed guest that was made anew is forgotten.
    pub(super) fn observe(&mut self, inventory: &Inventory, effects: &mut Effects) {
        let before = self.record.clone();
        for vmid in self.compare(inventory, effects.now()) {
            // What its predecessor held is not here.
            effects.forget(Guest::Vmid(vmid));
            effects.event(What::Guest(Guest::Vmid(vmid), GuestEvent::MadeAnew));
        }
        self.save(&before, effects);
    }

    /// Sees to those that are gone for good: `refuse` refuses a guest's identity, and says whether it had one. Returns
    /// when the next one is gone.
    pub(super) fn step(
        &mut self,
        world: &World,
        refuse: impl Fn(Guest) -> Result<bool, StoreError>,
        effects: &mut Effects,
    ) -> Option<Timestamp> {
        let now = effects.now();
        if world.inventory().problem().is_none() {
            let before = self.record.clone();
            for vmid in self.gone(now) {
                self.depart(vmid, world, &refuse, effects);
            }
            self.save(&before, effects);
        }
        self.leaving.values().min().copied().filter(|at| *at > now)
    }

    fn depart(
        &mut self,
        vmid: Vmid,
        world: &World,
        refuse: &impl Fn(Guest) -> Result<bool, StoreError>,
        effects: &mut Effects,
    ) {
        let guest = Guest::Vmid(vmid);
        match refuse(guest) {
            Ok(false) => self.settle(vmid, false),
            Ok(true) => {
                self.settle(vmid, true);
                effects.end_session(guest);
                effects.save_at_once(guest);
                let placements = world.reports().guest(guest).map_or(0, GuestEntry::reported);
                effects.event(What::Guest(guest, GuestEvent::Destroyed(placements)));
            }
            Err(error) => {
                effects.event(What::Guest(guest, GuestEvent::DestroyedNotRefused(chain(&error))));
                self.leaving.insert(vmid, effects.now() + RETRY);
            }
        }
    }

    /// A person has taken note of a guest's end. False when it was not destroyed.
    pub(super) fn acknowledge(&mut self, guest: Guest, effects: &mut Effects) -> bool {
        let before = self.record.clone();
        let Guest::Vmid(vmid) = guest else { return false };
        let was = self.record.destroyed.remove(&vmid);
        self.save(&before, effects);
        was
    }

    /// A person takes note of a guest's end: nothing is known of it any more.
    pub(super) fn note_end(&mut self, guest: Guest, by: &Caller, effects: &mut Effects) -> Answer {
        if !self.acknowledge(guest, effects) {
            let text = format!("guest {guest} has no identity; `pinion guest list` shows the guests that have one");
            return Answer::NoSuchName(text);
        }
        effects.forget(guest);
        effects.asked(What::Guest(guest, GuestEvent::EndNoted), by);
        Answer::End
    }

    /// Whether a guest was destroyed, and nobody has taken note.
    pub(super) fn has(&self, guest: Guest) -> bool {
        matches!(guest, Guest::Vmid(vmid) if self.record.destroyed.contains(&vmid))
    }

    /// Takes in which guests there are. Those that were destroyed and have been made anew.
    fn compare(&mut self, inventory: &Inventory, now: Timestamp) -> Vec<Vmid> {
        if !inventory.is_complete() {
            return Vec::new();
        }
        for (vmid, _) in inventory.guests() {
            self.record.listed.insert(vmid);
        }
        self.leaving.retain(|vmid, _| inventory.guest(*vmid).is_none());
        let leaving = |vmid: &&Vmid| inventory.guest(**vmid).is_none() && !self.leaving.contains_key(vmid);
        let leaving: Vec<_> = self.record.listed.iter().filter(leaving).copied().collect();
        let all_at_once = inventory.guests().len() == 0 && leaving.len() > 1;
        let at = now + if all_at_once { ALL_GONE_FOR } else { GONE_FOR };
        self.leaving.extend(leaving.into_iter().map(|vmid| (vmid, at)));
        let anew: Vec<_> =
            self.record.destroyed.iter().filter(|vmid| inventory.guest(**vmid).is_some()).copied().collect();
        self.record.destroyed.retain(|vmid| inventory.guest(*vmid).is_none());
        anew
    }

    /// Those that are gone for good by now.
    fn gone(&self, now: Timestamp) -> Vec<Vmid> {
        self.leaving.iter().filter(|(_, at)| **at <= now).map(|(vmid, _)| *vmid).collect()
    }

    /// Notes that a guest's end was seen to.
    fn settle(&mut self, vmid: Vmid, destroyed: bool) {
        self.leaving.remove(&vmid);
        self.record.listed.remove(&vmid);
        if destroyed {
            self.record.destroyed.insert(vmid);
        }
    }

    fn save(&self, before: &ListedGuests, effects: &mut Effects) {
        if *before != self.record && !self.unread {
            effects.save_departures(self.record.clone());
        }
    }
}

#[cfg(test)]
mod tests;
