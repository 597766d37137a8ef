//! Guests that hold identities which are newer than what is on record: this controller's state was restored from a backup.
//!
//! Invariant: such a guest is not let in by what it shows. It joins anew, through the hypervisor or with a token, and
//! what is told of it is over with its next link.

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::Guest,
    stage::{Halt, Trouble},
};

use super::Reconciler;
use crate::{identity::Progress, planner::Planned, reports::Link};

impl Reconciler {
    /// A guest of our root was refused, because its identity is newer than the record of it.
    pub(super) fn note_newer(&mut self, guest: Guest, now: Timestamp) {
        if self.newer.insert(guest) {
            self.reports.link_down(guest, now);
            self.touch(guest);
        }
    }

    /// A guest has an identity that is on record.
    pub(super) fn is_on_record(&mut self, guest: Guest) {
        self.newer.remove(&guest);
    }

    /// What the operator should know of them all.
    pub(super) fn newer_note(&self) -> Option<String> {
        let (count, first) = (self.newer.len(), self.newer.first()?);
        let (guests, hold) = if count == 1 { ("guest", "holds an identity") } else { ("guests", "hold identities") };
        let named = if count == 1 { format!(" ({first})") } else { format!(" ({first} and others)") };
        Some(format!(
            "{count} {guests}{named} {hold} newer than this controller's state: it was restored from a backup, or records \
             were lost. They are not let in by that. Guests that Pinion reaches through the hypervisor join anew by \
             themselves; the others with `pinion token create --guest G` here and `pinion-agent join` there"
        ))
    }

    /// How far the next identity root is, while there is one.
    pub(super) fn next_root_note(&self) -> Option<String> {
        let progress = match self.parts.identities.rollover() {
            Ok(progress) => progress?,
            Err(error) => return Some(format!("how far the next identity root is cannot be told: {}", chain(&error))),
        };
        let Progress { next, guests, missing } = progress;
        let Some(first) = missing.first() else {
            return Some(format!(
                "every guest trusts the next identity root {next}: it takes over when the controller is restarted (where \
                 /etc/pinion/identity-root is, write the next root into it first)"
            ));
        };
        let (trust, others) = (guests - missing.len(), if missing.len() == 1 { "" } else { " and others" });
        Some(format!(
            "{trust} of {guests} guests trust the next identity root {next}; it does not take over before {first}{others} do, \
             or are forgotten"
        ))
    }

    /// Why nothing comes of a placement, if it is this.
    pub(super) fn newer_trouble(&self, planned: &Planned<'_>) -> Option<Trouble> {
        let guest = planned.guest.filter(|guest| self.newer.contains(guest))?;
        if matches!(self.reports.link(guest), Link::Linked { .. }) {
            return None;
        }
        let attempt = format!("link guest {guest} for {}", planned.label());
        // What keeps the hypervisor from bringing an identity in says more.
        if let Some(trouble) = self.reports.enrolment(guest).filter(|trouble| trouble.halt == Halt::Blocked) {
            return Some(Trouble { attempt, ..trouble.clone() });
        }
        let by_itself = match (&self.enrolments, guest) {
            (Some(enrolments), Guest::Vmid(vmid)) => enrolments.brings_in(vmid, &self.inventory),
            _ => false,
        };
        let (halt, remedy) = if by_itself {
            (Halt::Waiting, "nothing: Pinion lets it join anew through the hypervisor".to_owned())
        } else {
            let how = "`pinion-agent join` in the guest";
            (Halt::Blocked, format!("let it join anew: `pinion token create --guest {guest}` here, and {how}"))
        };
        let cause = format!(
            "guest {guest} holds an identity newer than this controller's state, which was restored from a backup or lost \
             that guest's record"
        );
        Some(Trouble { halt, attempt, cause, remedy, retry_at: None })
    }
}
