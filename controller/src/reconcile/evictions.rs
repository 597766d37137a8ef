//! Evictions: guests that a person put out, and what becomes of what they held.
//!
//! Answers: what does it mean that a guest may be in other hands, and is that done?
//! Invariant: an evicted guest is brought in again by a person alone (`guest enroll`, `token create`, `guest unlock`),
//! not by the manifest, nor by what was under way when it was evicted. Of a compromised one every certificate that this
//! controller had signed for it and that has not expired is revoked at once, where its issuer can; no certificate is
//! signed with a shared key that it had, and what others hold with that key is revoked when they serve another
//! (`compromise`). All of this is written to the local area, with a copy in the shared one for when the local one is lost
//! (`copies`), and goes on until it is done.

mod compromise;
mod copies;

use std::collections::BTreeSet;

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::{CertificateName, Guest},
    stage::Trouble,
};
use serde::{Deserialize, Serialize};

use super::{effects::Effects, resources::Resources, revocation::Revocations, troubles};
use crate::{
    admin::caller::Caller,
    events::{Document, Events, GuestEvent, HostEvent, What},
    identity::Identities,
    planner::{self, Planned},
    store::Store,
    world::{Change, World},
};

/// What is known of guests that were put out.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Evictions {
    guests: Vec<Eviction>,
    /// Shared certificates whose key is still to be given up.
    #[serde(default)]
    rekey: BTreeSet<CertificateName>,
    /// What was written before cannot be read, and is not replaced: why.
    #[serde(skip)]
    unread: Option<String>,
    /// Guests that a person has let in since then.
    #[serde(skip)]
    let_in: BTreeSet<Guest>,
    /// The copy in the shared area is still to be made.
    #[serde(skip)]
    uncopied: bool,
}

/// One guest that was put out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Eviction {
    pub(super) guest: Guest,
    pub(super) since: Timestamp,
    pub(super) by: Caller,
    /// Whether its keys may be in other hands.
    pub(super) compromised: bool,
}

impl Evictions {
    /// What was known when the controller stopped.
    pub(super) fn restore(store: &Store, events: &Events, now: Timestamp) -> Self {
        match copies::read(store) {
            Ok((kept, uncopied)) => Self { uncopied, ..kept },
            Err(error) => {
                let why = chain(&error);
                events.record(What::Host(HostEvent::Unreadable(Document::Evictions, why.clone())).at(now));
                Self { unread: Some(why), ..Self::default() }
            }
        }
    }

    /// Whether a guest was put out, and nobody has let it in again.
    pub(super) fn has(&self, guest: Guest) -> bool {
        self.of(guest).is_some()
    }

    /// Whether a guest may be brought in by itself. While it is not known who was evicted, none may.
    pub(super) fn admits(&self, guest: Guest) -> bool {
        self.unread.is_none() && !self.has(guest)
    }

