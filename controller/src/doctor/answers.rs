//! What the controller says of itself, of placements and of guests.

use std::time::Duration;

use pinion_proto::{
    clock::Timestamp,
    failure::Failure,
    relative,
    stage::{Halt, Trouble},
    verdict::{Tally, Verdict},
};

use super::report::{Area, Findings, few};
use crate::{
    admin::protocol::{ExaminedGuest, GuestStatus, IdentityStatus, IssuerReport, PlacementStatus, Status},
    manifest::first_problem,
};

/// After a restart of the controller, an agent may take a minute to dial again; then it needs nobody.
const SOON_BACK: Duration = Duration::from_secs(90);

/// What the controller answered.
pub(crate) struct Answers {
    /// How everything is, or why nobody says.
    pub(crate) status: Result<Box<Status>, Failure>,
    /// How its issuers are; none if it did not say.
    pub(crate) issuers: Option<Vec<IssuerReport>>,
    /// Which guests have which identity; none if it did not say.
    pub(crate) identities: Option<Vec<IdentityStatus>>,
    /// What agents see in their guests; none if they were not asked.
    pub(crate) guests: Option<Vec<ExaminedGuest>>,
}

pub(super) fn check(answers: &Answers, now: Timestamp, found: &mut Findings) {
    let status = match &answers.status {
        Ok(status) => status,
        Err(failure) => {
            let (why, remedy) = failure.parts();
            let remedy = remedy.map(|remedy| format!("{remedy}; then ")).unwrap_or_default();
            let message = format!("{why}, so nobody tells how placements and guests are.");
            return found.problem(Area::Controller, message, remedy + "run `pinion doctor` again");
        }
    };
    found.good(Area::Controller, "The controller answers.");
    if let Some(problem) = &status.manifest.problem {
        let first = first_problem(problem);
        let message = format!("The manifest on disk is not in force: {first}.");
        found.problem(Area::Configuration, message, "correct it; `pinion manifest check` lists all mistakes");
    } else {
        found.good(Area::Configuration, "The manifest on disk is in force.");
    }
    for trouble in &status.troubles {
        of_trouble(Area::Controller, trouble, found);
    }
    for note in &status.notes {
        found.note(Area::Controller, format!("{note}."), None);
    }
    placements(&status.placements, found);
    guests(&status.guests, answers.identities.as_deref().unwrap_or_default(), now, found);
}

fn of_trouble(area: Area, trouble: &Trouble, found: &mut Findings) {
    let message = format!("{}: {}.", trouble.attempt, trouble.cause);
    match trouble.halt {
        Halt::Blocked => found.problem(area, message, trouble.remedy.clone()),
        Halt::Waiting => found.note(area, message, Some(trouble.remedy.clone()).filter(|remedy| !remedy.is_empty())),
    }
}

fn placements(placements: &[PlacementStatus], found: &mut Findings) {
    let mut tally = Tally::default();
    let mut worst = None;
    for placement in placements.iter().filter(|placement| !placement.retired) {
        let verdict = placement.verdict();
        tally.add(verdict, || placement.placement.clone());
        if worst.is_none_or(|(found, _)| verdict > found) {
            worst = Some((verdict, &placement.placement));
        }
    }
    let (message, remedy) = (format!("{tally}."), worst.map(|(_, name)| format!("run `pinion explain {name}`")));
    match tally.worst() {
        Verdict::Good => found.good(Area::Controller, message),
        Verdict::Waiting => found.note(Area::Controller, message, remedy),
        Verdict::Blocked | Verdict::Expired => found.problem(Area::Controller, message, remedy.unwrap_or_default()),
    }
}

fn guests(guests: &[GuestStatus], identities: &[IdentityStatus], now: Timestamp, found: &mut Findings) {
    const AREA: Area = Area::Guests;
    for identity in identities {
        if let Some(why) = &identity.locked {
            let guest = identity.guest;
            let remedy = format!("make sure that one copy of it runs; then run `pinion guest unlock {guest}`");
            found.problem(AREA, format!("Guest {guest} is locked: {why}."), remedy);
        }
    }
    let names = |of: &dyn Fn(&&GuestStatus) -> bool| -> Vec<String> {
        guests.iter().filter(of).map(|guest| guest.guest.to_string()).collect()
    };
    let linked = names(&|guest| guest.linked);
    if !linked.is_empty() {
        found.good(AREA, format!("Linked: {}.", few(&linked)));
    }
    // What Proxmox says is stopped, or elsewhere, is away rightly.
    let is_excused = |guest: &GuestStatus| {
        guest.presence.running == Some(false) || guest.presence.node.is_some() || guest.presence.template
    };
    let stopped = names(&|guest| !guest.linked && is_excused(guest));
    if !stopped.is_empty() {
        found.note(AREA, format!("Stopped, or on another node: {}.", few(&stopped)), None);
    }
    for guest in guests.iter().filter(|guest| !guest.linked && !is_excused(guest)) {
        let number = guest.guest;
        match guest.since {
            Some(since) if now.since(since) < SOON_BACK => {
                let message = format!("Guest {number} is away for {}.", relative::ago(since, now));
                found.note(AREA, message, "wait: its agent dials again at least once a minute".to_owned());
            }
            Some(since) => {
                let message = format!("Guest {number} is away for {}, since {since}.", relative::ago(since, now));
                let remedy = format!(
                    "in the guest, look at `systemctl status pinion-agent` and `pinion-agent status`, and whether it \
                     reaches this host's addresses; on Proxmox `pinion guest enroll {number}` brings the agent in again"
                );
                found.problem(AREA, message, remedy);
            }
            None if guest.presence.kind.is_some() => {
                let remedy = format!("run `pinion guest enroll {number}`, which says what is in the way");
                found.problem(AREA, format!("Guest {number} was never linked."), remedy);
            }
            None => {
                let remedy = format!("run `pinion token create --guest {number}` here and `pinion-agent join` there");
                found.problem(AREA, format!("Guest {number} was never linked."), remedy);
            }
        }
    }
}
