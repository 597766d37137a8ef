//! What was decided about guests while the disk would not take it.
//!
//! Invariant: a decision holds from the moment it is made. Until it is on disk it is laid over every record that is
//! read, so that nobody is let in for want of a disk; only the end of this process could lose it.

use std::collections::HashMap;

use pinion_proto::id::Guest;

use super::record::GuestRecord;

/// What is still to be written, by guest.
#[derive(Debug, Default)]
pub(super) struct Decided(HashMap<Guest, Decision>);

#[derive(Debug, Default)]
struct Decision {
    /// None of the identities that it has been given is trusted.
    distrusted: bool,
    /// Why all are refused, and tokens too.
    locked: Option<String>,
}

impl Decided {
    pub(super) fn distrust(&mut self, guest: Guest) {
        self.0.entry(guest).or_default().distrusted = true;
    }

    pub(super) fn lock(&mut self, guest: Guest, why: &str) {
        self.0.entry(guest).or_default().locked = Some(why.to_owned());
    }

    /// Makes of a record what it would be, had it been written.
    pub(super) fn lay_over(&self, guest: Guest, record: &mut GuestRecord) {
        let Some(decision) = self.0.get(&guest) else { return };
        if decision.distrusted {
            record.distrust();
        }
        if decision.locked.is_some() {
            record.locked.clone_from(&decision.locked);
        }
    }

    /// It is on disk, or the guest is another one now.
    pub(super) fn is_over(&mut self, guest: Guest) {
        self.0.remove(&guest);
    }

    pub(super) fn has(&self, guest: Guest) -> bool {
        self.0.contains_key(&guest)
    }

    /// The guests that are concerned.
    pub(super) fn guests(&self) -> Vec<Guest> {
        self.0.keys().copied().collect()
    }
}
