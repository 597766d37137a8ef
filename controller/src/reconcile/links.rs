//! What comes over the links, as the loop takes it in.
//!
//! Invariant: what a session says counts only while it is its guest's latest; what a guest reports replaces what was
//! known.

use pinion_proto::{
    id::{Guest, PlacementId},
    message::{Hello, ToController},
    report::PlacementReport,
};
use tokio::time::Instant;
use tracing::debug;

use super::{effects::Effects, parts::Parts, progress, resources::Resources, rollback, sessions::Sessions};
use crate::{
    events::{GuestEvent, HostEvent, PlacementEvent, What},
    link::{LinkInput, Outbound, SessionId},
    world::{Change, World},
};

/// Where what comes over the links goes.
pub(super) struct Intake<'a> {
    pub(super) world: &'a mut World,
    pub(super) sessions: &'a mut Sessions,
    pub(super) parts: &'a mut Parts,
    pub(super) resources: &'a Resources,
    pub(super) effects: &'a mut Effects,
}

impl Intake<'_> {
    /// Takes what a link says, or what became of it.
    pub(super) fn take(&mut self, input: LinkInput) {
        match input {
            LinkInput::Up { guest, session, hello, outbound } => self.up(guest, session, hello, outbound),
            LinkInput::Message { guest, session, message } => self.message(guest, session, message),
            LinkInput::Down { guest, session, why } => {
                if self.sessions.close(guest, session) {
                    self.limited_event(guest, GuestEvent::Unlinked(why));
                    self.effects.change(Change::LinkDown(guest));
                    self.effects.save(guest);
                }
            }
            LinkInput::Refused { guest, stranger, what } => {
                let what = match guest {
                    Some(guest) => What::Guest(guest, GuestEvent::Refused(what)),
                    None => What::Host(HostEvent::Refused(what)),
                };
                // What a stranger claims to be does not make that guest's events fewer.
                self.effects.limited_event(guest.filter(|_| !stranger), what);
            }
            LinkInput::TurnedAway { guest, refused } => {
                self.parts.enrolment.turned_away(guest, refused, self.world, self.effects);
            }
            LinkInput::Joined { guest, generation, renewed: true } => {
                self.limited_event(guest, GuestEvent::IdentityRenewed(generation));
            }
            LinkInput::Joined { guest, generation, renewed: false } => {
                self.limited_event(guest, GuestEvent::Joined(generation));
                // Whoever is linked with an earlier identity is not this guest any more.
                self.world.joined(guest, self.effects.now());
                self.effects.end_session(guest);
                self.effects.save(guest);
            }
        }
    }

    fn up(&mut self, guest: Guest, session: SessionId, hello: Hello, outbound: Outbound) {
        let identities = &self.resources.identities;
        if !self.sessions.arrives(guest, session) {
            return debug!(%guest, "A hello that was overtaken by a later link's is passed over");
        }
        if self.parts.evictions.keeps_out(guest, identities, self.effects) {
            return;
        }
        if let Some(setback) = self.world.reports().setback(guest, &hello) {
            let turned = rollback::taken_back(guest, &setback, &hello.facts, self.world, identities, self.effects);
            return self.parts.enrolment.turned_away(guest, turned, self.world, self.effects);
        }
        self.limited_event(guest, GuestEvent::Linked);
        for report in &hello.reports {
            self.progress(guest, report);
        }
        self.sessions.open(guest, session, outbound);
        self.sessions.trusts(guest, &hello.roots, identities.next_root());
        self.world.linked(guest, hello, self.effects.now());
        self.reported(guest);
    }

    fn message(&mut self, guest: Guest, session: SessionId, message: ToController) {
        if !self.sessions.is_current(guest, session) {
            return debug!(%guest, "A message on a link that is over is passed over");
        }
        match message {
            ToController::Report(report) => {
                self.progress(guest, &report);
                self.world.reported(guest, *report, self.effects.now());
                self.reported(guest);
            }
            ToController::Purged(purged) => {
                let id = PlacementId { certificate: purged.certificate.clone(), guest };
                if !purged.remains {
                    self.world.purged(guest, &id.certificate);
                }
                self.sessions.purged(&id);
                self.parts.purging.purged(&id, self.effects);
                let what = PlacementEvent::Purged(Box::new(purged));
                self.effects.limited_event(Some(guest), What::Placement(id, what));
                self.effects.save(guest);
            }
            ToController::Examined(examined) => self.parts.examining.answered(guest, *examined, self.effects.now()),
            ToController::Hello(_) | ToController::RenewIdentity(_) => {
                debug!(%guest, "A second hello on a link is passed over");
            }
        }
    }

    /// Records what a report brings that is new.
    fn progress(&mut self, guest: Guest, report: &PlacementReport) {
        let id = PlacementId { certificate: report.certificate.clone(), guest };
        progress::step(self.world, guest, report, self.sessions.ordered(&id), self.effects);
        self.parts.timings.reported(&id, report, Instant::now());
    }

    /// A guest's reports were taken in.
    fn reported(&mut self, guest: Guest) {
        self.parts.deliveries.settle(guest, self.world, self.effects);
        self.effects.save(guest);
    }

    fn limited_event(&mut self, guest: Guest, what: GuestEvent) {
        self.effects.limited_event(Some(guest), What::Guest(guest, what));
    }
}

#[cfg(test)]
mod tests;
