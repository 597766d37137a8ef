//! `pinion-agent await`: the one call of scripts that need a certificate.

use std::time::Duration;

use pinion_proto::{
    clock::{Clock, SystemClock, Timestamp},
    errln,
    exit::Exit,
    failure::Failure,
    id::IdError,
    stage::{Halt, Stage},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Name,
    ask::{answer, ask, send},
    documents::Awaited,
    print_failed, print_json,
};
use crate::{
    config::Config,
    facts,
    local::{LocalAsk, LocalPlacement, LocalStatus},
};

/// A daemon that does not say whether it has looked has had so much time to try again, before its troubles are believed.
const FRESH: Duration = Duration::from_secs(3);

/// The names of a command line.
///
/// # Errors
/// The first that is none.
pub fn names(texts: &[String]) -> Result<Vec<Name>, IdError> {
    texts.iter().map(|text| text.parse()).collect()
}

/// Waits until every name has come to `until`, or something else is certain.
pub(super) async fn wait(
    config: &Config,
    names: &[Name],
    until: Stage,
    patience: Duration,
    json: bool,
) -> Result<Exit, Failure> {
    let started = Instant::now();
    let deadline = started.checked_add(patience).unwrap_or(started + Duration::from_secs(365 * 86400));
    let certificates: Vec<_> = names.iter().map(|name| name.certificate.clone()).collect();
    let mut stream = ask(config, &LocalAsk::Watch(certificates)).await?;
    let mut last: Option<LocalStatus> = None;
    let mut printed = String::new();
    let hostname = facts::hostname();
    loop {
        let fresh = started.elapsed() >= FRESH;
        let wanted = Wanted { names, until, hostname: &hostname, now: SystemClock.now(), fresh };
        let verdict = last.as_ref().map_or(Verdict::Wait(String::new()), |status| decide(status, &wanted));
        match verdict {
            Verdict::Done => return Ok(finish(Exit::Reached, "", last.as_ref(), names, json)),
            Verdict::NotInForce(why) => return Ok(finish(Exit::Usage, &why, last.as_ref(), names, json)),
            Verdict::Blocked(why) => return Ok(finish(Exit::Blocked, &why, last.as_ref(), names, json)),
            Verdict::Elsewhere(why) => return Ok(finish(Exit::NoSuchName, &why, last.as_ref(), names, json)),
            Verdict::Wait(why) => {
                if why != printed {
                    errln!("waiting: {why}");
                    printed = why;
                }
            }
        }
        // A blocked placement is looked at once more when its old trouble has become believable.
        let next = if fresh { deadline } else { deadline.min(started + FRESH) };
        match timeout_at(next, answer(&mut stream)).await {
            Ok(Ok(Some(status))) => last = Some(status),
            Ok(Ok(None) | Err(_)) => {
                // The daemon went away, for an update perhaps: it is given what is left of the time.
                errln!("waiting: the agent's daemon is restarting");
                let mut failed = None;
                loop {
                    if Instant::now() >= deadline {
                        return Err(failed.unwrap_or_else(|| {
                            Failure::new(Exit::Unreachable, "the agent's daemon did not come back in time")
                        }));
                    }
                    sleep(Duration::from_millis(200)).await;
                    let certificates = names.iter().map(|name| name.certificate.clone()).collect();
                    match send(config, &LocalAsk::Watch(certificates)).await {
                        Ok(again) => {
                            stream = again;
                            break;
                        }
                        Err(error) if error.is_stranger() => {
                            return Err(error.failure(config));
                        }
                        Err(error) => failed = Some(error.failure(config)),
                    }
                }
            }
            Err(_) if Instant::now() >= deadline => {
                let wanted = Wanted { fresh: true, now: SystemClock.now(), ..wanted };
                let (exit, why) = at_the_deadline(last.as_ref(), &wanted);
                return Ok(finish(exit, &why, last.as_ref(), names, json));
            }
            Err(_) => {}
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    names: &'a [Name],
    until: Stage,
    /// What this guest calls itself.
    hostname: &'a str,
    now: Timestamp,
    /// Whether the troubles of a daemon are believed that does not say whether it has looked.
    fresh: bool,
}

/// What a status means for those who wait.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Every name has come to the stage.
    Done,
    /// Not yet; why not.
    Wait(String),
    /// One needs a person.
    Blocked(String),
    /// What is here may not be what is wanted, because the manifest on the host's disk is not in force.
    NotInForce(String),
    /// One is a placement of another guest.
    Elsewhere(String),
}

/// What a status means. Nothing ends well while the manifest on the host's disk is broken: what it asks for is not known.
/// What is under way by the manifest in force goes on.
fn decide(status: &LocalStatus, wanted: &Wanted<'_>) -> Verdict {
    let verdict = decide_by_placements(status, wanted);
    let Some(problem) = status.link.manifest_problem.as_ref().filter(|_| status.link.linked) else { return verdict };
    let is_missing = status.link.informed && wanted.names.iter().any(|name| placement(status, name).is_none());
    match verdict {
        Verdict::Elsewhere(_) => verdict,
        Verdict::Wait(_) if !is_missing => verdict,
        _ => Verdict::NotInForce(format!(
            "the manifest on the host is not in force: {problem}; correct it there (`pinion manifest check`)"
        )),
    }
}

fn decide_by_placements(status: &LocalStatus, wanted: &Wanted<'_>) -> Verdict {
    let Wanted { names, until, now, .. } = *wanted;
    let mut waits = Vec::new();
    let mut blocks = Vec::new();
    for name in names {
        if let (Some(asked), Some(here)) = (&name.guest, status.guest)
            && !asked.means(here, wanted.hostname)
        {
            return Verdict::Elsewhere(format!(
                "{}@{asked} is a placement in another guest; this guest is {here}, and its host name is {}",
                name.certificate, wanted.hostname
            ));
        }
        match placement(status, name) {
            // A guest that was off for long holds what nobody should begin with: the next is on its way.
            Some(found) if expired(found, until, now) => {
                let why = found.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
                let list = if is_blocked(found, wanted) { &mut blocks } else { &mut waits };
                list.push(format!("{}: the installed certificate has expired{why}", name.certificate));
            }
            Some(found) if found.looked == Some(false) => {
                waits.push(format!("{}: {}, and being looked at", name.certificate, found.stage));
            }
            Some(found)
                if found.stage >= until.min(found.goal.max(Stage::Installed))
                    && is_there(found, until)
                    && !is_in_the_way(found) => {}
            Some(found) => match &found.trouble {
                Some(trouble) if is_blocked(found, wanted) => {
                    blocks.push(format!("{}: {trouble}", name.certificate));
                }
                Some(trouble) => waits.push(format!("{}: {}: {trouble}", name.certificate, found.stage)),
                None => waits.push(format!("{}: {}", name.certificate, found.stage)),
            },
            None if !status.link.linked => {
                let why = status.link.error.as_deref().unwrap_or("dialling");
                waits.push(format!("{}: not here yet, and no link to the controller: {why}", name.certificate));
            }
            None => waits.push(format!("{}: the manifest does not place it in this guest yet", name.certificate)),
        }
    }
    if !blocks.is_empty() {
        Verdict::Blocked(blocks.join("; "))
    } else if waits.is_empty() {
        Verdict::Done
    } else {
        Verdict::Wait(waits.join("; "))
    }
}

/// Whether there is something to be at a stage: what is issued only is not installed yet.
fn is_there(found: &LocalPlacement, until: Stage) -> bool {
    found.serial.is_some() || until <= Stage::Issued
}

/// Whether it needs a person, as was seen since the waiting began.
fn is_blocked(found: &LocalPlacement, wanted: &Wanted<'_>) -> bool {
    let is_new = found.looked.unwrap_or(wanted.fresh);
    is_new && found.trouble.as_ref().is_some_and(|trouble| trouble.halt == Halt::Blocked)
}

/// Whether the trouble is about what is there, or needs a person before that can be renewed. A trouble of a stage that is
/// still to come is none of this one, and a renewal that waits leaves a good certificate in place.
fn is_in_the_way(found: &LocalPlacement) -> bool {
    let Some(trouble) = &found.trouble else { return false };
    match trouble.halt {
        Halt::Blocked => found.renewing || found.stage >= found.goal,
        Halt::Waiting => !found.renewing && found.stage >= found.goal,
    }
}

/// Whether what is installed is over.
fn expired(found: &LocalPlacement, until: Stage, now: Timestamp) -> bool {
    until >= Stage::Installed && found.not_after.is_some_and(|not_after| not_after < now)
}

/// At the end of the time: a name that the controller has not placed here is no name.
fn at_the_deadline(status: Option<&LocalStatus>, wanted: &Wanted<'_>) -> (Exit, String) {
    let Some(status) = status else { return (Exit::Unreachable, "the daemon did not answer".into()) };
    if let Verdict::NotInForce(why) = decide(status, wanted) {
        return (Exit::Usage, why);
    }
    if let Some(unknown) = wanted.names.iter().find(|name| status.link.informed && placement(status, name).is_none()) {
        let why = format!("the manifest has no certificate `{}` for this guest", unknown.certificate);
        return (Exit::NoSuchName, why);
    }
    match decide(status, wanted) {
        Verdict::Done => (Exit::Reached, String::new()),
        Verdict::NotInForce(why) => (Exit::Usage, why),
        Verdict::Blocked(why) => (Exit::Blocked, why),
        Verdict::Wait(why) => (Exit::TimedOut, why),
        Verdict::Elsewhere(why) => (Exit::NoSuchName, why),
    }
}

fn placement<'a>(status: &'a LocalStatus, name: &Name) -> Option<&'a LocalPlacement> {
    status.placements.iter().find(|placement| placement.certificate == name.certificate && !placement.retired)
}

