//! Guests that were destroyed: their identities are refused, and their placements kept in sight until a person has
//! taken note.
//!
//! Invariant: a guest counts as destroyed only when Proxmox listed it once and has gone without it for a while; one
//! that Proxmox never listed may be no guest of its, and a list that cannot be read says nothing. A list that has lost
//! all of several guests at once is more likely a cluster that has lost its files: it is believed much later.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::{Guest, Vmid},
    stage::{Halt, Trouble},
};
use serde::{Deserialize, Serialize};

use super::{Reconciler, keep};
use crate::{
    events::{self, GuestEvent, HostEvent, What},
    inventory::Inventory,
    reports::GuestEntry,
    store::Area,
};

/// Longer than any move of a configuration from one node to another takes to be seen.
const GONE_FOR: Duration = Duration::from_secs(10);

/// Long enough to restore a cluster's database (`/var/lib/pve-cluster`), which a person does before lunch.
const ALL_GONE_FOR: Duration = Duration::from_secs(60 * 60);

/// A revocation that failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(30);

const DOCUMENT: &str = "listed-guests";

/// Which guests were there, and which are not any more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Departures {
    /// Those that Proxmox listed last.
    listed: BTreeSet<Vmid>,
    /// Those that were destroyed, of which nobody has taken note.
    #[serde(default)]
    destroyed: BTreeSet<Vmid>,
    /// Those that it lists no more, and from when on that counts.
    #[serde(skip)]
    leaving: BTreeMap<Vmid, Timestamp>,
    /// What was written down before cannot be read, and is not replaced.
    #[serde(skip)]
    unread: bool,
}

impl Departures {
    /// Takes in which guests there are. Those that were destroyed and have been made anew.
    fn observe(&mut self, inventory: &Inventory, now: Timestamp) -> Vec<Vmid> {
        if !inventory.is_complete() {
            return Vec::new();
        }
        for (vmid, _) in inventory.guests() {
            self.listed.insert(vmid);
        }
        self.leaving.retain(|vmid, _| inventory.guest(*vmid).is_none());
        let leaving = |vmid: &&Vmid| inventory.guest(**vmid).is_none() && !self.leaving.contains_key(vmid);
        let leaving: Vec<_> = self.listed.iter().filter(leaving).copied().collect();
        let all_at_once = inventory.guests().len() == 0 && leaving.len() > 1;
        let at = now + if all_at_once { ALL_GONE_FOR } else { GONE_FOR };
        self.leaving.extend(leaving.into_iter().map(|vmid| (vmid, at)));
        let anew: Vec<_> = self.destroyed.iter().filter(|vmid| inventory.guest(**vmid).is_some()).copied().collect();
        self.destroyed.retain(|vmid| inventory.guest(*vmid).is_none());
        anew
    }

    /// Those that are gone for good by now.
    fn gone(&self, now: Timestamp) -> Vec<Vmid> {
        self.leaving.iter().filter(|(_, at)| **at <= now).map(|(vmid, _)| *vmid).collect()
    }

    /// Notes that a guest's end was seen to.
    fn settle(&mut self, vmid: Vmid, destroyed: bool) {
        self.leaving.remove(&vmid);
        self.listed.remove(&vmid);
        if destroyed {
            self.destroyed.insert(vmid);
        }
    }

    /// When the next one is gone for good.
    pub(super) fn wake_at(&self) -> Option<Timestamp> {
        self.leaving.values().min().copied()
    }

    /// Whether a guest was destroyed, and nobody has taken note.
    pub(super) fn has(&self, guest: Guest) -> bool {
        matches!(guest, Guest::Vmid(vmid) if self.destroyed.contains(&vmid))
    }
}

/// Why a destroyed guest's placement is still told.
pub(super) fn trouble(label: &str, guest: Guest) -> Trouble {
    Trouble {
        halt: Halt::Blocked,
        attempt: format!("keep {label}"),
        cause: format!("guest {guest} was destroyed"),
        remedy: format!("`pinion guest forget {guest}` takes note of it; take what it held out of the manifest"),
        retry_at: None,
    }
}

impl Reconciler {
    /// Takes what was known when the controller stopped. A document that cannot be read is told and left as it is, for
    /// as long as this controller runs.
    pub(super) fn restore_departures(&mut self) {
        match self.parts.store.read(Area::Local, DOCUMENT) {
            Ok(kept) => self.departures = kept.unwrap_or_default(),
            Err(error) => {
                self.departures.unread = true;
                let what = HostEvent::Unreadable(events::Document::Departures, chain(&error));
                self.event(What::Host(what), self.parts.clock.now());
            }
        }
    }

    /// Takes in which guests there are now.
    pub(super) fn note_listed(&mut self, now: Timestamp) {
        let before = self.departures.clone();
        for vmid in self.departures.observe(&self.inventory, now) {
            // What its predecessor held is not here.
            self.forget_all(Guest::Vmid(vmid));
            self.event(What::Guest(Guest::Vmid(vmid), GuestEvent::MadeAnew), now);
        }
        self.keep_departures(&before);
    }

