//! What comes over the links, as the loop takes it in.

use pinion_proto::{
    id::{Guest, PlacementId},
    message::{Purged, ToController},
};
use tracing::debug;

use super::Reconciler;
use crate::{
    events::{GuestEvent, HostEvent, PlacementEvent, What},
    link::LinkInput,
};

impl Reconciler {
    /// Takes what a link says, or what became of it.
    pub(super) fn link(&mut self, input: LinkInput) {
        let now = self.parts.clock.now();
        match input {
            LinkInput::Up { guest, session, hello, outbound } => {
                if !self.sessions.arrives(guest, session) {
                    return debug!(%guest, "A hello that was overtaken by a later link's is passed over");
                }
                if self.is_kept_out(guest, now) {
                    return;
                }
                if let Some(setback) = self.reports.setback(guest, &hello) {
                    return self.rolled_back(guest, &setback, &hello.facts, now);
                }
                self.heard(Some(guest), What::Guest(guest, GuestEvent::Linked).at(now));
                for report in &hello.reports {
                    self.tell_progress(guest, report, now);
                }
                self.reports.note_age(guest, &hello);
                self.reports.hello(guest, hello.reports, now);
                self.facts.insert(guest, hello.facts);
                self.is_on_record(guest);
                self.sessions.open(guest, session, outbound);
                self.sessions.trusts(guest, &hello.roots, self.parts.identities.next_root());
                self.settle(guest);
                self.touch(guest);
            }
            LinkInput::Message { guest, session, message } => {
                if !self.sessions.is_current(guest, session) {
                    return debug!(%guest, "A message on a link that is over is passed over");
                }
                match message {
                    ToController::Report(report) => {
                        self.tell_progress(guest, &report, now);
                        self.reports.report(guest, *report, now);
                        self.settle(guest);
                        self.touch(guest);
                    }
                    ToController::Purged(Purged { certificate, left }) => {
                        let left = left.iter().map(ToString::to_string).collect();
                        self.reports.purged(guest, &certificate);
                        let id = PlacementId { certificate, guest };
                        self.purging.remove(&id);
                        self.heard(Some(guest), What::Placement(id, PlacementEvent::Purged { left }).at(now));
                        self.touch(guest);
                    }
                    ToController::Hello(_) | ToController::RenewIdentity(_) => {
                        debug!(%guest, "A second hello on a link is passed over");
                    }
                }
            }
            LinkInput::Down { guest, session, why } => {
                if self.sessions.close(guest, session) {
                    self.heard(Some(guest), What::Guest(guest, GuestEvent::Unlinked(why)).at(now));
                    self.reports.link_down(guest, now);
                    self.touch(guest);
                }
            }
            LinkInput::Refused { guest, stranger, what } => {
                let event = match guest {
                    Some(guest) => What::Guest(guest, GuestEvent::Refused(what)),
                    None => What::Host(HostEvent::Refused(what)),
                };
                // What a stranger claims to be does not make that guest's events fewer.
                self.heard(guest.filter(|_| !stranger), event.at(now));
            }
            LinkInput::TurnedAway { guest, refused } => self.turned_away(guest, refused, now),
            LinkInput::Joined { guest, generation, renewed } => {
                let what =
                    if renewed { GuestEvent::IdentityRenewed(generation) } else { GuestEvent::Joined(generation) };
                self.heard(Some(guest), What::Guest(guest, what).at(now));
                if !renewed {
                    // Whoever is linked with an earlier identity is not this guest any more.
                    self.sessions.end(guest);
                    self.reports.link_down(guest, now);
                    self.reports.forget_age(guest);
                    self.touch(guest);
                }
            }
        }
    }

    /// Forgets certificates that a guest's reports show it to have, or not to ask for any more.
    pub(super) fn settle(&mut self, guest: Guest) {
        let reports = &self.reports;
        self.signing.retain(|id, ready| id.guest != guest || ready.answers(reports.placement(id)));
    }
}
