//! Guests that were taken back to an earlier state, which shows when they link, or in Proxmox's files.
//!
//! Invariant: what such a guest shows is not trusted any further: it joins anew through the hypervisor, or is locked
//! where nobody can tell it from a copy. No other guest is concerned.

use pinion_proto::{causes::chain, id::Guest, report::GuestFacts};

use super::effects::Effects;
use crate::{
    events::{GuestEvent, What, taken_back_or_cloned},
    identity::{Identities, Whose},
    inventory::Inventory,
    link::Turned,
    world::{Setback, World},
};

/// A guest has linked and is younger than it was. What that says of it, for enrolling.
pub(super) fn taken_back(
    guest: Guest,
    setback: &Setback,
    facts: &GuestFacts,
    world: &World,
    identities: &Identities,
    effects: &mut Effects,
) -> Turned {
    let setback = setback.to_string();
    let (turned, what, written) = if identities.whose(guest, facts) == Whose::Its {
        (Turned::MustRejoin, GuestEvent::RolledBack(setback), identities.distrust(guest))
    } else {
        let why = taken_back_or_cloned(&setback, world.facts(guest), facts);
        let written = identities.lock(guest, &why).map(drop);
        (Turned::Locked, GuestEvent::Locked(why), written)
    };
    effects.limited_event(Some(guest), What::Guest(guest, what));
    if let Err(error) = written {
        effects.limited_event(Some(guest), What::Guest(guest, GuestEvent::RefusalUnwritten(chain(&error))));
    }
    let_go(guest, effects);
    turned
}

/// Ends links of what is not, by `next`, what it was let in as: of virtual machines whose `vmgenid` is another one, and
/// of what was let in before the hypervisor told of its guests and is another guest, or one of several. What dials
/// again is looked at anew.
pub(super) fn step(
    world: &World,
    next: &Inventory,
    linked: &[Guest],
    whose: impl Fn(Guest, &GuestFacts) -> Whose,
    effects: &mut Effects,
) {
    let is_another = |guest: Guest| {
        let facts = world.facts(guest);
        facts.is_some_and(|facts| matches!(whose(guest, facts), Whose::Anothers(_) | Whose::Alike(_)))
    };
    let first_told = world.inventory().is_awaited() && !next.is_awaited();
    for guest in linked.iter().copied().filter(|guest| first_told && is_another(*guest)) {
        effects.event(What::Guest(guest, GuestEvent::MayBeCopy));
        let_go(guest, effects);
    }
    let has_moved = |guest: &Guest| {
        let before = world.inventory().vmgenid(*guest);
        before.is_some() && next.vmgenid(*guest).is_some_and(|now| Some(now) != before)
    };
    for guest in linked.iter().copied().filter(has_moved) {
        effects.event(What::Guest(guest, GuestEvent::OtherVmgenid));
        let_go(guest, effects);
    }
}

fn let_go(guest: Guest, effects: &mut Effects) {
    effects.end_session(guest);
    effects.save(guest);
}

#[cfg(test)]
mod tests;
