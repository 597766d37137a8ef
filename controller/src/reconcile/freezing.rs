//! The loop's part in freezes: what is asked for, what is over, what is told.
//!
//! Invariant: a freeze is written down before it is answered. It is local to this host, as the guests are that it is
//! about, so that it holds and can be lifted also while the shared state cannot be written.

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::{Guest, PlacementId},
    stage::{Halt, Trouble},
};

use super::{Reconciler, view};
use crate::{
    admin::{
        caller::Caller,
        protocol::{Answer, AskFreeze, Frozen},
    },
    events::{Document, HostEvent, What},
    freeze::{self, Freeze, Freezes, LAST_DAY, MAX_FREEZES},
    planner::{self, Planned},
    store::Area,
};

const DOCUMENT: &str = "freezes";

impl Reconciler {
    /// Takes what was frozen when the controller stopped.
    pub(super) fn restore_freezes(&mut self) {
        match self.parts.store.read::<Freezes>(Area::Local, DOCUMENT) {
            Ok(kept) => self.reports.set_freezes(kept.unwrap_or_default()),
            Err(error) => {
                let what = HostEvent::Unreadable(Document::Freezes, chain(&error));
                self.event(What::Host(what), self.parts.clock.now());
            }
        }
    }

    /// Ends what is over.
    pub(super) fn end_freezes(&mut self, now: Timestamp) {
        if self.reports.freezes().next_end().is_none_or(|end| end > now) {
            return;
        }
        let mut freezes = self.reports.freezes().clone();
        for freeze in freezes.end(now) {
            self.event(What::Host(HostEvent::FreezeEnded(freeze.what())), now);
        }
        self.set_freezes(freezes);
    }

    /// Freezes something, or lifts freezes.
    pub(super) fn freeze(&mut self, ask: &AskFreeze, caller: &Caller, now: Timestamp) -> Answer {
        let chosen = match view::Chosen::new(self, &ask.selection) {
            Ok(chosen) => chosen,
            Err(answer) => return answer,
        };
        let names: Vec<Option<&str>> = match ask.selection.names.as_slice() {
            [] => vec![None],
            names => names.iter().map(|name| Some(name.as_str())).collect(),
        };
        let mut freezes = self.reports.freezes().clone();
        let changed = if ask.lift {
            self.lift(&mut freezes, &names, chosen.guest(), caller, now)
        } else {
            self.add(&mut freezes, &names, chosen.guest(), ask.until, caller, now)
        };
        if let Err(answer) = changed {
            return answer;
        }
        let unwritten = self.set_freezes(freezes);
        let mut notes = self.freeze_notes(now);
        notes.extend(unwritten);
        Answer::Frozen(Frozen { freezes: self.reports.freezes().iter().cloned().collect(), notes })
    }

