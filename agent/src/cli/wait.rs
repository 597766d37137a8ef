//! `pinion-agent await`: the one call of scripts that need a certificate.

use std::time::Duration;

use pinion_proto::{
    clock::{Clock, SystemClock, Timestamp},
    exit::Exit,
    id::IdError,
    stage::{Halt, Stage},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Name,
    ask::{answer, ask, send},
    print_json,
};
use crate::{
    config::Config,
    local::{LocalAsk, LocalPlacement, LocalStatus},
};

/// After it was asked to try again, a placement's old trouble is not believed for this long.
const FRESH: Duration = Duration::from_secs(3);

/// The names of a command line.
///
/// # Errors
/// The first that is none.
pub fn names(texts: &[String]) -> Result<Vec<Name>, IdError> {
    texts.iter().map(|text| text.parse()).collect()
}

/// Waits until every name has come to `until`, or something else is certain.
pub(super) async fn wait(config: &Config, names: &[Name], until: Stage, patience: Duration, json: bool) -> Exit {
    let started = Instant::now();
    let deadline = started.checked_add(patience).unwrap_or(started + Duration::from_secs(365 * 86400));
    let certificates: Vec<_> = names.iter().map(|name| name.certificate.clone()).collect();
    let mut stream = match ask(config, &LocalAsk::Watch(certificates)).await {
        Ok(stream) => stream,
        Err(exit) => return exit,
    };
    let mut last: Option<LocalStatus> = None;
    let mut printed = String::new();
    loop {
        let fresh = started.elapsed() >= FRESH;
        let verdict = last
            .as_ref()
            .map_or(Verdict::Wait(String::new()), |status| decide(status, names, until, SystemClock.now()));
        match verdict {
            Verdict::Done => return finish(Exit::Reached, "", last.as_ref(), names, json),
            Verdict::Blocked(why) if fresh => return finish(Exit::Blocked, &why, last.as_ref(), names, json),
            Verdict::Elsewhere(why) => return finish(Exit::NoSuchName, &why, last.as_ref(), names, json),
            Verdict::Blocked(why) | Verdict::Wait(why) => {
                if why != printed {
                    eprintln!("waiting: {why}");
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
                eprintln!("waiting: the agent's daemon is restarting");
                loop {
                    if Instant::now() >= deadline {
                        return Exit::Unreachable;
                    }
                    sleep(Duration::from_millis(200)).await;
                    let certificates = names.iter().map(|name| name.certificate.clone()).collect();
                    match send(config, &LocalAsk::Watch(certificates)).await {
                        Ok(again) => {
                            stream = again;
                            break;
                        }
                        Err(error) if error.is_stranger() => {
                            eprintln!("pinion-agent: {}", error.words(config));
                            return Exit::Unreachable;
                        }
                        Err(_) => {}
                    }
                }
            }
            Err(_) if Instant::now() >= deadline => {
                let (exit, why) = at_the_deadline(last.as_ref(), names, until);
                return finish(exit, &why, last.as_ref(), names, json);
            }
            Err(_) => {}
        }
    }
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
    /// One is a placement of another guest.
    Elsewhere(String),
}

fn decide(status: &LocalStatus, names: &[Name], until: Stage, now: Timestamp) -> Verdict {
    let mut waits = Vec::new();
    let mut blocks = Vec::new();
    for name in names {
        if let (Some(asked), Some(here)) = (name.guest, status.guest)
            && asked != here
        {
            return Verdict::Elsewhere(format!(
                "{}@{asked} is a placement in another guest; this guest is {here}",
                name.certificate
            ));
        }
        match placement(status, name) {
            // A guest that was off for long holds what nobody should begin with: the next is on its way.
            Some(found) if expired(found, until, now) => {
                let why = found.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
                waits.push(format!("{}: the installed certificate has expired{why}", name.certificate));
            }
            Some(found) if found.stage >= until.min(found.goal.max(Stage::Installed)) && is_there(found, until) => {}
            Some(found) => match &found.trouble {
                Some(trouble) if trouble.halt == Halt::Blocked => {
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

/// Whether what is installed is over.
fn expired(found: &LocalPlacement, until: Stage, now: Timestamp) -> bool {
    until >= Stage::Installed && found.not_after.is_some_and(|not_after| not_after < now)
}

/// At the end of the time: a name that the controller has not placed here is no name.
fn at_the_deadline(status: Option<&LocalStatus>, names: &[Name], until: Stage) -> (Exit, String) {
    let Some(status) = status else { return (Exit::Unreachable, "the daemon did not answer".into()) };
    if let Some(unknown) = names.iter().find(|name| status.link.informed && placement(status, name).is_none()) {
        let why = format!("the manifest has no certificate `{}` for this guest", unknown.certificate);
        return (Exit::NoSuchName, why);
    }
    match decide(status, names, until, SystemClock.now()) {
        Verdict::Done => (Exit::Reached, String::new()),
        Verdict::Blocked(why) => (Exit::Blocked, why),
        Verdict::Wait(why) => (Exit::TimedOut, why),
        Verdict::Elsewhere(why) => (Exit::NoSuchName, why),
    }
}

fn placement<'a>(status: &'a LocalStatus, name: &Name) -> Option<&'a LocalPlacement> {
    status.placements.iter().find(|placement| placement.certificate == name.certificate && !placement.retired)
}

fn finish(exit: Exit, why: &str, status: Option<&LocalStatus>, names: &[Name], json: bool) -> Exit {
    if json {
        print_json(&document(exit, why, status, names));
    }
    for line in last_lines(exit, why, status, names) {
        eprintln!("{line}");
    }
    exit
}

/// How it ended, for programs.
fn document(exit: Exit, why: &str, status: Option<&LocalStatus>, names: &[Name]) -> serde_json::Value {
    let placements: Vec<_> =
        status.iter().flat_map(|status| names.iter().filter_map(|name| placement(status, name))).collect();
    serde_json::json!({ "exit": exit.code(), "why": why, "placements": placements })
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
        Exit::TimedOut => vec![format!("timed out, the agent keeps trying: {why}")],
        Exit::Blocked => vec![format!("blocked, needs a person: {why}")],
        _ => vec![format!("pinion-agent: {why}")],
    }
}

#[cfg(test)]
mod tests {
    use pinion_proto::{clock::Timestamp, stage::Trouble};

    use super::*;
    use crate::link::LinkStatus;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    fn status(placements: Vec<LocalPlacement>) -> LocalStatus {
        LocalStatus {
            version: "0".into(),
            guest: Some("1001".parse().expect("a guest")),
            identity_not_after: None,
            link: LinkStatus {
                linked: true,
                since: Timestamp::from_unix(0),
                controller: None,
                error: None,
                informed: true,
            },
            placements,
        }
    }

    fn at(stage: Stage, halt: Option<Halt>) -> LocalPlacement {
        LocalPlacement {
            certificate: "docker".parse().expect("a name"),
            stage,
            goal: Stage::Served,
            generation: Some(1),
            serial: (stage >= Stage::Installed).then(|| "01".into()),
            names: None,
            not_after: None,
            trouble: halt.map(|halt| Trouble {
                halt,
                attempt: "try".into(),
                cause: "cause".into(),
                remedy: String::new(),
                retry_at: None,
            }),
            warning: None,
            retired: false,
        }
    }

    fn asked(text: &str) -> Vec<Name> {
        vec![text.parse().expect("a name")]
    }

    #[test]
    fn verdicts_follow_stage_and_trouble() {
        let docker = asked("docker");
        let decided = |stage, halt, until| decide(&status(vec![at(stage, halt)]), &docker, until, NOW);
        assert_eq!(decided(Stage::Installed, None, Stage::Installed), Verdict::Done);
        assert_eq!(decided(Stage::Issued, Some(Halt::Waiting), Stage::Issued), Verdict::Done);
        assert!(matches!(decided(Stage::Installed, None, Stage::Served), Verdict::Wait(_)));
        assert!(matches!(decided(Stage::Pending, Some(Halt::Blocked), Stage::Installed), Verdict::Blocked(_)));
        assert!(matches!(decided(Stage::Pending, Some(Halt::Waiting), Stage::Installed), Verdict::Wait(_)));
        // What is there is there, whatever its renewal is up against.
        assert_eq!(decided(Stage::Served, Some(Halt::Blocked), Stage::Served), Verdict::Done);
        assert!(matches!(decide(&status(vec![]), &asked("docker@1002"), Stage::Issued, NOW), Verdict::Elsewhere(_)));
    }

    #[test]
    fn what_has_expired_is_not_there() {
        let until_now = |not_after| {
            let found = LocalPlacement { not_after: Some(not_after), ..at(Stage::Served, Some(Halt::Blocked)) };
            decide(&status(vec![found]), &asked("docker"), Stage::Served, NOW)
        };
        assert_eq!(until_now(NOW), Verdict::Done, "its last second");
        let verdict = until_now(Timestamp::from_unix(1_799_999_999));
        assert!(
            matches!(&verdict, Verdict::Wait(why) if why.contains("expired") && why.contains("cause")),
            "{verdict:?}"
        );
    }

    #[test]
    fn an_end_without_probe_is_an_end() {
        let mut done = at(Stage::Reloaded, None);
        done.goal = Stage::Reloaded;
        assert_eq!(decide(&status(vec![done]), &asked("docker"), Stage::Served, NOW), Verdict::Done);
    }

    #[test]
    fn the_deadline_tells_unknown_names_from_late_ones() {
        let exit = |status: &LocalStatus, name: &str| at_the_deadline(Some(status), &asked(name), Stage::Served).0;
        assert_eq!(exit(&status(vec![]), "docker"), Exit::NoSuchName);
        assert_eq!(exit(&status(vec![at(Stage::Pending, None)]), "docker"), Exit::TimedOut);
        assert_eq!(exit(&status(vec![at(Stage::Pending, Some(Halt::Blocked))]), "docker"), Exit::Blocked);
        let mut uninformed = status(vec![]);
        uninformed.link.informed = false;
        assert_eq!(exit(&uninformed, "docker"), Exit::TimedOut);
    }

    #[test]
    fn what_is_waited_for_is_said_of_each_name() {
        let waits = |status: &LocalStatus, names: &[&str]| {
            let names: Vec<Name> = names.iter().map(|name| name.parse().expect("a name")).collect();
            match decide(status, &names, Stage::Served, NOW) {
                Verdict::Wait(why) => why,
                other => panic!("{other:?}"),
            }
        };
        let all = ["docker", "web"];
        assert_eq!(
            waits(&status(vec![at(Stage::Issued, None)]), &all),
            "docker: issued; web: the manifest does not place it in this guest yet"
        );
        assert_eq!(
            waits(&status(vec![at(Stage::Installed, Some(Halt::Waiting))]), &["docker"]),
            "docker: installed: waiting: try: cause"
        );
        let mut unlinked = status(Vec::new());
        unlinked.link.linked = false;
        assert_eq!(waits(&unlinked, &["web"]), "web: not here yet, and no link to the controller: dialling");
        unlinked.link.error = Some("refused".into());
        assert_eq!(waits(&unlinked, &["web"]), "web: not here yet, and no link to the controller: refused");
    }

    #[test]
    fn one_that_needs_a_person_is_told_though_others_only_wait() {
        let blocked =
            LocalPlacement { certificate: "web".parse().expect("a name"), ..at(Stage::Pending, Some(Halt::Blocked)) };
        let names: Vec<Name> = ["docker", "web"].iter().map(|name| name.parse().expect("a name")).collect();
        let verdict = decide(&status(vec![at(Stage::Pending, None), blocked]), &names, Stage::Installed, NOW);
        assert_eq!(verdict, Verdict::Blocked("web: blocked: try: cause".into()));
    }

    #[test]
    fn what_is_retired_is_not_here() {
        let mut retired = at(Stage::Served, None);
        retired.retired = true;
        assert!(matches!(
            decide(&status(vec![retired.clone()]), &asked("docker"), Stage::Issued, NOW),
            Verdict::Wait(_)
        ));
        assert_eq!(at_the_deadline(Some(&status(vec![retired])), &asked("docker"), Stage::Issued).0, Exit::NoSuchName);
    }

    #[test]
    fn what_is_issued_alone_is_not_installed() {
        // A placement whose files are removed has a stage, and nothing at it.
        let mut empty = at(Stage::Installed, None);
        empty.serial = None;
        let decided = |until| decide(&status(vec![empty.clone()]), &asked("docker"), until, NOW);
        assert!(matches!(decided(Stage::Installed), Verdict::Wait(_)));
        assert_eq!(decided(Stage::Issued), Verdict::Done);
        // Where there is nothing to look at, `installed` is asked for all the same.
        let mut without = at(Stage::Issued, None);
        without.goal = Stage::Issued;
        assert!(matches!(decide(&status(vec![without]), &asked("docker"), Stage::Served, NOW), Verdict::Wait(_)));
    }

    #[test]
    fn without_an_answer_the_daemon_cannot_be_reached() {
        assert_eq!(at_the_deadline(None, &asked("docker"), Stage::Issued).0, Exit::Unreachable);
    }

    #[test]
    fn the_last_lines_say_how_it_ended() {
        let here = status(vec![at(Stage::Served, None)]);
        let names = asked("docker@1001");
        let lines = |exit, why: &str| last_lines(exit, why, Some(&here), &names);
        assert_eq!(lines(Exit::Reached, ""), ["docker: served (serial 01)"]);
        assert_eq!(lines(Exit::TimedOut, "docker: issued"), ["timed out, the agent keeps trying: docker: issued"]);
        assert_eq!(lines(Exit::Blocked, "docker: x"), ["blocked, needs a person: docker: x"]);
        assert_eq!(lines(Exit::NoSuchName, "no certificate"), ["pinion-agent: no certificate"]);
        let document = document(Exit::Reached, "", Some(&here), &names);
        assert_eq!((&document["exit"], &document["why"]), (&0.into(), &"".into()));
        assert_eq!(document["placements"][0]["serial"], "01");
        let nothing = super::document(Exit::Unreachable, "gone", None, &names);
        assert_eq!((nothing["exit"].as_u64(), nothing["placements"].as_array().map(Vec::len)), (Some(5), Some(0)));
    }

    #[test]
    fn all_names_are_names_or_none_is_taken() {
        assert_eq!(names(&["docker".into(), "web@1001".into()]).expect("names").len(), 2);
        names(&["docker".into(), "../web".into()]).expect_err("one is none");
    }
}
