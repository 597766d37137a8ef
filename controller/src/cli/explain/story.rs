//! A placement's story in sentences: pure, from what the controller answered.
//!
//! Invariant: every state has a sentence under each heading; what nobody knows is left out, and not guessed.

use pinion_proto::{
    clock::Timestamp,
    id::Guest,
    stage::{Halt, Stage, Trouble, Validity},
};

use super::{
    document::{Explanation, State, moment},
    since::since,
};
use crate::{
    admin::protocol::{GuestStatus, PlacementStatus, Wanted},
    events::Event,
};

/// So many names of a certificate are written out.
const MAX_NAMES: usize = 8;

/// The story of a placement, whose guest is in this state and whose last events are these.
pub(super) fn of(
    status: PlacementStatus,
    guest: Option<&GuestStatus>,
    events: &[Event],
    now: Timestamp,
) -> Explanation {
    let state = state(&status);
    Explanation {
        placement: status.placement.clone(),
        state,
        since: since(state, &status, guest, events),
        wanted: wanted(&status),
        found: found(&status, guest, now),
        why: why(state, &status),
        next: next(state, &status, now),
        options: options(state, &status, guest),
        status,
    }
}

/// What is true of it, the worst first.
fn state(status: &PlacementStatus) -> State {
    let halt = status.trouble.as_ref().map(|trouble| trouble.halt);
    match (status.validity, halt) {
        _ if status.retired => State::Retired,
        (Some(Validity::Expired), _) => State::Expired,
        (_, Some(Halt::Blocked)) => State::Blocked,
        (Some(Validity::Expiring), _) => State::Expiring,
        (_, Some(Halt::Waiting)) => State::Waiting,
        _ if status.due || status.incoming.is_some() || status.stage < status.goal => State::UnderWay,
        _ if status.frozen.is_some() => State::Frozen,
        _ => State::Good,
    }
}

fn wanted(status: &PlacementStatus) -> Vec<String> {
    let Some(wanted) = &status.wanted else {
        return vec!["Nothing: the manifest does not name it.".into()];
    };
    let place = match (status.guest, &status.guest_name) {
        (Some(Guest::Host), _) => "on this host".to_owned(),
        (Some(guest), Some(name)) => format!("in guest {guest} ({name})"),
        (Some(guest), None) => format!("in guest {guest}"),
        (None, _) => "in a guest that is not known".to_owned(),
    };
    let recipe = status.recipe.as_ref().map(|recipe| format!(", by the recipe {recipe}")).unwrap_or_default();
    if wanted.purge {
        return vec![format!("No files {place}: the manifest says `purge`.")];
    }
    let Wanted { names, duration, issuer, .. } = &**wanted;
    if status.watched {
        return vec![format!("That its certificate {place} does not expire unseen: Pinion only watches it.")];
    }
    let Some(duration) = duration else {
        return vec![format!("The root certificates of {issuer} {place}{recipe}.")];
    };
    let goal = if status.goal < Stage::Served { " Nothing tells how to look at its service." } else { "" };
    vec![
        format!("A certificate of {issuer} for {}, valid for {duration}.", list(names)),
        format!("It belongs {place}{recipe}, {}.{goal}", key(wanted)),
    ]
}

fn key(wanted: &Wanted) -> String {
    let key = wanted.key.as_deref().unwrap_or("a");
    match (wanted.shared, wanted.rotates) {
        (true, _) => format!("with the {key} key that all its placements share"),
        (false, true) => format!("with a new {key} key at each renewal"),
        (false, false) => format!("with an {key} key that stays"),
    }
}

fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown: Vec<_> = names.iter().take(MAX_NAMES).map(String::as_str).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

fn found(status: &PlacementStatus, guest: Option<&GuestStatus>, now: Timestamp) -> Vec<String> {
    let mut found = Vec::new();
    let is_leaf = status.wanted.as_ref().is_none_or(|wanted| wanted.duration.is_some());
    match (status.generation, status.serial.as_ref(), status.not_after) {
        (None, Some(serial), Some(until)) => {
            let tense = if until < now { "was valid" } else { "is valid" };
            let issuer = &status.issuer;
            found.push(format!("A certificate of {issuer}, serial {serial}, {tense} until {}.", moment(until, now)));
            found.extend(installed(status));
        }
        (Some(generation), Some(serial), Some(until)) => {
            let tense = if until < now { "was valid" } else { "is valid" };
            let issuer = &status.issuer;
            found.push(format!(
                "Generation {generation} of {issuer}, serial {serial}, {tense} until {}.",
                moment(until, now)
            ));
            found
                .extend(status.adopted.then(|| "It was there before Pinion, which took it over as it was.".to_owned()));
            found.extend(installed(status));
        }
        _ if status.watched => found.push("No certificate was seen yet.".into()),
        _ if is_leaf => found.push("Nothing is installed yet.".into()),
        _ if status.roots.is_empty() => found.push("No roots are installed yet.".into()),
        _ => found.push(format!("Roots are installed: {}.", status.roots.len())),
    }
    found.extend(status.incoming.map(|number| format!("Generation {number} is on its way.")));
    if !status.left_behind.is_empty() {
        found.push(format!("Files at earlier paths: {}.", status.left_behind.join(", ")));
    }
    found.extend(guest.and_then(|guest| away(guest, now)));
    found
}

