//! Which facts are which alarms, and from when on.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(1_800_000_000 + seconds)
}

const PATIENCE: Patience =
    Patience { silent_after: Duration::from_secs(900), issuer_down_after: Duration::from_secs(3600) };

fn trouble(halt: Halt) -> Trouble {
    Trouble { halt, attempt: "sign it".into(), cause: "refused".into(), remedy: "see to it".into(), retry_at: None }
}

fn placement(validity: Option<Validity>, halt: Option<Halt>) -> PlacementFacts {
    PlacementFacts {
        label: "web@101".into(),
        trouble: halt.map(trouble),
        validity,
        renew_at: Some(at(0)),
        not_after: Some(at(900)),
    }
}

/// Which alarms there are at a moment, as `web@101 blocked`, and when that changes.
fn look(facts: &Facts, now: i64) -> (Vec<String>, Option<Timestamp>) {
    let (alarms, next) = alarms(facts, PATIENCE, at(now));
    (alarms.firing().map(|(_, alarm)| format!("{} {}", alarm.subject, alarm.kind.words())).collect(), next)
}

#[test]
fn of_a_placement_is_told_what_needs_somebody() {
    use Halt::{Blocked, Waiting};
    use Validity::{Expired, Expiring, Ok};
    let late = at(600);
    for (validity, halt, now, expected, next) in [
        (None, None, 0, vec![], None),
        (Some(Ok), None, 0, vec![], None),
        (Some(Ok), Some(Waiting), 0, vec![], None),
        (None, Some(Waiting), 0, vec![], None),
        (None, Some(Blocked), 0, vec!["web@101 blocked"], None),
        (Some(Ok), Some(Blocked), 0, vec!["web@101 blocked"], None),
        (Some(Expiring), Some(Waiting), 599, vec!["web@101 expiring"], Some(late)),
        (Some(Expiring), Some(Waiting), 600, vec!["web@101 renewal late"], Some(at(901))),
        (Some(Expiring), Some(Blocked), 600, vec!["web@101 renewal late", "web@101 blocked"], Some(at(901))),
        (Some(Expired), Some(Blocked), 901, vec!["web@101 expired", "web@101 blocked"], None),
        (Some(Expired), None, 901, vec!["web@101 expired"], None),
    ] {
        let facts = Facts { placements: vec![placement(validity, halt)], ..Facts::default() };
        let expected: Vec<_> = expected.into_iter().map(ToOwned::to_owned).collect();
        assert_eq!(look(&facts, now), (expected, next), "{validity:?} {halt:?} at {now}");
    }
}

#[test]
fn silence_is_told_after_a_while_and_is_not_over_before() {
    let guest = SilentGuest { subject: "guest 101".into(), since: at(0), due: vec!["web@101".into()] };
    let facts = Facts { silent: vec![guest], ..Facts::default() };
    assert_eq!(look(&facts, 899), (vec![], Some(at(900))));
    assert_eq!(look(&facts, 900), (vec!["guest 101 silent".to_owned()], None));
    let (early, _) = alarms(&facts, PATIENCE, at(1));
    assert!(!early.is_over(&AlarmId { topic: Topic::Silent, subject: "guest 101".into() }));
}

#[test]
fn a_placement_that_nobody_hears_of_is_neither_wrong_nor_well() {
    let facts = Facts { unheard: vec!["web@101".into()], ..Facts::default() };
    let (alarms, _) = alarms(&facts, PATIENCE, at(0));
    let over = |topic, subject: &str| alarms.is_over(&AlarmId { topic, subject: subject.into() });
    assert_eq!(alarms.firing().count(), 0);
    assert!(!over(Topic::Blocked, "web@101") && !over(Topic::Expiry, "web@101") && over(Topic::Blocked, "db@102"));
}

#[test]
fn an_issuer_is_told_after_an_hour_and_is_up_only_when_it_has_answered() {
    let id = AlarmId { topic: Topic::Issuer, subject: "ca".into() };
    for (state, now, told, over, next) in [
        (IssuerState::Up, 0, false, true, None),
        (IssuerState::Unknown, 9999, false, false, None),
        (IssuerState::Down(at(0), "refused".into()), 3599, false, false, Some(at(3600))),
        (IssuerState::Down(at(0), "refused".into()), 3600, true, false, None),
    ] {
        let issuer = IssuerFacts { name: "ca".into(), state: state.clone() };
        let facts = Facts { issuers: vec![issuer], ..Facts::default() };
        let (alarms, wake) = alarms(&facts, PATIENCE, at(now));
        assert_eq!((alarms.get(&id).is_some(), alarms.is_over(&id), wake), (told, over, next), "{state:?} at {now}");
    }
}

#[test]
fn the_host_and_its_manifest_are_told_where_they_need_a_person() {
    let facts = Facts {
        host: vec![trouble(Halt::Waiting), trouble(Halt::Blocked)],
        manifest: Some("\n certificate-manifest.json:3:1: broken\nmore".into()),
        ..Facts::default()
    };
    assert_eq!(look(&facts, 0).0, ["host: sign it blocked", "manifest blocked"]);
    let (alarms, _) = alarms(&facts, PATIENCE, at(0));
    let manifest = alarms.firing().find(|(id, _)| id.subject == "manifest").expect("told").1;
    assert!(manifest.text.ends_with("certificate-manifest.json:3:1: broken"), "{}", manifest.text);
}

#[test]
fn foreign_words_are_one_line_and_not_long() {
    let mut facts = placement(None, Some(Halt::Blocked));
    let cause = format!("a\u{1b}[2J\r\nBcc: x {}", "long ".repeat(1000));
    facts.trouble = Some(Trouble { cause, ..trouble(Halt::Blocked) });
    let (alarms, _) = alarms(&Facts { placements: vec![facts], ..Facts::default() }, PATIENCE, at(0));
    let text = &alarms.firing().next().expect("told").1.text;
    assert!(!text.contains(['\n', '\r', '\u{1b}']) && text.chars().count() <= MAX_TEXT + 1, "{text}");
}
