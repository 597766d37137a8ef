//! Guests that were taken back to an earlier state, which shows when they link, or in Proxmox's files.
//!
//! Invariant: what such a guest shows is not trusted any further: it joins anew through the hypervisor, or is locked
//! where nobody can tell it from a copy. No other guest is concerned.

use pinion_proto::{causes::chain, clock::Timestamp, id::Guest, report::GuestFacts};

use super::Reconciler;
use crate::{
    events::{GuestEvent, What, taken_back_or_cloned},
    identity::Whose,
    inventory::Inventory,
    link::Turned,
    reports::Setback,
};

impl Reconciler {
    /// A guest has linked and is younger than it was.
    pub(super) fn rolled_back(&mut self, guest: Guest, setback: &Setback, facts: &GuestFacts, now: Timestamp) {
        let setback = setback.to_string();
        let (turned, what, written) = if self.parts.identities.whose(guest, facts) == Whose::Its {
            (Turned::MustRejoin, GuestEvent::RolledBack(setback), self.parts.identities.distrust(guest))
        } else {
            let why = taken_back_or_cloned(&setback, self.facts.get(&guest), facts);
            let written = self.parts.identities.lock(guest, &why).map(drop);
            (Turned::Locked, GuestEvent::Locked(why), written)
        };
        self.heard(Some(guest), What::Guest(guest, what).at(now));
        if let Err(error) = written {
            self.heard(Some(guest), What::Guest(guest, GuestEvent::RefusalUnwritten(chain(&error))).at(now));
        }
        self.let_go(guest, now);
        self.turned_away(guest, turned, now);
    }

    /// Ends links of what is not, by `next`, what it was let in as: of virtual machines whose `vmgenid` is another one, and
    /// of what was let in before the hypervisor told of its guests and is another guest, or one of several. What dials
    /// again is looked at anew.
    pub(super) fn note_machines(&mut self, next: &Inventory, now: Timestamp) {
        if self.inventory.is_awaited() && !next.is_awaited() {
            let another = |guest: &Guest| {
                let facts = self.facts.get(guest)?;
                let whose = self.parts.identities.whose(*guest, facts);
                matches!(whose, Whose::Anothers(_) | Whose::Alike(_)).then_some(*guest)
            };
            let others: Vec<_> = self.sessions.guests().filter_map(|guest| another(&guest)).collect();
            for guest in others {
                self.event(What::Guest(guest, GuestEvent::MayBeCopy), now);
                self.let_go(guest, now);
            }
        }
        let moved = |guest: &Guest| {
            let before = self.inventory.vmgenid(*guest);
            before.is_some() && next.vmgenid(*guest).is_some_and(|now| Some(now) != before)
        };
        let moved: Vec<_> = self.sessions.guests().filter(moved).collect();
        for guest in moved {
            self.event(What::Guest(guest, GuestEvent::OtherVmgenid), now);
            self.let_go(guest, now);
        }
    }

    fn let_go(&mut self, guest: Guest, now: Timestamp) {
        self.sessions.end(guest);
        self.reports.link_down(guest, now);
        self.touch(guest);
    }
}