fn finish(exit: Exit, why: &str, status: Option<&LocalStatus>, names: &[Name], json: bool) -> Exit {
    let document = || document(exit, why, status, names);
    match (json, exit) {
        (false, _) => {}
        (true, Exit::Reached) => print_json(&document()),
        (true, _) => print_failed(&document(), &Failure::new(exit, message(exit)).cause(why)),
    }
    for line in last_lines(exit, why, status, names) {
        errln!("{line}");
    }
    exit
}

/// How it ended, for programs.
fn document<'a>(exit: Exit, why: &'a str, status: Option<&'a LocalStatus>, names: &[Name]) -> Awaited<'a> {
    let placements = status.iter().flat_map(|status| names.iter().filter_map(|name| placement(status, name))).collect();
    Awaited { exit: exit.code(), why, placements }
}

/// How it ended, without why.
fn message(exit: Exit) -> &'static str {
    match exit {
        Exit::TimedOut => "timed out, the agent keeps trying",
        Exit::Blocked => "blocked, needs a person",
        Exit::NoSuchName => "no such name in this guest",
        _ => "the certificates cannot be waited for",
    }
}

/// How it ended, for people.
fn last_lines(exit: Exit, why: &str, status: Option<&LocalStatus>, names: &[Name]) -> Vec<String> {
    match exit {
        Exit::Reached => {
            let line = |name: &Name| {
                let found = placement(status?, name)?;
                let serial = found.serial.as_deref().unwrap_or("?");
                Some(format!("{}: {} (serial {serial})", name.certificate, found.stage))
            };
            names.iter().filter_map(line).collect()
        }
        Exit::TimedOut | Exit::Blocked => vec![format!("{}: {why}", message(exit))],
        _ => vec![format!("pinion-agent: {why}")],
    }
}

#[cfg(test)]
mod tests;
