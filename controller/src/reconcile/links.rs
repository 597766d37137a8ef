//! What comes over the links, as the loop takes it in.

use pinion_proto::{
    id::{Guest, PlacementId},
    message::{Purged, ToController},
};
use tracing::debug;

use super::Reconciler;
use crate::{
    events::{Event, Kind},
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
                let linked = Event::new(now, Kind::Linked, format!("Guest {guest} is linked")).guest(guest);
                self.heard(Some(guest), linked);
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
                        let mut text = format!("The files of {certificate}@{guest} are removed");
                        if !left.is_empty() {
                            let left: Vec<_> = left.iter().map(ToString::to_string).collect();
                            text += ", except those that are not as Pinion wrote them: ";
                            text += &left.join(", ");
                        }
                        let purged = Event::new(now, Kind::Purged, text).guest(guest).certificate(&certificate);
                        self.heard(Some(guest), purged);
                        self.reports.purged(guest, &certificate);
                        self.purging.remove(&PlacementId { certificate, guest });
                        self.touch(guest);
                    }
                    ToController::Hello(_) | ToController::RenewIdentity(_) => {
                        debug!(%guest, "A second hello on a link is passed over");
                    }
                }
            }
            LinkInput::Down { guest, session, why } => {
                if self.sessions.close(guest, session) {
                    let text = format!("Guest {guest} is no longer linked: {why}");
                    self.heard(Some(guest), Event::new(now, Kind::Unlinked, text).guest(guest));
                    self.reports.link_down(guest, now);
                    self.touch(guest);
                }
            }
            LinkInput::Refused { guest, stranger, what } => {
                let event = Event::new(now, Kind::Refused, format!("Refused: {what}"));
                // What a stranger claims to be does not make that guest's events fewer.
                let who = guest.filter(|_| !stranger);
                self.heard(who, guest.map_or(event.clone(), |guest| event.guest(guest)));
            }
            LinkInput::TurnedAway { guest, refused } => self.turned_away(guest, refused, now),
            LinkInput::Joined { guest, generation, renewed } => {
                let (kind, verb) = if renewed { (Kind::Renewed, "renewed its") } else { (Kind::Joined, "joined with") };
                let text = format!("Guest {guest} {verb} identity number {generation}");
                self.heard(Some(guest), Event::new(now, kind, text).guest(guest).generation(generation));
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
