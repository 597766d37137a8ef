//! What a status means for a command that waits, and what the command prints at the end.

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
            manifest_problem: None,
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
        renewing: false,
        looked: Some(true),
    }
}

fn wanted(names: &[Name], until: Stage) -> Wanted<'_> {
    Wanted { names, until, hostname: "services", now: NOW, fresh: true }
}

fn asked(text: &str) -> Vec<Name> {
    vec![text.parse().expect("a name")]
}

#[test]
fn verdicts_follow_stage_and_trouble() {
    let docker = asked("docker");
    let decided = |stage, halt, until| decide(&status(vec![at(stage, halt)]), &wanted(&docker, until));
    assert_eq!(decided(Stage::Installed, None, Stage::Installed), Verdict::Done);
    assert_eq!(decided(Stage::Issued, Some(Halt::Waiting), Stage::Issued), Verdict::Done);
    assert!(matches!(decided(Stage::Installed, None, Stage::Served), Verdict::Wait(_)));
    assert!(matches!(decided(Stage::Pending, Some(Halt::Blocked), Stage::Installed), Verdict::Blocked(_)));
    assert!(matches!(decided(Stage::Pending, Some(Halt::Waiting), Stage::Installed), Verdict::Wait(_)));
    for elsewhere in ["docker@1002", "docker@web"] {
        let verdict = decide(&status(vec![]), &wanted(&asked(elsewhere), Stage::Issued));
        assert!(matches!(verdict, Verdict::Elsewhere(_)), "{elsewhere}: {verdict:?}");
    }
    let served = status(vec![at(Stage::Served, None)]);
    assert_eq!(decide(&served, &wanted(&asked("docker@services"), Stage::Served)), Verdict::Done);
}

#[test]
fn a_renewal_that_needs_a_person_is_not_there_and_one_that_waits_leaves_what_is() {
    let decided = |stage, halt, renewing, until| {
        let found = LocalPlacement { renewing, ..at(stage, Some(halt)) };
        match decide(&status(vec![found]), &wanted(&asked("docker"), until)) {
            Verdict::Done => 0,
            Verdict::Wait(_) => 3,
            Verdict::Blocked(_) => 4,
            Verdict::Elsewhere(_) => 6,
            Verdict::NotInForce(_) => 2,
        }
    };
    for (what, stage, halt, renewing, until, expected) in [
        ("its renewal is refused", Stage::Served, Halt::Blocked, true, Stage::Served, 4),
        ("also for less", Stage::Served, Halt::Blocked, true, Stage::Installed, 4),
        ("its renewal waits for the CA", Stage::Served, Halt::Waiting, true, Stage::Served, 0),
        ("its files cannot be put right", Stage::Served, Halt::Waiting, false, Stage::Installed, 3),
        ("a person must put them right", Stage::Served, Halt::Blocked, false, Stage::Installed, 4),
        ("the service comes later", Stage::Installed, Halt::Waiting, false, Stage::Installed, 0),
        ("the service refuses it", Stage::Installed, Halt::Blocked, false, Stage::Installed, 0),
        ("and that is waited for", Stage::Installed, Halt::Blocked, false, Stage::Reloaded, 4),
    ] {
        assert_eq!(decided(stage, halt, renewing, until), expected, "{what}");
    }
}

#[test]
fn nothing_is_believed_that_is_older_than_the_question() {
    let decided = |looked, fresh, stage, halt| {
        let found = LocalPlacement { looked, ..at(stage, halt) };
        let names = asked("docker");
        decide(&status(vec![found]), &Wanted { fresh, ..wanted(&names, Stage::Served) })
    };
    for fresh in [false, true] {
        let verdict = decided(Some(false), fresh, Stage::Served, None);
        assert!(matches!(&verdict, Verdict::Wait(why) if why.ends_with("being looked at")), "{verdict:?}");
        assert!(matches!(decided(Some(false), fresh, Stage::Pending, Some(Halt::Blocked)), Verdict::Wait(_)));
        assert_eq!(decided(Some(true), fresh, Stage::Served, None), Verdict::Done);
        assert!(matches!(decided(Some(true), fresh, Stage::Pending, Some(Halt::Blocked)), Verdict::Blocked(_)));
        // A daemon of before: its old troubles have some seconds to go.
        let blocked = decided(None, fresh, Stage::Pending, Some(Halt::Blocked));
        assert_eq!(matches!(blocked, Verdict::Blocked(_)), fresh, "{blocked:?}");
    }
}

#[test]
fn what_has_expired_is_not_there() {
    let until_now = |not_after| {
        let waits = LocalPlacement { renewing: true, ..at(Stage::Served, Some(Halt::Waiting)) };
        let found = LocalPlacement { not_after: Some(not_after), ..waits };
        decide(&status(vec![found]), &wanted(&asked("docker"), Stage::Served))
    };
    assert_eq!(until_now(NOW), Verdict::Done, "its last second");
    let verdict = until_now(Timestamp::from_unix(1_799_999_999));
    assert!(matches!(&verdict, Verdict::Wait(why) if why.contains("expired") && why.contains("cause")), "{verdict:?}");
}

