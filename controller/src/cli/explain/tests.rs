//! What a person reads of a placement, in each state that it can be in.

use pinion_proto::{
    clock::Timestamp,
    report::Details,
    stage::{Halt, Stage, Trouble, Validity},
    table::Look,
};
use serde_json::json;

use super::{Explained, document::State, story, words};
use crate::{
    admin::{
        presence::Presence,
        protocol::{GuestStatus, PlacementStatus, Wanted},
    },
    events::{Event, Kind},
};

const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);
const HOUR: i64 = 3600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(NOW.unix() + seconds)
}

pub(super) fn placement() -> PlacementStatus {
    let status = json!({
        "placement": "docker@1001", "certificate": "docker", "guest": "1001", "guest_name": "services", "stage": "served",
        "goal": "served", "validity": "ok", "due": false, "generation": 3, "incoming": null, "serial": "0A", "names": null,
        "not_before": null, "not_after": at(20 * 24 * HOUR), "renew_at": at(10 * 24 * HOUR), "issuer": "step-ca",
        "retired": false, "left_behind": [], "trouble": null, "recipe": "docker"
    });
    let status: PlacementStatus = serde_json::from_value(status).expect("a status");
    let wanted = Wanted {
        names: vec!["docker.example".into(), "10.0.0.5".into()],
        key: Some("ecdsa-p256".into()),
        rotates: true,
        shared: false,
        duration: Some("30d".into()),
        issuer: "step-ca".into(),
        purge: false,
        action: "keep".into(),
        why: "it matches the manifest".into(),
    };
    let details = Details { probes: vec!["127.0.0.1:2376".into()], ..Details::default() };
    PlacementStatus { wanted: Some(Box::new(wanted)), details: Some(Box::new(details)), ..status }
}

fn trouble(halt: Halt, retry_at: Option<Timestamp>) -> Option<Trouble> {
    let (attempt, cause, remedy) = ("reload docker.service", "exit code 1", "see `journalctl -u docker`");
    Some(Trouble { halt, attempt: attempt.into(), cause: cause.into(), remedy: remedy.into(), retry_at })
}

fn guest(linked: bool) -> GuestStatus {
    GuestStatus {
        guest: "1001".parse().expect("a guest"),
        name: Some("services".into()),
        linked,
        since: Some(at(-HOUR)),
        unlisted: 0,
        agent_version: Some("0.1.0".into()),
        presence: Presence::default(),
    }
}

fn event(seconds: i64, kind: Kind) -> Event {
    let event = json!({ "at": at(seconds), "kind": kind, "text": "it happened" });
    serde_json::from_value(event).expect("an event")
}