/// How far what is installed has come.
fn installed(status: &PlacementStatus) -> Option<String> {
    let probes = status.details.as_ref().map(|details| details.probes.join(", ")).unwrap_or_default();
    let at = if probes.is_empty() { String::new() } else { format!(" at {probes}") };
    if status.retired {
        return None;
    }
    Some(match status.stage {
        Stage::Pending | Stage::Issued => return None,
        Stage::Installed => "Its files are in place; its service does not use them yet.".into(),
        Stage::Reloaded if status.goal <= Stage::Reloaded => {
            "Its files are in place, and its service was notified.".into()
        }
        Stage::Reloaded => format!("Its service was notified, and does not serve it{at} yet."),
        Stage::Served => format!("Its service serves it{at}."),
    })
}

/// A guest of which nobody can tell how it is now.
fn away(guest: &GuestStatus, now: Timestamp) -> Option<String> {
    let presence = guest.presence.words();
    let presence = if presence.is_empty() { String::new() } else { format!(" ({presence})") };
    match (guest.linked, guest.since) {
        (true, _) => None,
        (false, Some(since)) => Some(format!("The guest's agent{presence} is away since {}.", moment(since, now))),
        (false, None) => Some(format!("The guest{presence} was never linked.")),
    }
}

fn why(state: State, status: &PlacementStatus) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(trouble) = &status.trouble {
        why.push(sentence(&cause(trouble)));
    } else if state == State::UnderWay && status.wanted.as_ref().is_some_and(|wanted| wanted.action == "keep") {
        why.push("The guest is installing it.".into());
    } else if let Some(wanted) = &status.wanted {
        why.push(sentence(&wanted.why));
    } else {
        why.push("Its files stay until somebody removes them.".into());
    }
    why.extend(status.warning.as_ref().map(|warning| sentence(&format!("warning: {warning}"))));
    if let Some(freeze) = &status.frozen {
        let (what, by) = (freeze.what(), &freeze.by);
        why.push(format!("Frozen {}: {by} froze {what}. Only what disturbs a service waits.", freeze.end()));
    }
    why
}

fn cause(trouble: &Trouble) -> String {
    format!("{}: {}", trouble.attempt, trouble.cause)
}

/// A sentence of a text that begins small and ends without a period.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", characters.as_str())
}

fn next(state: State, status: &PlacementStatus, now: Timestamp) -> Vec<String> {
    let mut next = Vec::new();
    if let Some(trouble) = &status.trouble {
        next.push(match (trouble.retry_at.filter(|at| *at > now), trouble.halt) {
            (Some(at), Halt::Waiting) => format!("Pinion tries again at {}, by itself.", moment(at, now)),
            (Some(at), Halt::Blocked) => {
                format!("Pinion tries again at {}, but it needs you before that helps.", moment(at, now))
            }
            (None, Halt::Waiting) => "Pinion goes on by itself as soon as that has changed.".into(),
            (None, Halt::Blocked) => "Nothing, until you have acted.".into(),
        });
    }
    match (state, status.renew_at) {
        (State::Retired, _) => next.push("Nothing: Pinion removes no files by itself.".into()),
        _ if status.watched => next.push("Its owner renews it; Pinion keeps looking at it.".into()),
        (_, Some(at)) if at > now => next.push(format!("Its renewal is due at {}.", moment(at, now))),
        (State::UnderWay, _) if status.trouble.is_none() => next.push("Pinion is at work; this takes seconds.".into()),
        (_, Some(at)) => next.push(format!("Its renewal is due since {at}.")),
        (_, None) => {}
    }
    if let Some(at) = status.not_after.filter(|at| *at >= now && status.trouble.is_some() && !status.retired) {
        next.push(format!("If nothing changes, it expires at {}.", moment(at, now)));
    }
    next.extend(
        status.window.as_ref().map(|window| format!("The window in which its service may be disturbed is {window}.")),
    );
    if next.is_empty() {
        next.push("Nothing, until the manifest changes.".into());
    }
    next
}

fn options(state: State, status: &PlacementStatus, guest: Option<&GuestStatus>) -> Vec<String> {
    let name = &status.placement;
    let mut options = Vec::new();
    if let Some(trouble) = status.trouble.as_ref().filter(|trouble| !trouble.remedy.is_empty()) {
        options.push(sentence(&trouble.remedy));
    }
    let is_linked = guest.is_some_and(|guest| guest.linked);
    match state {
        State::Retired if status.trouble.is_none() => {
            options.push(format!("Remove its files with `pinion purge {name}`, or name it in the manifest again."));
        }
        State::Retired => {}
        State::Good | State::Frozen if status.watched => options.push("Nothing has to be done.".into()),
        State::Expiring | State::Expired if status.watched => {
            let issuer = &status.issuer;
            options.push(format!("Renew it where it is made; its issuer is {issuer}. Pinion cannot."));
        }
        State::Good | State::Frozen => {
            options.push(format!("Nothing has to be done. `pinion ensure {name} --renew` renews it now."));
        }
        State::UnderWay => options.push(format!("Wait for it with `pinion ensure {name}`.")),
        State::Waiting | State::Blocked | State::Expiring | State::Expired if is_linked => {
            options.push(format!("After a change, `pinion ensure {name}` tries at once and waits for the outcome."));
        }
        State::Waiting | State::Blocked | State::Expiring | State::Expired => {
            options.push("`pinion doctor` looks for what keeps the guest away.".into());
        }
    }
    if !status.left_behind.is_empty() && !status.retired {
        options.push(format!("`pinion purge {name}` removes the files at earlier paths only."));
    }
    options.extend(status.frozen.as_ref().map(|freeze| format!("Lift the freeze with `{}`.", freeze.lift())));
    options.push(format!("`pinion show {name}` has every detail, and `pinion events {name}` what happened."));
    options
}