#[test]
fn an_end_without_probe_is_an_end() {
    let mut done = at(Stage::Reloaded, None);
    done.goal = Stage::Reloaded;
    assert_eq!(decide(&status(vec![done]), &wanted(&asked("docker"), Stage::Served)), Verdict::Done);
}

#[test]
fn the_deadline_tells_unknown_names_from_late_ones() {
    let exit = |status: &LocalStatus, name: &str| at_the_deadline(Some(status), &wanted(&asked(name), Stage::Served)).0;
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
        match decide(status, &wanted(&names, Stage::Served)) {
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
    let verdict = decide(&status(vec![at(Stage::Pending, None), blocked]), &wanted(&names, Stage::Installed));
    assert_eq!(verdict, Verdict::Blocked("web: blocked: try: cause".into()));
}

#[test]
fn what_is_retired_is_not_here() {
    let mut retired = at(Stage::Served, None);
    retired.retired = true;
    assert!(matches!(
        decide(&status(vec![retired.clone()]), &wanted(&asked("docker"), Stage::Issued)),
        Verdict::Wait(_)
    ));
    assert_eq!(
        at_the_deadline(Some(&status(vec![retired])), &wanted(&asked("docker"), Stage::Issued)).0,
        Exit::NoSuchName
    );
}

#[test]
fn what_is_issued_alone_is_not_installed() {
    // A placement whose files are removed has a stage, and nothing at it.
    let mut empty = at(Stage::Installed, None);
    empty.serial = None;
    let decided = |until| decide(&status(vec![empty.clone()]), &wanted(&asked("docker"), until));
    assert!(matches!(decided(Stage::Installed), Verdict::Wait(_)));
    assert_eq!(decided(Stage::Issued), Verdict::Done);
    // Where there is nothing to look at, `installed` is asked for all the same.
    let mut without = at(Stage::Issued, None);
    without.goal = Stage::Issued;
    assert!(matches!(decide(&status(vec![without]), &wanted(&asked("docker"), Stage::Served)), Verdict::Wait(_)));
}

#[test]
fn without_an_answer_the_daemon_cannot_be_reached() {
    assert_eq!(at_the_deadline(None, &wanted(&asked("docker"), Stage::Issued)).0, Exit::Unreachable);
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
    let json = |document| serde_json::to_value(document).expect("JSON");
    let document = json(document(Exit::Reached, "", Some(&here), &names));
    assert_eq!((&document["exit"], &document["why"]), (&0.into(), &"".into()));
    assert_eq!(document["placements"][0]["serial"], "01");
    let nothing = json(super::document(Exit::Unreachable, "gone", None, &names));
    assert_eq!((nothing["exit"].as_u64(), nothing["placements"].as_array().map(Vec::len)), (Some(5), Some(0)));
}

#[test]
fn all_names_are_names_or_none_is_taken() {
    assert_eq!(names(&["docker".into(), "web@1001".into()]).expect("names").len(), 2);
    names(&["docker".into(), "../web".into()]).expect_err("one is none");
}

#[test]
fn nothing_ends_well_while_the_manifest_on_the_host_is_broken() {
    let (docker, both) = (asked("docker"), vec![asked("docker").remove(0), asked("other").remove(0)]);
    let broken = |placements, informed| {
        let mut status = status(placements);
        status.link.manifest_problem = Some("certificate-manifest.json:3:1: it is broken".into());
        status.link.informed = informed;
        status
    };
    let ends = |status: &LocalStatus, names: &[Name]| match decide(status, &wanted(names, Stage::Installed)) {
        Verdict::NotInForce(why) => why.contains("it is broken") && why.contains("pinion manifest check"),
        _ => false,
    };
    let (served, blocked) = (at(Stage::Served, None), at(Stage::Pending, Some(Halt::Blocked)));
    for (what, placements, informed, names, expected) in [
        ("it is there", vec![served.clone()], true, &docker, true),
        ("it needs a person", vec![blocked], true, &docker, true),
        ("it is under way", vec![at(Stage::Pending, None)], true, &docker, false),
        ("one is not placed here", vec![at(Stage::Pending, None)], true, &both, true),
        ("what is placed here is not said yet", vec![], false, &docker, false),
    ] {
        assert_eq!(ends(&broken(placements, informed), names), expected, "{what}");
    }
    let mut gone = broken(vec![served], true);
    gone.link.linked = false;
    assert_eq!(decide(&gone, &wanted(&docker, Stage::Installed)), Verdict::Done, "who is not linked does not know");
    let late = at_the_deadline(Some(&broken(vec![], true)), &wanted(&docker, Stage::Installed));
    assert_eq!(late.0, Exit::Usage);
}
