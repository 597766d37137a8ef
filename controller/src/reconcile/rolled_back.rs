//! Guests that were taken back to an earlier state, which shows when they link, or in Proxmox's files.
//!
//! Invariant: what such a guest shows is not trusted any further: it joins anew through the hypervisor, or is locked
//! where nobody can tell it from a copy. No other guest is concerned.

use pinion_proto::{causes::chain, clock::Timestamp, id::Guest, report::GuestFacts};

use super::Reconciler;
use crate::{
    events::{Event, Kind},
    identity::Whose,
    inventory::Inventory,
    link::Turned,
    reports::Setback,
};

impl Reconciler {
    /// A guest has linked and is younger than it was.
    pub(super) fn rolled_back(&mut self, guest: Guest, setback: &Setback, facts: &GuestFacts, now: Timestamp) {
        let (turned, text, written) = if self.parts.identities.whose(guest, facts) == Whose::Its {
            let text = format!(
                "Guest {guest} was rolled back to a snapshot: {setback}. Its identity is not trusted any more, and it \
                 joins anew through the hypervisor"
            );
            (Turned::Outcast, text, self.parts.identities.distrust(guest))
        } else {
            let who = match self.facts.get(&guest) {
                Some(before) => format!("last seen as {}, and now as {}", words(before), words(facts)),
                None => format!("seen as {}", words(facts)),
            };
            let why = format!("it was rolled back to a snapshot, or cloned: {setback}; {who}");
            let text = format!(
                "Guest {guest} is locked, because {why}. See to it that one of it runs; `pinion guest enroll {guest}`, \
                 or `pinion guest unlock {guest}` and a fresh join token, let it in again"
            );
            (Turned::Locked, text, self.parts.identities.lock(guest, &why).map(drop))
        };
        self.heard(Some(guest), Event::new(now, Kind::RolledBack, text).guest(guest));
        if let Err(error) = written {
            let text = format!(
                "That guest {guest} is refused cannot be written down yet, and holds for as long as this controller \
                 runs: {}",
                chain(&error)
            );
            self.heard(Some(guest), Event::new(now, Kind::Failed, text).guest(guest));
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
                let text = format!(
                    "What is linked as guest {guest} may be a copy of it, and has to show who it is: its link is ended"
                );
                self.event(Event::new(now, Kind::Refused, text).guest(guest));
                self.let_go(guest, now);
            }
        }
        let moved = |guest: &Guest| {
            let before = self.inventory.vmgenid(*guest);
            before.is_some() && next.vmgenid(*guest).is_some_and(|now| Some(now) != before)
        };
        let moved: Vec<_> = self.sessions.guests().filter(moved).collect();
        for guest in moved {
            let text = format!("Guest {guest} has another vmgenid: it was rolled back, and its link is ended");
            self.event(Event::new(now, Kind::RolledBack, text).guest(guest));
            self.let_go(guest, now);
        }
    }

    fn let_go(&mut self, guest: Guest, now: Timestamp) {
        self.sessions.end(guest);
        self.reports.link_down(guest, now);
        self.touch(guest);
    }
}

fn words(facts: &GuestFacts) -> String {
    let card = facts.hwaddrs.first().map(|card| format!(" with network card {card}")).unwrap_or_default();
    format!("{}{card}", if facts.hostname.is_empty() { "an unnamed machine" } else { &facts.hostname })
}
