//! Enrolment, as the loop sees it: what enrolling is given to look at, and what becomes of what it says.
//!
//! Answers: which guest does the hypervisor bring in, for the manifest or for a person?
//! Invariant: where there is no hypervisor nothing is brought in, and who asks is told how to join by hand.

use std::collections::BTreeSet;

use pinion_proto::{
    clock::Timestamp,
    id::{Guest, Vmid},
    report::PlacementReport,
    spec::SPEC_LEVEL,
    stage::{Halt, Trouble},
};
use tokio::sync::mpsc;

use super::{effects::Effects, evictions::Evictions, troubles};
use crate::{
    admin::{caller::Caller, protocol::Answer},
    enroll::{self, Enrolments, Happened, Note, Seen, misfit},
    events::{GuestEvent, What},
    link::Turned,
    planner::{Plan, Planned},
    world::{Change, World},
};

/// So many agents of a wrong version are named.
const MAX_MISFITS: usize = 16;

/// How guests are brought in; nothing where there is no hypervisor.
#[derive(Debug, Default)]
pub(super) struct Enrolment(Option<Enrolments>);

impl Enrolment {
    /// With what enrolling needs, where there is a hypervisor; and where it says what happens.
    pub(super) fn new(tools: Option<enroll::Tools>) -> (Self, Option<mpsc::UnboundedReceiver<Happened>>) {
        let (enrolments, happened) = tools.map(Enrolments::new).unzip();
        (Self(enrolments), happened)
    }

    /// Starts what the inventory and the links ask for. Returns when to look again.
    pub(super) fn step(
        &mut self,
        world: &World,
        plan: &Plan<'_>,
        evictions: &Evictions,
        effects: &mut Effects,
    ) -> Option<Timestamp> {
        let enrolments = self.0.as_mut()?;
        let named: BTreeSet<Vmid> = plan
            .placements
            .iter()
            .filter_map(|planned| planned.guest)
            .filter(|guest| evictions.admits(*guest))
            .filter_map(vmid)
            .collect();
        let mut notes = Vec::new();
        let wake_at = enrolments.pass(world.inventory(), &named, |vmid| seen(world, vmid), effects.now(), &mut notes);
        note(notes, world, effects);
        wake_at
    }

    /// Takes what a task of enrolling says.
    pub(super) fn take(&mut self, happened: Happened, world: &World, effects: &mut Effects) {
        let mut notes = Vec::new();
        if let Some(enrolments) = &mut self.0 {
            enrolments.take(happened, effects.now(), &mut notes);
        }
        note(notes, world, effects);
    }

    /// Someone showed a guest's identity and was not let in.
    pub(super) fn turned_away(&mut self, guest: Guest, refused: Turned, world: &World, effects: &mut Effects) {
        match refused {
            Turned::Locked => {
                effects.end_session(guest);
                effects.save(guest);
            }
            Turned::Newer if !world.must_rejoin().contains(&guest) => {
                effects.change(Change::MustRejoin(guest));
                effects.change(Change::LinkDown(guest));
                effects.save(guest);
            }
            Turned::Newer | Turned::MustRejoin | Turned::Copy(_) | Turned::Nothing => {}
        }
        let rejoins = match refused {
            Turned::Locked | Turned::MustRejoin | Turned::Newer => vmid(guest),
            Turned::Copy(copy) => Some(copy),
            Turned::Nothing => None,
        };
        if let (Some(vmid), Some(enrolments)) = (rejoins, &mut self.0) {
            enrolments.must_rejoin(vmid, effects.now());
        }
    }

    /// Begins to enrol a guest for a person, whom `answers` reaches. True when it begins; what speaks against it is
    /// answered.
    pub(super) fn ask(
        &mut self,
        guest: Guest,
        by: &Caller,
        answers: mpsc::Sender<Answer>,
        world: &World,
        effects: &mut Effects,
    ) -> bool {
        let refused = match (&mut self.0, vmid(guest)) {
            (None, _) => Err(without_hypervisor(guest)),
            (Some(_), None) => Err(Answer::Refused(format!(
                "{guest} needs no hypervisor: run `pinion token create --guest {guest} | pinion-agent join`"
            ))),
            (Some(enrolments), Some(vmid)) => {
                enrolments.ask(vmid, world.inventory(), seen(world, vmid), answers.clone(), effects.now())
            }
        };
        match refused {
            Ok(()) => {
                effects.asked(What::Guest(guest, GuestEvent::EnrolAsked), by);
                true
            }
            Err(answer) => {
                // The asker may be gone.
                answers.try_send(answer).ok();
                false
            }
        }
    }

    /// A guest may have changed: it is looked at now.
    pub(super) fn wake(&mut self, guest: Guest, by: &Caller, effects: &mut Effects) -> Answer {
        match (&mut self.0, vmid(guest)) {
            (Some(enrolments), Some(vmid)) => {
                enrolments.wake(vmid);
                effects.asked(What::Guest(guest, GuestEvent::WakeAsked), by);
                Answer::End
            }
            _ => without_hypervisor(guest),
        }
    }

    /// Stops whatever is done for a guest.
    pub(super) fn stop(&mut self, guest: Vmid, why: &str) {
        if let Some(enrolments) = &mut self.0 {
            enrolments.stop(guest, why);
        }
    }