/// Its state, and all that is said of it at 80 columns.
fn told(status: PlacementStatus, guest: &GuestStatus, events: &[Event]) -> (State, String) {
    let explanation = story::of(status, Some(guest), events, NOW);
    let state = explanation.state;
    let explained = Explained { guest: None, total: 1, notes: Vec::new(), placements: vec![explanation] };
    let text = words(&explained, Look { now: NOW, width: Some(80), is_coloured: false });
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line:?}");
    }
    // As a person reads it, whatever the lines.
    (state, text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn all_is_well_since_it_is_served() {
    let events = [event(-3 * HOUR, Kind::Trouble), event(-2 * HOUR, Kind::Stage), event(-HOUR, Kind::Asked)];
    let (state, text) = told(placement(), &guest(true), &events);
    assert_eq!(state, State::Good);
    for part in [
        &format!("docker@1001 is as it should be since {} (2h ago)", at(-2 * HOUR)),
        "wanted A certificate of step-ca for docker.example, 10.0.0.5, valid for 30d.",
        "in guest 1001 (services), by the recipe docker, with a new ecdsa-p256 key at each renewal.",
        "there is Generation 3 of step-ca, serial 0A, is valid until",
        "Its service serves it at 127.0.0.1:2376.",
        "why It matches the manifest.",
        "next Its renewal is due at",
        "you can Nothing has to be done. `pinion ensure docker@1001 --renew` renews it now.",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn what_is_in_the_way_is_told_since_it_began() {
    let events = [
        event(-9 * HOUR, Kind::Trouble),
        event(-8 * HOUR, Kind::Stage),
        event(-3 * HOUR, Kind::Failed),
        event(-2 * HOUR, Kind::Trouble),
    ];
    let blocked = PlacementStatus { trouble: trouble(Halt::Blocked, Some(at(HOUR))), ..placement() };
    let (state, text) = told(blocked.clone(), &guest(true), &events);
    assert_eq!(state, State::Blocked);
    for part in [
        &format!("docker@1001 is blocked and needs you since {} (3h ago)", at(-3 * HOUR)),
        "why Reload docker.service: exit code 1.",
        "in 60m), but it needs you before that helps.",
        "If nothing changes, it expires at",
        "you can See `journalctl -u docker`. After a change, `pinion ensure docker@1001` tries at once",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    // The validity is worse than what waits, and what needs a person is worse than that.
    let expiring = |halt| PlacementStatus {
        trouble: trouble(halt, None),
        validity: Some(Validity::Expiring),
        renew_at: Some(at(-HOUR)),
        ..placement()
    };
    assert_eq!(told(expiring(Halt::Blocked), &guest(true), &events).0, State::Blocked);
    let (state, text) = told(expiring(Halt::Waiting), &guest(true), &events);
    assert!(state == State::Expiring && text.contains("Its renewal is due since"), "{text}");
    assert!(text.contains("Pinion goes on by itself as soon as that has changed."), "{text}");
}

#[test]
fn what_waits_for_a_guest_that_is_away_waits_since_it_went() {
    let waiting = PlacementStatus { trouble: trouble(Halt::Waiting, None), ..placement() };
    let (state, text) = told(waiting.clone(), &guest(false), &[event(-5 * HOUR, Kind::Stage)]);
    assert_eq!(state, State::Waiting);
    for part in [
        &format!("docker@1001 waits since {} (60m ago)", at(-HOUR)),
        "The guest's agent is away since",
        "`pinion doctor` looks for what keeps the guest away.",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let (_, text) = told(waiting, &guest(true), &[]);
    assert!(text.starts_with("docker@1001 waits wanted"), "nobody knows since when: {text}");
}

#[test]
fn expired_frozen_adopted_and_retired_are_told_apart() {
    let ended = PlacementStatus {
        validity: Some(Validity::Expired),
        not_after: Some(at(-HOUR)),
        trouble: trouble(Halt::Waiting, None),
        ..placement()
    };
    let (state, text) = told(ended, &guest(true), &[]);
    assert!(state == State::Expired && text.contains("was valid until"), "{text}");
    assert!(text.starts_with(&format!("docker@1001 has expired since {}", at(-HOUR))), "{text}");

    let freeze = json!({ "since": at(-HOUR), "until": at(HOUR), "by": { "uid": 0, "name": "root" } });
    let freeze = serde_json::from_value(freeze).expect("a freeze");
    let frozen = PlacementStatus { frozen: Some(freeze), window: Some("closed".into()), ..placement() };
    let (state, text) = told(frozen, &guest(true), &[]);
    assert_eq!(state, State::Frozen);
    assert!(text.contains("root froze everything.") && text.contains("`pinion freeze --lift`"), "{text}");

    let (state, text) = told(PlacementStatus { adopted: true, ..placement() }, &guest(true), &[]);
    assert!(state == State::Good && text.contains("It was there before Pinion, which took it over"), "{text}");

    let retired = PlacementStatus { retired: true, wanted: None, renew_at: None, ..placement() };
    let (state, text) = told(retired, &guest(true), &[event(-HOUR, Kind::Retired)]);
    assert!(state == State::Retired && text.contains("wanted Nothing: the manifest does not name it."), "{text}");
    assert!(text.contains("`pinion purge docker@1001`") && text.contains("(60m ago)"), "{text}");
}

#[test]
fn what_is_on_its_way_is_under_way() {
    let new = PlacementStatus {
        stage: Stage::Issued,
        generation: None,
        serial: None,
        not_after: None,
        renew_at: None,
        validity: None,
        incoming: Some(1),
        due: true,
        ..placement()
    };
    let (state, text) = told(new, &guest(true), &[]);
    assert_eq!(state, State::UnderWay);
    for part in
        ["Nothing is installed yet. Generation 1 is on its way.", "The guest is installing it.", "takes seconds"]
    {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}
