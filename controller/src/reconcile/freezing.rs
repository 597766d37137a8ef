//! Freezes, as the loop sees them: what a person asks for, what has ended, and what a frozen placement's trouble is.
//!
//! Invariant: a freeze is written before it is answered. It is local to this host, as the guests are that it is about,
//! so that it holds and can be lifted also while the shared state cannot be written.

use pinion_proto::{
    causes::chain,
    clock::Timestamp,
    id::{Guest, PlacementId},
    stage::{Halt, Trouble},
};

use super::{chosen::Chosen, effects::Effects};
use crate::{
    admin::{
        caller::Caller,
        protocol::{Answer, AskFreeze},
    },
    events::{HostEvent, What},
    freeze::{self, Freeze, Freezes, LAST_DAY, MAX_FREEZES},
    planner::{self, Planned},
    store::{Area, Store},
    world::{Change, World},
};

/// Ends what is over. Returns when the next freeze ends.
pub(super) fn step(world: &World, store: &Store, effects: &mut Effects) -> Option<Timestamp> {
    let (now, next) = (effects.now(), world.reports().freezes().next_end());
    if next.is_none_or(|end| end > now) {
        return next;
    }
    let mut freezes = world.reports().freezes().clone();
    for freeze in freezes.end(now) {
        effects.event(What::Host(HostEvent::FreezeEnded(freeze.what())));
    }
    let next = freezes.next_end();
    write(freezes, store, effects);
    next
}