    fn lift(
        &self,
        freezes: &mut Freezes,
        names: &[Option<&str>],
        guest: Option<Guest>,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Answer> {
        for name in names {
            let lifted = freezes.lift(*name, guest);
            if lifted.is_empty() && (name.is_some() || guest.is_some()) {
                let what = name.map_or_else(|| "this guest".to_owned(), |name| format!("`{name}`"));
                let frozen: Vec<_> = freezes.iter().map(Freeze::what).collect();
                let frozen = if frozen.is_empty() { "nothing".to_owned() } else { frozen.join(", ") };
                return Err(Answer::NoSuchName(format!(
                    "there is no freeze of {what} to be lifted; frozen is: {frozen}"
                )));
            }
            for freeze in lifted {
                self.record(What::Host(HostEvent::FreezeLifted(freeze.what())).at(now).by(caller));
            }
        }
        Ok(())
    }

    fn add(
        &self,
        freezes: &mut Freezes,
        names: &[Option<&str>],
        guest: Option<Guest>,
        until: Option<Timestamp>,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Answer> {
        if until.is_some_and(|until| until <= now) {
            return Err(Answer::Refused("the freeze would be over already: give a moment that is to come".into()));
        }
        for name in names {
            if let Some(name) = name.filter(|name| !self.is_placed(name)) {
                let text = format!("no certificate or placement of the manifest is called {name}");
                return Err(Answer::NoSuchName(text));
            }
            let name = name.map(ToOwned::to_owned);
            let freeze = Freeze { name, guest, since: now, until, by: caller.clone() };
            let frozen = HostEvent::Frozen { what: freeze.what(), end: freeze.end() };
            self.record(What::Host(frozen).at(now).by(caller));
            freezes.add(freeze);
        }
        if freezes.count() > MAX_FREEZES {
            return Err(Answer::Refused(format!("more than {MAX_FREEZES} freezes: freeze guests, or everything")));
        }
        Ok(())
    }

    /// Whether the manifest has a certificate or placement of this name.
    fn is_placed(&self, name: &str) -> bool {
        self.manifest.manifest.certificates.iter().any(|certificate| {
            certificate.name.as_str() == name
                || certificate.placements.iter().any(|placement| {
                    let guest = self.inventory.resolve(&placement.guest).ok();
                    planner::label(certificate, placement, guest) == name
                })
        })
    }

    /// Returns what to say when that cannot be written down.
    fn set_freezes(&mut self, freezes: Freezes) -> Option<String> {
        let written = self.parts.store.write(Area::Local, DOCUMENT, &freezes);
        self.reports.set_freezes(freezes);
        let error = written.err()?;
        let text =
            format!("what is frozen cannot be written down, and holds until the controller stops: {}", chain(&error));
        tracing::warn!("{text}");
        Some(text)
    }

    /// What is frozen, and what the last day before an expiry makes of it.
    pub(super) fn freeze_notes(&self, now: Timestamp) -> Vec<String> {
        let freezes = self.reports.freezes();
        let note = |freeze: &Freeze| {
            let mut text = format!(
                "frozen: {} {}, since {}, by {}: nothing disruptive is done there; `{}` lifts it",
                freeze.what(),
                freeze.end(),
                freeze.since,
                freeze.by,
                freeze.lift()
            );
            if let Some((label, ends)) = self.first_to_end(freeze) {
                text += &last_day(&label, ends, now);
            }
            text
        };
        freezes.iter().map(note).collect()
    }

    /// Of what a freeze holds, the first whose last day comes before the freeze's end.
    fn first_to_end(&self, freeze: &Freeze) -> Option<(String, Timestamp)> {
        let freezes = self.reports.freezes();
        let placements = self
            .manifest
            .manifest
            .certificates
            .iter()
            .flat_map(|certificate| certificate.placements.iter().map(move |placement| (certificate, placement)));
        let held = placements.filter_map(|(certificate, placement)| {
            let guest = self.inventory.resolve(&placement.guest).ok()?;
            let label = planner::label(certificate, placement, Some(guest));
            let by = freezes.of(|| label.clone(), certificate.name.as_str(), Some(guest))?;
            let id = PlacementId { certificate: certificate.name.clone(), guest };
            let report = self.reports.placement(&id)?.report()?;
            // What is held is not served yet while the service is left alone.
            let waits = report.trouble.as_ref().and_then(freeze::left_alone_until).map(|at| at + LAST_DAY);
            let ends = waits.or_else(|| Some(report.held.as_ref()?.leaf.not_after()))?;
            (by == freeze && freeze.until.is_none_or(|until| ends - LAST_DAY < until)).then_some((label, ends))
        });
        held.min_by_key(|(_, ends)| *ends)
    }

    /// The freeze of a placement.
    pub(super) fn freeze_of(&self, planned: &Planned<'_>) -> Option<&Freeze> {
        self.reports.freezes().of(|| planned.label(), planned.certificate.name.as_str(), planned.guest)
    }

    /// A trouble of a placement, as the freeze's where that is what holds it up.
    pub(super) fn frozen_trouble(&self, planned: &Planned<'_>, trouble: Trouble) -> Trouble {
        match self.freeze_of(planned) {
            Some(freeze) if trouble.halt == Halt::Waiting && freeze::holds_back(&trouble.cause) => {
                freeze.held_back(trouble)
            }
            _ => trouble,
        }
    }

    /// As [`Self::frozen_trouble`], for somebody who waits: a freeze without an end needs a person.
    pub(super) fn frozen_for(&self, planned: &Planned<'_>, trouble: Trouble) -> Trouble {
        let held_back = freeze::holds_back(&trouble.cause);
        let mut trouble = self.frozen_trouble(planned, trouble);
        if held_back && self.freeze_of(planned).is_some_and(|freeze| freeze.until.is_none()) {
            trouble.halt = Halt::Blocked;
        }
        trouble
    }
}

/// What the last day of what a frozen service serves makes of the freeze.
fn last_day(label: &str, ends: Timestamp, now: Timestamp) -> String {
    let from = (ends - LAST_DAY).max(now);
    format!(
        ". What {label} serves ends at {ends}: from {from} on, in its last day, it is disturbed in spite of the freeze if it \
         has to be"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_line_and_tells_the_last_day() {
        let at = |hours: i64| Timestamp::from_unix(1_800_000_000 + hours * 3600);
        let note = last_day("web@1001", at(72), at(0));
        assert!(note.contains(&format!("from {} on", at(48))), "{note}");
        assert!(!note.contains('\n') && !note.contains("  "), "{note}");
        assert!(last_day("web@1001", at(24), at(12)).contains(&format!("from {} on", at(12))), "it has begun");
    }
}
