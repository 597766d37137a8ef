//! Guests that a person put out, and what becomes of what they held.
//!
//! Answers: what does it mean that a guest may be in other hands, and is that done?
//! Invariant: an evicted guest is brought in again by a person alone (`guest enroll`, `token create`, `guest unlock`), not
//! by the manifest, nor by what was under way when it was evicted. Of a compromised one every
//! certificate that this controller had signed for it and that has not expired is revoked at once, where its issuer can; no certificate is signed with
//! a shared key that it had, and what others hold with that key is revoked when they serve another. All of this is
//! written to the local area and goes on until it is done.

use std::{
    cell::OnceCell,
    collections::{BTreeSet, HashSet},
};

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::{CertificateName, Guest, PlacementId},
    stage::{Halt, Trouble},
};
use serde::{Deserialize, Serialize};

use super::{Reconciler, shared};
use crate::{
    admin::{caller::Caller, protocol::Answer},
    events::{CertificateEvent, Document, GuestEvent, HostEvent, Kind, What},
    planner::{self, Planned},
    store::Area,
};

const DOCUMENT: &str = "evictions";

/// What is known of guests that were put out.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Evictions {
    guests: Vec<Eviction>,
    /// Shared certificates whose key is still to be given up.
    #[serde(default)]
    rekey: BTreeSet<CertificateName>,
    /// What was written down before cannot be read, and is not replaced: why.
    #[serde(skip)]
    unread: Option<String>,
    /// Guests that a person has let in since then.
    #[serde(skip)]
    let_in: BTreeSet<Guest>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Eviction {
    guest: Guest,
    since: Timestamp,
    by: Caller,
    compromised: bool,
}

/// What the events say was signed, by guest, certificate and serial number. They are two files of some megabytes: read
/// once for a command, and only if somebody asks.
type SignedBefore = OnceCell<HashSet<(Guest, CertificateName, String)>>;

impl Evictions {
    fn of(&self, guest: Guest) -> Option<&Eviction> {
        self.guests.iter().find(|eviction| eviction.guest == guest)
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
        let why = self.unread.as_ref()?;
        Some(Trouble {
            halt: Halt::Blocked,
            attempt: "read which guests were evicted".into(),
            cause: format!("{why}; until that is known, no guest is brought in by itself"),
            remedy: "put the file back from a backup; or remove it, and evict those guests again that are not to come back: \
                     `pinion events` has them"
                .into(),
            retry_at: None,
        })
    }

    /// Takes in what was written down, which could not be read until now.
    fn merge(&mut self, kept: Self) {
        let (guests, let_in) = (std::mem::take(&mut self.guests), std::mem::take(&mut self.let_in));
        let is_new = |guest: Guest| guests.iter().all(|eviction| eviction.guest != guest) && !let_in.contains(&guest);
        self.guests = kept.guests.into_iter().filter(|eviction| is_new(eviction.guest)).collect();
        self.guests.extend(guests);
        self.rekey.extend(kept.rekey);
        self.unread = None;
    }
}

impl Reconciler {
    /// Takes what was known when the controller stopped.
    pub(super) fn restore_evictions(&mut self) {
        match self.parts.store.read(Area::Local, DOCUMENT) {
            Ok(kept) => self.evictions = kept.unwrap_or_default(),
            Err(error) => {
                let why = chain(&error);
                let what = HostEvent::Unreadable(Document::Evictions, why.clone());
                self.event(What::Host(what), self.parts.clock.now());
                self.evictions.unread = Some(why);
            }
        }
    }

    /// Looks whether what could not be read can be by now.
    pub(super) fn reread_evictions(&mut self, now: Timestamp) {
        if self.evictions.unread.is_none() {
            return;
        }
        match self.parts.store.read::<Evictions>(Area::Local, DOCUMENT) {
            Ok(kept) => {
                self.evictions.merge(kept.unwrap_or_default());
                self.event(What::Host(HostEvent::EvictionsReadable), now);
                let put_out: Vec<_> = self.evictions.guests.iter().map(|eviction| eviction.guest).collect();
                for guest in put_out {
                    self.put_out(guest, now);
                }
                self.keep_evictions();
            }
            Err(error) => self.evictions.unread = Some(chain(&error)),
        }
    }