/// Freezes something, or lifts freezes. What to say when that cannot be written.
pub(super) fn ask(
    ask: &AskFreeze,
    by: &Caller,
    world: &World,
    store: &Store,
    effects: &mut Effects,
) -> Result<Option<String>, Answer> {
    let chosen = Chosen::new(world, &ask.selection)?;
    let names: Vec<Option<&str>> = match ask.selection.names.as_slice() {
        [] => vec![None],
        names => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let mut freezes = world.reports().freezes().clone();
    let happened = if ask.lift {
        lift(&mut freezes, &names, chosen.guest())?
    } else {
        let freeze =
            Freeze { name: None, guest: chosen.guest(), since: effects.now(), until: ask.until, by: by.clone() };
        add(&mut freezes, &names, &freeze, world)?
    };
    for what in happened {
        effects.asked(What::Host(what), by);
    }
    Ok(write(freezes, store, effects))
}

fn lift(freezes: &mut Freezes, names: &[Option<&str>], guest: Option<Guest>) -> Result<Vec<HostEvent>, Answer> {
    let mut happened = Vec::new();
    for name in names {
        let lifted = freezes.lift(*name, guest);
        if lifted.is_empty() && (name.is_some() || guest.is_some()) {
            let what = name.map_or_else(|| "this guest".to_owned(), |name| format!("`{name}`"));
            let frozen: Vec<_> = freezes.iter().map(Freeze::what).collect();
            let frozen = if frozen.is_empty() { "nothing".to_owned() } else { frozen.join(", ") };
            return Err(Answer::NoSuchName(format!(
                "there is no freeze of {what} to lift; these are frozen: {frozen}"
            )));
        }
        happened.extend(lifted.iter().map(|freeze| HostEvent::FreezeLifted(freeze.what())));
    }
    Ok(happened)
}

fn add(
    freezes: &mut Freezes,
    names: &[Option<&str>],
    freeze: &Freeze,
    world: &World,
) -> Result<Vec<HostEvent>, Answer> {
    if freeze.until.is_some_and(|until| until <= freeze.since) {
        return Err(Answer::Refused("the freeze would be over already: give a time in the future".into()));
    }
    let mut happened = Vec::new();
    for name in names {
        if let Some(name) = name.filter(|name| !is_placed(name, world)) {
            let text = format!("no certificate or placement of the manifest is called {name}");
            return Err(Answer::NoSuchName(text));
        }
        let freeze = Freeze { name: name.map(ToOwned::to_owned), ..freeze.clone() };
        happened.push(HostEvent::Frozen { what: freeze.what(), end: freeze.end() });
        freezes.add(freeze);
    }
    if freezes.count() > MAX_FREEZES {
        return Err(Answer::Refused(format!("more than {MAX_FREEZES} freezes: freeze whole guests, or everything")));
    }
    Ok(happened)
}

/// Whether the manifest has a certificate or placement of this name.
fn is_placed(name: &str, world: &World) -> bool {
    world.manifest().certificates.iter().any(|certificate| {
        certificate.name.as_str() == name
            || certificate.placements.iter().any(|placement| {
                let guest = world.inventory().resolve(&placement.guest).ok();
                planner::label(certificate, placement, guest) == name
            })
    })
}

/// Returns what to say when that cannot be written.
fn write(freezes: Freezes, store: &Store, effects: &mut Effects) -> Option<String> {
    let written = store.write(Area::Local, freeze::DOCUMENT, &freezes);
    effects.change(Change::Freezes(freezes));
    let error = written.err()?;
    let text = format!("the freezes cannot be stored, and hold only until the controller stops: {}", chain(&error));
    tracing::warn!("{text}");
    Some(text)
}

/// What is frozen, and what the last day before an expiry makes of it.
pub(super) fn notes(world: &World, now: Timestamp) -> Vec<String> {
    let note = |freeze: &Freeze| {
        let mut text = format!(
            "frozen: {} {}, since {}, by {}: Pinion does nothing disruptive there; to lift the freeze, run `{}`",
            freeze.what(),
            freeze.end(),
            freeze.since,
            freeze.by,
            freeze.lift()
        );
        if let Some((label, ends)) = first_to_end(world, freeze) {
            text += &last_day(&label, ends, now);
        }
        text
    };
    world.reports().freezes().iter().map(note).collect()
}

/// Of what a freeze holds, the first whose last day comes before the freeze's end.
fn first_to_end(world: &World, freeze: &Freeze) -> Option<(String, Timestamp)> {
    let freezes = world.reports().freezes();
    let placements = world
        .manifest()
        .certificates
        .iter()
        .flat_map(|certificate| certificate.placements.iter().map(move |placement| (certificate, placement)));
    let held = placements.filter_map(|(certificate, placement)| {
        let guest = world.inventory().resolve(&placement.guest).ok()?;
        let label = planner::label(certificate, placement, Some(guest));
        let by = freezes.of(|| label.clone(), certificate.name.as_str(), Some(guest))?;
        let id = PlacementId { certificate: certificate.name.clone(), guest };
        let report = world.report(&id)?;
        // What is held is not served yet while the service is left alone.
        let waits = report.trouble.as_ref().and_then(freeze::left_alone_until).map(|at| at + LAST_DAY);
        let ends = waits.or_else(|| Some(report.held.as_ref()?.expires()))?;
        (by == freeze && freeze.until.is_none_or(|until| ends - LAST_DAY < until)).then_some((label, ends))
    });
    held.min_by_key(|(_, ends)| *ends)
}

/// What the last day of what a frozen service serves makes of the freeze.
fn last_day(label: &str, ends: Timestamp, now: Timestamp) -> String {
    let from = (ends - LAST_DAY).max(now);
    format!(
        ". The certificate that {label} serves expires at {ends}: from {from} on, in its last day, Pinion disturbs \
         the service despite the freeze if it has to"
    )
}

/// The freeze of a placement.
pub(super) fn freeze_of<'w>(world: &'w World, planned: &Planned<'_>) -> Option<&'w Freeze> {
    world.reports().freezes().of(|| planned.label(), planned.certificate.name.as_str(), planned.guest)
}

/// A trouble of a placement, as the freeze's where that is what holds it up.
pub(super) fn trouble_for_status(world: &World, planned: &Planned<'_>, trouble: Trouble) -> Trouble {
    match freeze_of(world, planned) {
        Some(freeze) if trouble.halt == Halt::Waiting && freeze::holds_back(&trouble.cause) => {
            freeze.held_back(trouble)
        }
        _ => trouble,
    }
}

/// As [`trouble_for_status`], for somebody who waits: a freeze without an end needs a person.
pub(super) fn trouble_for_waiting(world: &World, planned: &Planned<'_>, trouble: Trouble) -> Trouble {
    let held_back = freeze::holds_back(&trouble.cause);
    let mut trouble = trouble_for_status(world, planned, trouble);
    if held_back && freeze_of(world, planned).is_some_and(|freeze| freeze.until.is_none()) {
        trouble.halt = Halt::Blocked;
    }
    trouble
}

#[cfg(test)]
mod tests;