    /// Why that is not known, if so.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.unread.as_deref().map(troubles::evictions_unreadable)
    }

    /// Why nothing is done for a placement whose guest was put out.
    pub(super) fn trouble_of(&self, planned: &Planned<'_>) -> Option<Trouble> {
        let Eviction { guest, since, by, compromised } = self.of(planned.guest?)?;
        let label = planner::label(planned.certificate, planned.placement, Some(*guest));
        Some(troubles::evicted(&label, *guest, *compromised, *since, by))
    }

    /// Looks whether what could not be read can be by now, and gives up shared keys as far as they can be.
    pub(super) fn step(
        &mut self,
        world: &World,
        revocations: &mut Revocations,
        resources: &Resources,
        effects: &mut Effects,
    ) {
        if self.unread.is_some() {
            self.reread(resources, effects);
        } else {
            self.copy(&resources.store);
        }
        self.give_keys_up(world, revocations, resources, effects);
    }

    /// Gives up shared keys as far as they can be.
    fn give_keys_up(
        &mut self,
        world: &World,
        revocations: &mut Revocations,
        resources: &Resources,
        effects: &mut Effects,
    ) {
        if self.rekey.is_empty() {
            return;
        }
        let Self { guests, rekey, .. } = self;
        let evicted = |guest| guests.iter().any(|eviction| eviction.guest == guest);
        compromise::give_keys_up(rekey, evicted, world, revocations, resources, effects);
        self.write(&resources.store);
    }

    fn reread(&mut self, resources: &Resources, effects: &mut Effects) {
        match copies::read(&resources.store) {
            Ok((kept, _)) => {
                self.merge(kept);
                effects.event(What::Host(HostEvent::EvictionsReadable));
                for eviction in &self.guests {
                    put_out(eviction.guest, &resources.identities, effects);
                }
                self.write(&resources.store);
            }
            Err(error) => self.unread = Some(chain(&error)),
        }
    }

    /// Puts a guest out; its identity is refused already. What was done and what could not be, in lines.
    pub(super) fn evict(
        &mut self,
        eviction: Eviction,
        world: &World,
        revocations: &mut Revocations,
        resources: &Resources,
        effects: &mut Effects,
    ) -> Vec<String> {
        let Eviction { guest, compromised, .. } = eviction;
        let mut lines = Vec::new();
        let kept = kept_in(world, guest);
        if compromised {
            lines.extend(compromise::revoke(&mut self.rekey, guest, world, revocations, resources, effects));
        }
        put_out(guest, &resources.identities, effects);
        let by = eviction.by.clone();
        self.let_in.remove(&guest);
        self.guests.retain(|eviction| eviction.guest != guest);
        self.guests.push(eviction);
        lines.extend(self.write(&resources.store));
        self.give_keys_up(world, revocations, resources, effects);
        if !self.rekey.is_empty() {
            let waiting: Vec<_> = self.rekey.iter().map(ToString::to_string).collect();
            lines.push(format!("a new key waits until the shared state can be written: {}", waiting.join(", ")));
        }
        lines.push(format!("to let guest {guest} in again, run `pinion guest enroll {guest}` or create a join token"));
        if !kept.is_empty() {
            lines.push(format!(
                "files from before Pinion are kept in guest {guest}, private keys among them perhaps; remove them there \
                 if the guest passes to somebody else: {}",
                kept.join(", ")
            ));
        }
        if !compromised {
            lines.push(format!(
                "if someone else may have its keys, run `pinion guest evict --compromised {guest}`: it revokes the \
                 guest's certificates"
            ));
        }
        for line in &lines {
            effects.asked(What::Guest(guest, GuestEvent::EvictionStep(line.clone())), &by);
        }
        lines
    }

    /// An evicted guest has linked: it was let in by what was under way when it was put out. False when it is not
    /// evicted.
    pub(super) fn keeps_out(&self, guest: Guest, identities: &Identities, effects: &mut Effects) -> bool {
        if !self.has(guest) {
            return false;
        }
        effects.limited_event(Some(guest), What::Guest(guest, GuestEvent::LinkedWhileEvicted));
        put_out(guest, identities, effects);
        true
    }

    /// A person lets an evicted guest in again.
    pub(super) fn let_in(&mut self, guest: Guest, store: &Store, effects: &mut Effects) {
        if self.unread.is_some() {
            self.let_in.insert(guest);
        }
        if !self.has(guest) {
            return;
        }
        self.guests.retain(|eviction| eviction.guest != guest);
        effects.event(What::Guest(guest, GuestEvent::LetIn));
        self.write(store);
    }

    fn of(&self, guest: Guest) -> Option<&Eviction> {
        self.guests.iter().find(|eviction| eviction.guest == guest)
    }

    /// Takes in what was written, which could not be read until now.
    fn merge(&mut self, kept: Self) {
        let (guests, let_in) = (std::mem::take(&mut self.guests), std::mem::take(&mut self.let_in));
        let is_new = |guest: Guest| guests.iter().all(|eviction| eviction.guest != guest) && !let_in.contains(&guest);
        self.guests = kept.guests.into_iter().filter(|eviction| is_new(eviction.guest)).collect();
        self.guests.extend(guests);
        self.rekey.extend(kept.rekey);
        self.unread = None;
    }

    /// Makes the copy in the shared area, if it is still to be made and can be.
    fn copy(&mut self, store: &Store) {
        self.uncopied = self.uncopied && !copies::copy(self, store);
    }

    /// Returns what to say when that cannot be written.
    fn write(&mut self, store: &Store) -> Option<String> {
        let why = match &self.unread {
            Some(why) => why.clone(),
            None => {
                let written = copies::write(self, store);
                self.uncopied = true;
                self.copy(store);
                chain(&written.err()?)
            }
        };
        Some(format!("this cannot be recorded, and holds only until the controller stops: {why}"))
    }
}

/// Where a guest keeps what Pinion replaced, as it last reported.
fn kept_in(world: &World, guest: Guest) -> Vec<String> {
    let placements = world.reports().guest(guest).into_iter().flat_map(|entry| entry.placements());
    let originals = placements.filter_map(|(_, entry)| entry.report()).flat_map(|report| &report.originals);
    let mut kept: Vec<_> = originals.filter_map(|original| Some(original.kept.as_ref()?.to_string())).collect();
    kept.sort_unstable();
    kept.dedup();
    kept
}

/// Ends whatever brings an evicted guest in, and refuses what that has given it by now.
fn put_out(guest: Guest, identities: &Identities, effects: &mut Effects) {
    if let Guest::Vmid(vmid) = guest {
        effects.stop_enrolment(vmid, format!("guest {guest} was evicted"));
    }
    if let Err(error) = identities.evict(guest) {
        effects.event(What::Guest(guest, GuestEvent::EvictionUnwritten(chain(&error))));
    }
    effects.forget(guest);
    effects.change(Change::Enrolment(guest, None));
}

#[cfg(test)]
mod tests;