    /// Puts a guest out; its identity is refused already.
    pub(super) fn evict(&mut self, guest: Guest, compromised: bool, caller: &Caller, now: Timestamp) -> Answer {
        let mut lines = Vec::new();
        if compromised {
            lines.extend(self.compromised(guest, now));
        }
        self.acknowledge(guest);
        self.put_out(guest, now);
        self.evictions.let_in.remove(&guest);
        self.evictions.guests.retain(|eviction| eviction.guest != guest);
        self.evictions.guests.push(Eviction { guest, since: now, by: caller.clone(), compromised });
        lines.extend(self.keep_evictions());
        self.rekey(now);
        if !self.evictions.rekey.is_empty() {
            let waiting: Vec<_> = self.evictions.rekey.iter().map(ToString::to_string).collect();
            lines.push(format!("a new key waits until the shared state can be written: {}", waiting.join(", ")));
        }
        lines.push(format!(
            "the agent of guest {guest}, and what it installed, stay where they are; `pinion guest enroll {guest}`, or a join token, \
             lets it in again"
        ));
        if !compromised {
            lines.push(format!(
                "if its keys may be in other hands: `pinion guest evict --compromised {guest}` revokes what it held"
            ));
        }
        for line in &lines {
            self.record(What::Guest(guest, GuestEvent::EvictionStep(line.clone())).at(now).by(caller));
        }
        Answer::Evicted(lines)
    }

    /// Has revoked what a guest held, and gives up the shared keys that it had. What was done, in lines.
    fn compromised(&mut self, guest: Guest, now: Timestamp) -> Vec<String> {
        let mut lines = Vec::new();
        let held = self.reports.guest(guest).into_iter().flat_map(|entry| entry.placements());
        let held: Vec<_> =
            held.filter_map(|(name, entry)| Some((name.clone(), entry.report()?.held.clone()?))).collect();
        let signed = SignedBefore::default();
        for (certificate, held) in &held {
            let id = PlacementId { certificate: certificate.clone(), guest };
            if held.leaf.not_after() < now {
                continue;
            }
            let serial = held.leaf.serial();
            if self.parts.issuers.can_revoke(&held.issuer) && self.signed_for(&signed, &id, serial) {
                self.note_signed(&id, held.generation, &held.issuer, &held.leaf);
            } else if self.parts.issuers.can_revoke(&held.issuer) {
                if !self.revoking.knows(&id, serial) {
                    lines.push(format!(
                        "{certificate} with serial {serial}, which the guest says that it holds, is not known to be signed for it, \
                         and is not revoked: where it is the guest's, revoke it at {} by hand",
                        held.issuer
                    ));
                }
            } else {
                lines.push(format!(
                    "{} with serial {} cannot be revoked: issuer {} has no revocation; it is good until {}, for whoever trusts \
                     that issuer",
                    certificate,
                    held.leaf.serial(),
                    held.issuer,
                    held.leaf.not_after()
                ));
            }
        }
        for (id, issuer, serial) in self.revoking.compromise(guest, now) {
            lines.push(format!("{} with serial {serial} is being revoked at {issuer}", id.certificate));
        }
        self.write_at = Some(tokio::time::Instant::now());
        let manifest = self.manifest.manifest.clone();
        let here = |placement: &crate::manifest::Placement| self.inventory.resolve(&placement.guest) == Ok(guest);
        let shared = manifest.certificates.iter().filter(|certificate| certificate.is_shared());
        let shared: Vec<_> = shared
            .filter(|certificate| {
                certificate.placements.iter().any(here) || held.iter().any(|(name, _)| *name == certificate.name)
            })
            .map(|certificate| certificate.name.clone())
            .collect();
        for name in shared {
            lines.push(format!(
                "{name} gets another key in all other places; what they hold with the one before is revoked as soon as they serve \
                 the new one"
            ));
            self.evictions.rekey.insert(name);
        }
        lines
    }

    /// Whether the events say that this controller had the certificate signed for that placement, where it is not
    /// remembered otherwise: a guest's word alone never has anything revoked.
    fn signed_for(&self, signed: &SignedBefore, id: &PlacementId, serial: &str) -> bool {
        let read = || {
            let events = self.parts.events.recent(usize::MAX, self.parts.clock.now());
            let issued = events.into_iter().filter(|event| event.kind == Kind::Issued);
            issued.filter_map(|event| Some((event.guest?, event.certificate?, event.serial?))).collect()
        };
        !self.revoking.knows(id, serial)
            && signed.get_or_init(read).contains(&(id.guest, id.certificate.clone(), serial.to_owned()))
    }

