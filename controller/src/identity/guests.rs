//! Which identity of each guest is the newest.
//!
//! Answers: is the one who shows this certificate the guest, or what was made of it by cloning or rolling back?
//! Invariant: at most two identities of a guest are good: the one last seen, and the one given since. As soon as the
//! newer one is seen, the older one is stale; a stale one seen again means that there are two of the guest. What is
//! decided against a guest holds whether the disk takes it or not.

use std::sync::{Arc, Mutex, MutexGuard};

use pinion_proto::{
    bundle::Fingerprint, clock::Timestamp, hwaddr::HwAddr, id::Guest, lock::lock, message::IssuedIdentity,
    printable::is_printable, report::GuestFacts, tls::Peer,
};

use super::{
    decided::Decided,
    forgotten,
    machine::{LinkCaller, Machine, Starts, Twins, Whose},
    record::GuestRecord,
    refused::{JoinRefused, Refused},
};
use crate::{
    authority::BACKDATE,
    store::{Area, Store, StoreError},
};

/// The directory of the guests' documents in the shared area.
pub(super) const DIRECTORY: &str = "guests";

#[derive(Debug)]
pub(super) struct Guests {
    store: Arc<Store>,
    /// Reading a record and writing it back must be one step.
    writing: Mutex<Memory>,
}

/// What is not on disk.
#[derive(Debug, Default)]
struct Memory {
    /// Which starts of machines have used each guest's identity, to tell two machines from one.
    starts: Starts,
    /// What is to be written as soon as it can.
    decided: Decided,
}