    /// Why no agent is replaced any more, if so.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.0.as_ref()?.trouble()
    }

    /// Why nothing comes of a placement, if that is because its guest must rejoin.
    pub(super) fn must_rejoin(&self, world: &World, planned: &Planned<'_>) -> Option<Trouble> {
        let guest = planned.guest.filter(|guest| world.must_rejoin().contains(guest) && !world.is_linked(*guest))?;
        // What keeps the hypervisor from bringing an identity in says more.
        if let Some(trouble) = world.reports().enrolment(guest).filter(|trouble| trouble.halt == Halt::Blocked) {
            return Some(Trouble { attempt: troubles::link_attempt(&planned.label(), guest), ..trouble.clone() });
        }
        Some(troubles::must_rejoin(&planned.label(), guest, self.brings_in(world, guest)))
    }

    /// Why a placement is not wholly done, if that is because its guest's agent does not know all of its fields.
    pub(super) fn too_old(&self, world: &World, planned: &Planned<'_>) -> Option<Trouble> {
        let guest = planned.guest.filter(|guest| world.is_linked(*guest))?;
        let facts = world.facts(guest).filter(|facts| facts.spec_level < SPEC_LEVEL)?;
        let level = planned.spec().level();
        let lacks = (1..=level).rev().find(|level| facts.spec_level < *level)?;
        let version = &facts.agent_version;
        Some(troubles::agent_too_old(&planned.label(), guest, version, lacks, self.brings_in(world, guest)))
    }

    /// Whether Pinion itself brings a new agent into a guest.
    fn brings_in(&self, world: &World, guest: Guest) -> bool {
        match (&self.0, guest) {
            (Some(enrolments), Guest::Vmid(vmid)) => enrolments.brings_in(vmid, world.inventory()),
            _ => false,
        }
    }
}

/// Which agents this controller is not meant to work with, by their versions.
pub(super) fn version_note(world: &World) -> Option<String> {
    let version = env!("CARGO_PKG_VERSION");
    let linked = world.all_facts().filter(|(guest, _)| world.is_linked(*guest));
    let mut misfits: Vec<_> = linked
        .filter_map(|(guest, facts)| Some((guest, &facts.agent_version, misfit(&facts.agent_version, version)?)))
        .collect();
    misfits.sort_by_key(|(guest, ..)| *guest);
    let (all, words) = (misfits.len(), misfits.into_iter().take(MAX_MISFITS));
    let words: Vec<_> = words.map(|(guest, agent, why)| format!("guest {guest} ({agent}) {why}")).collect();
    let more = all.saturating_sub(MAX_MISFITS);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    (all > 0).then(|| {
        format!(
            "agents that do not fit controller {version}: {}{more}; an agent may be up to two minor versions older \
             than the controller, but not newer. They keep their certificates served; `pinion guest enroll G` \
             replaces the agent of a guest on this Proxmox host with the packaged one",
            words.join(", ")
        )
    })
}

/// What the operator should know of the guests that must rejoin.
pub(super) fn must_rejoin_note(world: &World) -> Option<String> {
    let (count, first) = (world.must_rejoin().len(), world.must_rejoin().first()?);
    let (guests, hold) = if count == 1 { ("guest", "has an identity") } else { ("guests", "have identities") };
    let named = if count == 1 { format!(" ({first})") } else { format!(" ({first} and others)") };
    Some(format!(
        "{count} {guests}{named} {hold} newer than this controller's state: it was restored from a backup, or \
         records were lost. These identities are refused. Guests that Pinion reaches through the hypervisor join \
         again by themselves; for the others run `pinion token create --guest G` here and `pinion-agent join` there"
    ))
}

fn note(notes: Vec<Note>, world: &World, effects: &mut Effects) {
    for note in notes {
        match note {
            Note::Happened { guest, what } => effects.event(What::Guest(Guest::Vmid(guest), what)),
            Note::UnderWay { guest, trouble } => {
                effects.change(Change::Enrolment(Guest::Vmid(guest), Some(trouble)));
            }
            Note::Trouble { guest, trouble } => {
                let guest = Guest::Vmid(guest);
                let before = world.reports().enrolment(guest).map(|before| &before.cause);
                if let Some(trouble) = trouble.as_ref().filter(|trouble| before != Some(&trouble.cause)) {
                    effects.event(What::Guest(guest, GuestEvent::NotEnrolled(trouble.clone())));
                }
                effects.change(Change::Enrolment(guest, trouble));
            }
        }
    }
}

/// A guest as enrolling sees it.
fn seen(world: &World, vmid: Vmid) -> Seen<'_> {
    let guest = Guest::Vmid(vmid);
    let version = world.facts(guest).map(|facts| facts.agent_version.as_str());
    let at_goal = |report: &PlacementReport| report.retired || report.stage >= report.goal;
    let placements = world.reports().guest(guest).into_iter().flat_map(|entry| entry.placements());
    let served = placements.filter_map(|(_, placement)| placement.report()).all(at_goal);
    Seen { link: world.reports().link(guest), version, served }
}

fn vmid(guest: Guest) -> Option<Vmid> {
    match guest {
        Guest::Vmid(vmid) => Some(vmid),
        Guest::Host => None,
    }
}

fn without_hypervisor(guest: Guest) -> Answer {
    Answer::Refused(format!(
        "this host does not know its guests: there is no Proxmox here, or `[proxmox]` in controller.toml is wrong; \
         join by hand instead, with `pinion token create --guest {guest}` here and `pinion-agent join` in the guest"
    ))
}

#[cfg(test)]
mod tests;
