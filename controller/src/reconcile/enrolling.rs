//! The loop's part in enrolling guests: what enrolling sees, and what becomes of what it says.

use std::collections::BTreeSet;

use pinion_proto::{
    clock::Timestamp,
    id::{Guest, Vmid},
    report::PlacementReport,
};
use tokio::sync::mpsc;

use super::Reconciler;
use crate::{
    admin::{caller::Caller, protocol::Answer},
    enroll::{Happened, Note, Seen, misfit},
    events::{GuestEvent, What},
    link::Turned,
    planner::Plan,
    reports::Link,
};

/// So many agents of a wrong version are named.
const MAX_MISFITS: usize = 16;

impl Reconciler {
    /// Starts what the inventory and the links ask for. Returns when to look again.
    pub(super) fn enrol(&mut self, plan: &Plan<'_>, now: Timestamp) -> Option<Timestamp> {
        let enrolments = self.enrolments.as_mut()?;
        let named: BTreeSet<Vmid> = plan
            .placements
            .iter()
            .filter_map(|planned| planned.guest)
            .filter(|guest| self.evictions.admits(*guest))
            .filter_map(vmid)
            .collect();
        let (reports, facts) = (&self.reports, &self.facts);
        let seen = |vmid| seen(reports, facts, vmid);
        let mut notes = Vec::new();
        let wake_at = enrolments.pass(&self.inventory, &named, seen, now, &mut notes);
        self.note(notes, now);
        wake_at
    }

    /// Takes what a task of enrolling says.
    pub(super) fn enrolling(&mut self, happened: Happened) {
        let now = self.parts.clock.now();
        let mut notes = Vec::new();
        if let Some(enrolments) = &mut self.enrolments {
            enrolments.take(happened, now, &mut notes);
        }
        self.note(notes, now);
    }

    /// Someone showed a guest's identity and was not let in.
    pub(super) fn turned_away(&mut self, guest: Guest, refused: Turned, now: Timestamp) {
        if refused == Turned::Locked {
            self.sessions.end(guest);
            self.reports.link_down(guest, now);
            self.touch(guest);
        }
        if refused == Turned::Newer {
            self.note_newer(guest, now);
        }
        let must_rejoin = match refused {
            Turned::Locked | Turned::MustRejoin | Turned::Newer => vmid(guest),
            Turned::Copy(copy) => Some(copy),
            Turned::Nothing => None,
        };
        if let (Some(vmid), Some(enrolments)) = (must_rejoin, &mut self.enrolments) {
            enrolments.must_rejoin(vmid, now);
        }
    }

    /// Begins to enrol a guest for a person. Returns what to answer at once, if anything.
    pub(super) fn start_enrolment(
        &mut self,
        guest: &str,
        caller: &Caller,
        answers: mpsc::Sender<Answer>,
        now: Timestamp,
    ) -> Option<Answer> {
        let Some(enrolments) = &mut self.enrolments else { return Some(without_proxmox(guest)) };
        let Some(vmid) = guest.parse().ok().and_then(vmid) else {
            return Some(Answer::Refused(format!(
                "{guest} is reached without a hypervisor: `pinion token create --guest {guest} | pinion-agent join`"
            )));
        };
        let seen = seen(&self.reports, &self.facts, vmid);
        let refused = enrolments.ask(vmid, &self.inventory, seen, answers, now).err();
        if refused.is_none() {
            self.let_in(Guest::Vmid(vmid), now);
            self.record(What::Guest(Guest::Vmid(vmid), GuestEvent::EnrolAsked).at(now).by(caller));
        }
        refused
    }

    /// A guest may have changed: it is looked at now.
    pub(super) fn wake(&mut self, guest: &str, caller: &Caller) -> Answer {
        match (&mut self.enrolments, guest.parse().ok().and_then(vmid)) {
            (Some(enrolments), Some(vmid)) => {
                enrolments.wake(vmid);
                let asked = What::Guest(Guest::Vmid(vmid), GuestEvent::WakeAsked);
                self.record(asked.at(self.parts.clock.now()).by(caller));
                Answer::End
            }
            _ => without_proxmox(guest),
        }
    }

    /// Which agents this controller is not meant to work with, by their versions.
    pub(super) fn version_note(&self) -> Option<String> {
        let version = env!("CARGO_PKG_VERSION");
        let linked = self.facts.iter().filter(|(guest, _)| matches!(self.reports.link(**guest), Link::Linked { .. }));
        let misfits = linked
            .filter_map(|(guest, facts)| Some((*guest, &facts.agent_version, misfit(&facts.agent_version, version)?)));
        let mut misfits: Vec<_> = misfits.collect();
        misfits.sort_by_key(|(guest, ..)| *guest);
        let (all, words) = (misfits.len(), misfits.into_iter().take(MAX_MISFITS));
        let words: Vec<_> = words.map(|(guest, agent, why)| format!("guest {guest} ({agent}) {why}")).collect();
        let more = all.saturating_sub(MAX_MISFITS);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        (all > 0).then(|| {
            format!(
                "agents that are not meant to work with controller {version}: {}{more}; an agent may be two minor versions older \
                 than the controller, and not newer",
                words.join(", ")
            )
        })
    }

    fn note(&mut self, notes: Vec<Note>, now: Timestamp) {
        for note in notes {
            match note {
                Note::Happened { guest, what } => self.event(What::Guest(Guest::Vmid(guest), what), now),
                Note::UnderWay { guest, trouble } => self.reports.set_enrolment(Guest::Vmid(guest), Some(trouble)),
                Note::Trouble { guest, trouble } => {
                    let guest = Guest::Vmid(guest);
                    if let Some(trouble) = &trouble
                        && self.reports.enrolment(guest).map(|before| &before.cause) != Some(&trouble.cause)
                    {
                        self.event(What::Guest(guest, GuestEvent::NotEnrolled(trouble.clone())), now);
                    }
                    self.reports.set_enrolment(guest, trouble);
                }
            }
        }
    }
}

fn vmid(guest: Guest) -> Option<Vmid> {
    match guest {
        Guest::Vmid(vmid) => Some(vmid),
        Guest::Host => None,
    }
}

fn seen<'s>(
    reports: &crate::reports::Reports,
    facts: &'s std::collections::HashMap<Guest, pinion_proto::report::GuestFacts>,
    vmid: Vmid,
) -> Seen<'s> {
    let guest = Guest::Vmid(vmid);
    let version = facts.get(&guest).map(|facts| facts.agent_version.as_str());
    let at_goal = |report: &PlacementReport| report.retired || report.stage >= report.goal;
    let placements = reports.guest(guest).into_iter().flat_map(|entry| entry.placements());
    let served = placements.filter_map(|(_, placement)| placement.report()).all(at_goal);
    Seen { link: reports.link(guest), version, served }
}

fn without_proxmox(guest: &str) -> Answer {
    Answer::Refused(format!(
        "this host's guests are not known: there is no Proxmox here, or `[proxmox]` in controller.toml does not lead to \
         it; join by hand instead, with `pinion token create --guest {guest}` here and `pinion-agent join` in the guest"
    ))
}