impl Guests {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, writing: Mutex::default() }
    }

    pub(super) fn read(&self, guest: Guest) -> Result<Option<GuestRecord>, StoreError> {
        self.known(&self.writing(), guest)
    }

    fn known(&self, memory: &Memory, guest: Guest) -> Result<Option<GuestRecord>, StoreError> {
        let mut record: Option<GuestRecord> = self.store.read(Area::Shared, &document(guest))?;
        if let Some(record) = &mut record {
            memory.decided.lay_over(guest, record);
        }
        Ok(record)
    }

    pub(super) fn all(&self) -> Result<Vec<(Guest, GuestRecord)>, StoreError> {
        let mut all = Vec::new();
        for name in self.store.list(Area::Shared, DIRECTORY)? {
            if let Ok(guest) = name.parse::<Guest>()
                && let Some(record) = self.read(guest)?
            {
                all.push((guest, record));
            }
        }
        all.sort_unstable_by_key(|(guest, _)| *guest);
        Ok(all)
    }

    /// A guest joins: `issue` makes its identity of the generation it is given, with the serial number of its leaf.
    pub(super) fn replace(
        &self,
        guest: Guest,
        facts: &GuestFacts,
        vmgenid: Option<String>,
        now: Timestamp,
        issue: impl FnOnce(u64) -> Result<(String, IssuedIdentity), JoinRefused>,
    ) -> Result<IssuedIdentity, JoinRefused> {
        let mut memory = self.writing();
        let before = self.known(&memory, guest)?;
        let unlocked = |record: &GuestRecord| match &record.locked {
            Some(why) => Err(Refused::Locked { guest, why: why.clone() }),
            None => Ok(()),
        };
        before.as_ref().map_or(Ok(()), unlocked)?;
        let generation = before.map_or(0, |record| record.generation).saturating_add(1);
        let (serial, identity) = issue(generation)?;
        let record = GuestRecord {
            generation,
            current: Some(serial),
            next: None,
            // Identities of before this join are replaced on purpose: showing one is no sign of a second guest.
            stale: Vec::new(),
            facts: shortened(facts),
            vmgenid,
            joined_at: now,
            issued_at: now,
            locked: None,
            root: None,
        };
        self.write(&mut memory, guest, &record)?;
        memory.starts.forget(guest);
        Ok(identity)
    }

    pub(super) fn renew(
        &self,
        guest: Guest,
        shown: &Peer,
        now: Timestamp,
        issue: impl FnOnce(u64) -> Result<(String, IssuedIdentity), JoinRefused>,
    ) -> Result<IssuedIdentity, JoinRefused> {
        let mut memory = self.writing();
        let mut record = self.admitted(&mut memory, guest, shown, Whose::Nobodys, &[])?;
        record.generation = record.generation.saturating_add(1);
        let (next, identity) = issue(record.generation)?;
        // One that was given before and never seen is not good any more.
        if let Some(unseen) = record.next.replace(next) {
            record.remember_stale(unseen);
        }
        record.issued_at = now;
        self.write(&mut memory, guest, &record)?;
        Ok(identity)
    }

    pub(super) fn admit(
        &self,
        guest: Guest,
        shown: &Peer,
        machine: Machine,
        caller: LinkCaller<'_>,
    ) -> Result<(), Refused> {
        let mut memory = self.writing();
        let mut record = self.admitted(&mut memory, guest, shown, machine.whose, &caller.facts.hwaddrs)?;
        self.same_machine(&mut memory, guest, &mut record, machine.vmgenid)?;
        if machine.whose == Whose::Unknown {
            // Nothing lasting is decided before the hypervisor has told of its guests.
            return Ok(());
        }
        let Err(Twins { one, other }) = memory.starts.note(guest, caller) else { return Ok(()) };
        self.lock(
            &mut memory,
            guest,
            &mut record,
            format!("two machines use its identity in turns: {one}, and {other}"),
        );
        Err(Refused::Twins { guest, one, other })
    }

    /// An agent trusts this root, besides whatever it joined under.
    pub(super) fn note_root(&self, guest: Guest, root: Fingerprint) -> Result<(), StoreError> {
        let mut memory = self.writing();
        match self.known(&memory, guest)? {
            Some(mut record) if record.root != Some(root) => {
                record.root = Some(root);
                self.write(&mut memory, guest, &record)
            }
            _ => Ok(()),
        }
    }

    /// Whether this is the machine still that the identity was given to, as far as the hypervisor tells.
    fn same_machine(
        &self,
        memory: &mut Memory,
        guest: Guest,
        record: &mut GuestRecord,
        vmgenid: Option<String>,
    ) -> Result<(), Refused> {
        if vmgenid.is_none() || record.vmgenid == vmgenid {
            return Ok(());
        }
        let moved = record.vmgenid.is_some();
        if moved {
            record.distrust();
        } else {
            record.vmgenid = vmgenid;
        }
        // What the disk does not take now is seen again at the next link.
        if let Err(error) = self.write(memory, guest, record) {
            tracing::warn!(%guest, %error, "Cannot record which machine an identity belongs to");
        }
        if moved { Err(Refused::MachineChanged { guest }) } else { Ok(()) }
    }

    /// Trusts none of the identities that a guest has been given so far, whether or not that can be written.
    pub(super) fn distrust(&self, guest: Guest) -> Result<(), StoreError> {
        let mut memory = self.writing();
        memory.decided.distrust(guest);
        self.write_decided(&mut memory, guest).map(drop)
    }

    /// Writes what was decided and could not be written before, as far as it can be now.
    pub(super) fn catch_up(&self) {
        let mut memory = self.writing();
        for guest in memory.decided.guests() {
            self.try_again(&mut memory, guest);
        }
    }

    fn try_again(&self, memory: &mut Memory, guest: Guest) {
        if memory.decided.has(guest)
            && let Err(error) = self.write_decided(memory, guest)
        {
            tracing::debug!(%guest, %error, "What was decided about a guest still cannot be written");
        }
    }

    /// False when the guest has no identity.
    fn write_decided(&self, memory: &mut Memory, guest: Guest) -> Result<bool, StoreError> {
        match self.known(memory, guest)? {
            Some(record) => self.write(memory, guest, &record).map(|()| true),
            None => {
                memory.decided.is_over(guest);
                Ok(false)
            }
        }
    }

    /// The record of a guest whose identity is good, shown by whoever has these cards; records that the newest one has
    /// been seen.
    fn admitted(
        &self,
        memory: &mut Memory,
        guest: Guest,
        shown: &Peer,
        whose: Whose,
        cards: &[HwAddr],
    ) -> Result<GuestRecord, Refused> {
        self.try_again(memory, guest);
        let serial = shown.serial.as_str();
        let Some(mut record) = self.known(memory, guest)? else { return Err(self.unknown(guest, shown)) };
        if let Whose::Anothers(really) = whose {
            return Err(Refused::Copy { guest, really });
        }
        if let Whose::Alike(other) = whose {
            return Err(Refused::Alike { guest, other });
        }
        // A clone that has just been made may dial before the hypervisor's list has it. Cards that a guest gives
        // itself are those that it joined with.
        let joined_with = &record.facts.hwaddrs;
        let known = joined_with.is_empty() || cards.iter().any(|card| joined_with.contains(card));
        if whose == Whose::Strange && !known {
            return Err(Refused::Strange { guest });
        }
        if whose == Whose::Unknown && !known {
            return Err(Refused::NotKnownYet { guest });
        }
        if let Some(why) = &record.locked {
            return Err(Refused::Locked { guest, why: why.clone() });
        }
        if record.current.as_deref() == Some(serial) {
            return Ok(record);
        }
        if record.next.as_deref() == Some(serial) {
            record.next = None;
            if let Some(before) = record.current.replace(serial.to_owned()) {
                record.remember_stale(before);
            }
            // A disk that refuses (a cluster without quorum) must not cut guests off: it is recorded next time.
            if let Err(error) = self.write(memory, guest, &record) {
                tracing::warn!(%guest, %error, "Cannot record that a renewed identity was seen");
            }
            return Ok(record);
        }
        if !record.stale.iter().any(|stale| stale == serial) {
            // The record decides who is let in, and says here only what it is that is refused.
            let newer = was_given_after(shown, record.issued_at);
            return Err(if newer { Refused::Newer { guest } } else { Refused::Replaced { guest } });
        }
        match whose {
            Whose::Its => return Err(Refused::RolledBack { guest }),
            // Whether to lock is decided when the hypervisor tells whose cards these are.
            Whose::Unknown => return Err(Refused::NotKnownYet { guest }),
            _ => {}
        }
        let why =
            "an identity that had been renewed was used again: the guest was cloned, or rolled back to a snapshot";
        self.lock(memory, guest, &mut record, why.to_owned());
        Err(Refused::Stale { guest })
    }

    /// Why a guest of which there is no record is refused: it was forgotten, or the record was lost. Who was forgotten is
    /// remembered for longer than an identity lives.
    fn unknown(&self, guest: Guest, shown: &Peer) -> Refused {
        match forgotten::when(&self.store, guest) {
            Some(forgotten) if !was_given_after(shown, forgotten) => Refused::Unknown { guest },
            _ => Refused::Newer { guest },
        }
    }

    /// Refuses all of a guest's identities from now on, whether or not that can be written.
    fn lock(&self, memory: &mut Memory, guest: Guest, record: &mut GuestRecord, why: String) {
        memory.decided.lock(guest, &why);
        record.locked = Some(why);
        if let Err(error) = self.write(memory, guest, record) {
            tracing::warn!(%guest, %error, "Cannot record that a guest is locked");
        }
    }

    pub(super) fn set_lock(&self, guest: Guest, why: Option<&str>) -> Result<bool, StoreError> {
        let mut memory = self.writing();
        memory.starts.forget(guest);
        if let Some(why) = why {
            memory.decided.lock(guest, why);
            return self.write_decided(&mut memory, guest);
        }
        let Some(mut record) = self.known(&memory, guest)? else { return Ok(false) };
        record.locked = None;
        self.write(&mut memory, guest, &record)?;
        Ok(true)
    }

    pub(super) fn forget(&self, guest: Guest, now: Timestamp) -> Result<(), StoreError> {
        let mut memory = self.writing();
        forgotten::note(&self.store, guest, now);
        self.store.remove(Area::Shared, &document(guest))?;
        memory.decided.is_over(guest);
        Ok(())
    }

    /// Writes a record that was read with what was decided about it.
    fn write(&self, memory: &mut Memory, guest: Guest, record: &GuestRecord) -> Result<(), StoreError> {
        self.store.write(Area::Shared, &document(guest), record)?;
        memory.decided.is_over(guest);
        Ok(())
    }

    fn writing(&self) -> MutexGuard<'_, Memory> {
        lock(&self.writing)
    }
}

/// Whether an identity was given after this moment.
fn was_given_after(shown: &Peer, moment: Timestamp) -> bool {
    shown.not_before + BACKDATE > moment
}

fn document(guest: Guest) -> String {
    format!("{DIRECTORY}/{guest}")
}

/// Facts are a guest's own words: kept short, so that no guest fills the shared directory.
fn shortened(facts: &GuestFacts) -> GuestFacts {
    let short = |text: &str| text.chars().filter(|c| is_printable(*c)).take(255).collect();
    GuestFacts {
        agent_version: short(&facts.agent_version),
        hostname: short(&facts.hostname),
        machine_id: short(&facts.machine_id),
        boot_id: short(&facts.boot_id),
        hwaddrs: facts.hwaddrs.clone(),
        spec_level: facts.spec_level,
        looks: facts.looks,
        examines: facts.examines,
    }
}