    /// Sees to those that are gone for good.
    pub(super) fn see_off(&mut self, now: Timestamp) {
        if self.inventory.problem().is_some() {
            return;
        }
        let before = self.departures.clone();
        for vmid in self.departures.gone(now) {
            let guest = Guest::Vmid(vmid);
            let held = match self.parts.identities.guest(guest) {
                Ok(None) => {
                    self.departures.settle(vmid, false);
                    continue;
                }
                held => held.map(drop),
            };
            // A record that cannot be read is one more reason to forget it.
            if let Err(error) = held.or(Ok(())).and_then(|()| self.parts.identities.forget(guest)) {
                self.event(What::Guest(guest, GuestEvent::DestroyedNotRefused(chain(&error))), now);
                self.departures.leaving.insert(vmid, now + RETRY);
                continue;
            }
            self.departures.settle(vmid, true);
            self.sessions.end(guest);
            self.reports.link_down(guest, now);
            self.touch_now(guest);
            let placements = self.reports.guest(guest).map_or(0, GuestEntry::reported);
            self.event(What::Guest(guest, GuestEvent::Destroyed(placements)), now);
        }
        self.keep_departures(&before);
    }

    /// A person has taken note of a guest's end. False when it was not destroyed.
    pub(super) fn acknowledge(&mut self, guest: Guest) -> bool {
        let before = self.departures.clone();
        let Guest::Vmid(vmid) = guest else { return false };
        let was = self.departures.destroyed.remove(&vmid);
        self.keep_departures(&before);
        was
    }

    /// Forgets what is known of a guest, and ends its link.
    pub(super) fn forget_all(&mut self, guest: Guest) {
        self.sessions.end(guest);
        self.is_on_record(guest);
        self.reports.forget(guest);
        self.facts.remove(&guest);
        self.signing.retain(|id, _| id.guest != guest);
        keep::forget(&self.parts.store, guest);
    }

    fn keep_departures(&self, before: &Departures) {
        let same = (&before.listed, &before.destroyed) == (&self.departures.listed, &self.departures.destroyed);
        if same || self.departures.unread {
            return;
        }
        if let Err(error) = self.parts.store.write(Area::Local, DOCUMENT, &self.departures) {
            tracing::warn!(error = chain(&error), "Cannot keep which guests were there");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::GuestInfo;

    fn vmid(number: u32) -> Vmid {
        Vmid::try_from(number).expect("a VMID")
    }

    fn listing(numbers: &[u32]) -> Inventory {
        let guests = numbers.iter().map(|number| (vmid(*number), GuestInfo::default()));
        Inventory::complete(guests.collect(), &BTreeMap::new())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(1_800_000_000 + seconds)
    }

    #[test]
    fn a_guest_is_gone_when_it_was_listed_and_is_not_for_a_while() {
        let mut departures = Departures::default();
        departures.observe(&listing(&[101, 102]), at(0));
        departures.observe(&listing(&[101]), at(100));
        assert_eq!((departures.gone(at(109)), departures.wake_at()), (vec![], Some(at(110))));
        departures.observe(&listing(&[101]), at(109));
        assert_eq!(departures.gone(at(110)), [vmid(102)], "seen missing again does not put it off");
        departures.settle(vmid(102), true);
        assert!(departures.has(Guest::Vmid(vmid(102))) && departures.wake_at().is_none());
        assert_eq!(departures.observe(&listing(&[101, 102]), at(200)), [vmid(102)], "made anew");
        assert!(!departures.has(Guest::Vmid(vmid(102))));
    }

    #[test]
    fn a_guest_that_comes_back_in_time_was_never_gone() {
        let mut departures = Departures::default();
        departures.observe(&listing(&[101, 102]), at(0));
        departures.observe(&listing(&[101]), at(100));
        assert!(departures.observe(&listing(&[101, 102]), at(105)).is_empty());
        assert!(departures.gone(at(1000)).is_empty());
    }

    #[test]
    fn a_list_that_says_nothing_ends_nobody() {
        let mut departures = Departures::default();
        departures.observe(&listing(&[101, 102]), at(0));
        departures.observe(&Inventory::default(), at(100));
        departures.observe(&Inventory::awaited(BTreeMap::new()), at(200));
        assert!(departures.gone(at(1000)).is_empty());
        assert_eq!(Departures::default().gone(at(1000)), [], "nor one that was never listed");
    }

    #[test]
    fn the_last_guest_of_a_cluster_is_gone_as_any_other() {
        let mut departures = Departures::default();
        departures.observe(&listing(&[101, 102]), at(0));
        departures.observe(&listing(&[101]), at(100));
        departures.observe(&listing(&[]), at(103));
        assert_eq!(departures.gone(at(110)), [vmid(102)]);
        assert_eq!(departures.gone(at(113)), [vmid(101), vmid(102)]);
    }

    #[test]
    fn a_cluster_that_loses_all_its_guests_at_once_is_given_time() {
        let mut departures = Departures::default();
        departures.observe(&listing(&[101, 102]), at(0));
        departures.observe(&listing(&[]), at(100));
        departures.observe(&listing(&[]), at(1000));
        assert!(departures.gone(at(3699)).is_empty());
        assert_eq!(departures.gone(at(3700)), [vmid(101), vmid(102)]);
        departures.observe(&listing(&[101, 102]), at(3000));
        assert!(departures.gone(at(9000)).is_empty(), "its database was restored");
    }

    #[test]
    fn what_was_listed_is_known_over_a_restart() {
        let mut departures = Departures::default();
        departures.observe(&listing(&[101, 102]), at(0));
        let kept = serde_json::to_string(&departures).expect("written");
        let mut departures: Departures = serde_json::from_str(&kept).expect("read");
        departures.observe(&listing(&[101]), at(100));
        assert_eq!(departures.gone(at(110)), [vmid(102)]);
    }
}