    /// Gives up shared keys that a compromised guest had, as far as the shared state can be written.
    pub(super) fn rekey(&mut self, now: Timestamp) {
        if self.evictions.rekey.is_empty() {
            return;
        }
        let manifest = self.manifest.manifest.clone();
        let signed = SignedBefore::default();
        for name in self.evictions.rekey.clone() {
            if let Err(error) = shared::give_up(self, &name) {
                tracing::debug!(certificate = %name, error = chain(&error), "A shared key cannot be given up yet");
                continue;
            }
            self.evictions.rekey.remove(&name);
            self.event(What::Certificate(name.clone(), CertificateEvent::SharedKeyGivenUp), now);
            let placements = manifest.certificate(&name).into_iter().flat_map(|certificate| &certificate.placements);
            for placement in placements.filter(|placement| !placement.purge) {
                let Ok(guest) = self.inventory.resolve(&placement.guest) else { continue };
                if self.evictions.has(guest) {
                    continue;
                }
                let id = PlacementId { certificate: name.clone(), guest };
                let held = self.reports.placement(&id).and_then(|entry| entry.report()).and_then(|r| r.held.clone());
                if let Some(held) = held
                    && self.parts.issuers.can_revoke(&held.issuer)
                    && self.signed_for(&signed, &id, held.leaf.serial())
                {
                    self.note_signed(&id, held.generation, &held.issuer, &held.leaf);
                }
                self.revoking.revoke_when_replaced(&id);
                self.reports.request_renewal(&id);
                self.touch_now(guest);
            }
        }
        self.keep_evictions();
    }

    /// Ends whatever brings an evicted guest in, and refuses what that has given it by now.
    fn put_out(&mut self, guest: Guest, now: Timestamp) {
        if let (Guest::Vmid(vmid), Some(enrolments)) = (guest, &mut self.enrolments) {
            enrolments.stop(vmid, &format!("guest {guest} was evicted"));
        }
        if let Err(error) = self.parts.identities.evict(guest) {
            self.event(What::Guest(guest, GuestEvent::EvictionUnwritten(chain(&error))), now);
        }
        self.forget_all(guest);
        self.reports.set_enrolment(guest, None);
    }

    /// An evicted guest has linked: it was let in by what was under way when it was put out. False when it is not evicted.
    pub(super) fn is_kept_out(&mut self, guest: Guest, now: Timestamp) -> bool {
        if !self.evictions.has(guest) {
            return false;
        }
        self.heard(Some(guest), What::Guest(guest, GuestEvent::LinkedWhileEvicted).at(now));
        self.put_out(guest, now);
        true
    }

    /// A person lets an evicted guest in again.
    pub(super) fn let_in(&mut self, guest: Guest, now: Timestamp) {
        if self.evictions.unread.is_some() {
            self.evictions.let_in.insert(guest);
        }
        if !self.evictions.has(guest) {
            return;
        }
        self.evictions.guests.retain(|eviction| eviction.guest != guest);
        self.event(What::Guest(guest, GuestEvent::LetIn), now);
        self.keep_evictions();
    }

    /// Why nothing is done for a placement whose guest was put out.
    pub(super) fn evicted_trouble(&self, planned: &Planned<'_>) -> Option<Trouble> {
        let Eviction { guest, since, by, compromised } = self.evictions.of(planned.guest?)?;
        let how = if *compromised { " as compromised" } else { "" };
        Some(Trouble {
            halt: Halt::Blocked,
            attempt: format!("keep {}", planner::label(planned.certificate, planned.placement, Some(*guest))),
            cause: format!("guest {guest} was evicted{how} at {since}, by {by}"),
            remedy: format!(
                "take its placements out of the manifest; or `pinion guest enroll {guest}`, or a join token, lets it in again"
            ),
            retry_at: None,
        })
    }

    /// Returns what to say when that cannot be written down.
    fn keep_evictions(&self) -> Option<String> {
        let why = match &self.evictions.unread {
            Some(why) => why.clone(),
            None => chain(&self.parts.store.write(Area::Local, DOCUMENT, &self.evictions).err()?),
        };
        Some(format!("this cannot be written down, and holds until the controller stops: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evictions(guests: &[&str]) -> Evictions {
        let guest = |guest: &&str| Eviction {
            guest: guest.parse().expect("a guest"),
            since: Timestamp::from_unix(1_800_000_000),
            by: Caller { uid: 0, name: None },
            compromised: false,
        };
        Evictions { guests: guests.iter().map(guest).collect(), ..Evictions::default() }
    }

    #[test]
    fn nobody_is_brought_in_while_it_is_not_known_who_was_evicted() {
        let guest = |text: &str| text.parse::<Guest>().expect("a guest");
        let known = evictions(&["1001", "1002"]);
        assert!(!known.admits(guest("1001")) && known.admits(guest("1003")) && known.trouble().is_none());

        let mut unread = Evictions { unread: Some("it is damaged".into()), ..evictions(&["1004"]) };
        assert!(!unread.admits(guest("1001")) && !unread.admits(guest("1003")), "whoever it is");
        assert!(unread.trouble().is_some_and(|trouble| trouble.cause.contains("it is damaged")));
        unread.let_in.insert(guest("1002"));
        unread.merge(known);
        assert!(unread.trouble().is_none() && unread.has(guest("1001")) && unread.has(guest("1004")));
        assert!(unread.admits(guest("1002")), "a person let it in meanwhile");
    }
}
