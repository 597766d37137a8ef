//! What a link brings about: who is let in, what is recorded, and what an old session may still say.

use pinion_proto::{message::Purged, report::GuestFacts};
use tokio::sync::mpsc;

use super::*;
use crate::{
    link::Turned,
    reconcile::{
        effects::Effect,
        testing::{WEB, at, guest, holds, id, leaf, nothing, parts, resources, world},
    },
};

struct Fixture {
    world: World,
    sessions: Sessions,
    parts: Parts,
    resources: Resources,
    _directory: tempfile::TempDir,
    queues: Vec<mpsc::Receiver<Box<pinion_proto::message::ToAgent>>>,
}

impl Fixture {
    fn new() -> Self {
        let (directory, resources) = resources(crate::issuer::Issuers::of([]));
        let sessions = Sessions::default();
        Self { world: world(WEB), sessions, parts: parts(), resources, _directory: directory, queues: Vec::new() }
    }

    fn take(&mut self, input: LinkInput) -> Effects {
        let mut effects = Effects::at(at(0));
        let Self { world, sessions, parts, resources, .. } = self;
        Intake { world, sessions, parts, resources, effects: &mut effects }.take(input);
        effects
    }

    /// Guest 101 says hello on a session, as its link of this number, and holds this.
    fn hello(&mut self, session: u64, link_count: u64, reports: Vec<PlacementReport>) -> Effects {
        let (outbound, queue) = mpsc::channel(8);
        self.queues.push(queue);
        let facts = GuestFacts::default();
        let hello = Hello { facts, identity_generation: 1, link_count, reports, roots: Vec::new() };
        self.take(LinkInput::Up { guest: guest("101"), session: SessionId::number(session), hello, outbound })
    }

    fn says(&mut self, session: u64, message: ToController) -> Effects {
        self.take(LinkInput::Message { guest: guest("101"), session: SessionId::number(session), message })
    }
}

#[test]
fn a_hello_is_what_the_guest_holds() {
    let mut fixture = Fixture::new();
    let effects = fixture.hello(1, 1, vec![holds(1, leaf(1, at(0)))]);
    assert_eq!(effects.texts(), ["Guest 101 is linked", "web@101 is served"]);
    assert!(fixture.world.is_linked(guest("101")) && fixture.world.report(&id("web@101")).is_some());
    let effects = fixture.hello(2, 2, Vec::new());
    assert_eq!(effects.texts(), ["Guest 101 is linked"]);
    assert!(fixture.world.report(&id("web@101")).is_none(), "what it does not name, it does not hold");
}

#[test]
fn an_old_session_says_nothing_any_more() {
    let mut fixture = Fixture::new();
    fixture.hello(2, 1, Vec::new());
    let report = || ToController::Report(Box::new(holds(1, leaf(1, at(0)))));
    let down = |session| LinkInput::Down { guest: guest("101"), session: SessionId::number(session), why: "x".into() };
    assert!(fixture.hello(1, 2, Vec::new()).is_empty(), "a hello that was overtaken");
    assert!(fixture.says(1, report()).is_empty(), "a report");
    assert!(fixture.take(down(1)).is_empty(), "its end");
    assert_eq!(fixture.says(2, report()).texts(), ["web@101 is served"]);
    assert_eq!(fixture.take(down(2)).texts(), ["Guest 101 is no longer linked: x"]);
    assert!(fixture.says(2, report()).is_empty(), "after its end");
}

#[test]
fn who_was_evicted_or_taken_back_is_not_let_in() {
    let evicted = r#"{"guests": [{"guest": "101", "since": "2027-01-15T08:00:00Z", "by": {"uid": 0, "name": "root"},
        "compromised": false}]}"#;
    for (what, is_evicted, link_counts, text) in [
        ("as any other", false, &[1, 2][..], "Guest 101 is linked"),
        ("evicted", true, &[1], "Guest 101 linked although it is evicted"),
        ("a link that it had begun before", false, &[5, 5], "Guest 101 is locked"),
    ] {
        let mut fixture = Fixture::new();
        if is_evicted {
            fixture.parts.evictions = serde_json::from_str(evicted).expect("evictions");
        }
        let mut last = None;
        for (session, count) in (1..).zip(link_counts) {
            last = Some(fixture.hello(session, *count, Vec::new()));
        }
        let last = last.expect("a hello");
        assert!(last.texts()[0].starts_with(text), "{what}: {:?}", last.texts());
        let ended = last.count(|effect| matches!(effect, Effect::EndSession(_) | Effect::Forget(_))) > 0;
        assert_eq!(ended, text != "Guest 101 is linked", "{what}");
    }
}

#[test]
fn what_happens_beside_a_link_is_recorded_as_whose_it_is() {
    let refused = |guest, stranger| LinkInput::Refused { guest, stranger, what: "its token is spent".into() };
    let joined = |renewed| LinkInput::Joined { guest: guest("101"), generation: 2, renewed };
    let turned = LinkInput::TurnedAway { guest: guest("101"), refused: Turned::Nothing };
    let of =
        |effects: &Effects, who| effects.count(|effect| matches!(effect, Effect::LimitedEvent(of, _) if *of == who));
    let cases = [
        ("a guest is refused", refused(Some(guest("101")), false), Some(guest("101")), 1),
        ("a stranger is refused", refused(None, true), None, 1),
        ("a stranger claims to be a guest", refused(Some(guest("101")), true), None, 1),
        ("a guest joins", joined(false), Some(guest("101")), 1),
        ("a guest renews its identity", joined(true), Some(guest("101")), 1),
        ("a guest is turned away", turned, None, 0),
    ];
    for (what, input, who, expected) in cases {
        let effects = Fixture::new().take(input);
        assert_eq!((of(&effects, who), effects.texts().len()), (expected, expected), "{what}");
    }
}

#[test]
fn who_joins_anew_begins_anew() {
    let mut fixture = Fixture::new();
    fixture.hello(1, 7, Vec::new());
    let effects = fixture.take(LinkInput::Joined { guest: guest("101"), generation: 2, renewed: false });
    assert_eq!(effects.count(|effect| matches!(effect, Effect::EndSession(_))), 1, "its earlier link ends");
    assert_eq!(fixture.hello(2, 1, Vec::new()).texts(), ["Guest 101 is linked"], "its counts begin anew");
}

#[test]
fn a_guest_that_has_removed_files_holds_them_no_more() {
    let certificate = || id("old@101").certificate;
    for (what, left, text) in [
        ("all of them", Vec::new(), "The files of old@101 are removed"),
        (
            "not all",
            vec!["/etc/a.pem"],
            "The files of old@101 are removed, except those that somebody changed after Pinion wrote them: ",
        ),
    ] {
        let mut fixture = Fixture::new();
        fixture.hello(1, 1, vec![nothing("old")]);
        let left = left.into_iter().map(|path| path.parse().expect("a path")).collect();
        let effects = fixture.says(1, ToController::Purged(Purged { left, ..Purged::all(certificate()) }));
        assert!(effects.texts()[0].starts_with(text), "{what}: {:?}", effects.texts());
        assert!(fixture.world.report(&id("old@101")).is_none(), "{what}");
    }
}
