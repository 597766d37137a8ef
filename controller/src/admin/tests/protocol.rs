//! The questions, their words, and who may ask them; a command line and a daemon of two versions understand each other.

use pinion_proto::{
    clock::Timestamp,
    examination::Subject,
    message::PurgeManner,
    stage::{Halt, Stage, Trouble},
};
use serde_json::json;
use tokio::{
    io::{AsyncWriteExt, BufReader, duplex},
    time::Duration,
};

use crate::admin::{
    callers::{MAX_QUESTION, question},
    protocol::{
        Answer, Ask, AskEvents, AskExamine, AskFreeze, AskShow, Ensure, EnsureProgress, ProgressLine, Selection,
    },
    purge::AskPurge,
};

fn selection() -> Selection {
    Selection { names: vec!["docker".into()], guest: Some("101".into()), more_guests: Vec::new() }
}

/// Every question, as it is written, and the command that it is a change by.
fn questions() -> Vec<(Ask, serde_json::Value, Option<&'static str>)> {
    let selected = json!({ "names": ["docker"], "guest": "101" });
    let ensure = Ensure { selection: selection(), renew: true, now: false, until: Stage::Served, wait: false };
    let freeze = AskFreeze { selection: selection(), until: Some(Timestamp::from_unix(0)), lift: false };
    let moment = serde_json::to_value(Timestamp::from_unix(0)).expect("JSON");
    vec![
        (Ask::Status(selection()), json!({ "status": selected }), None),
        (Ask::Plan, json!("plan"), None),
        (Ask::PlanOf("{}".into()), json!({ "plan-of": "{}" }), None),
        (Ask::Guests, json!("guests"), None),
        (Ask::Issuers, json!("issuers"), None),
        (
            Ask::Events(AskEvents { follow: true, last: 5, ..AskEvents::default() }),
            json!({ "events": { "follow": true, "last": 5 } }),
            None,
        ),
        (
            Ask::Show(AskShow { name: "docker".into(), from: 20, count: 5 }),
            json!({ "show": { "name": "docker", "from": 20, "count": 5 } }),
            None,
        ),
        (
            Ask::Ensure(ensure),
            json!({ "ensure": { "selection": selected, "renew": true, "now": false, "until": "served" } }),
            Some("pinion ensure"),
        ),
        (Ask::Token("101".into()), json!({ "token": "101" }), Some("pinion token create")),
        (Ask::Enroll("101".into()), json!({ "enroll": "101" }), Some("pinion guest enroll")),
        (Ask::Wake("101".into()), json!({ "wake": "101" }), Some("pinion guest wake")),
        (Ask::AcceptName("web".into()), json!({ "accept-name": "web" }), Some("pinion guest accept-name")),
        (Ask::Unlock("101".into()), json!({ "unlock": "101" }), Some("pinion guest unlock")),
        (Ask::Forget("101".into()), json!({ "forget": "101" }), Some("pinion guest forget")),
        (Ask::Acknowledge("101".into()), json!({ "acknowledge": "101" }), Some("pinion guest forget")),
        (
            Ask::Evict { guest: "101".into(), compromised: true },
            json!({ "evict": { "guest": "101", "compromised": true } }),
            Some("pinion guest evict"),
        ),
        (
            Ask::Purge(AskPurge { names: vec!["docker".into()], manner: PurgeManner::default() }),
            json!({ "purge": { "names": ["docker"], "manner": { "restore": false, "force": false } } }),
            Some("pinion purge"),
        ),
        (
            Ask::Freeze(freeze),
            json!({ "freeze": { "selection": selected, "until": moment, "lift": false } }),
            Some("pinion freeze"),
        ),
        (
            Ask::Examine(AskExamine { guests: vec!["101".into()], subject: Subject::Discover }),
            json!({ "examine": { "guests": ["101"], "subject": "discover" } }),
            Some("pinion discover"),
        ),
        (
            Ask::Examine(AskExamine { guests: Vec::new(), subject: Subject::Doctor }),
            json!({ "examine": { "guests": [], "subject": "doctor" } }),
            None,
        ),
    ]
}

#[test]
fn every_question_is_written_and_read_in_words_that_stay() {
    for (ask, written, _) in questions() {
        assert_eq!(serde_json::to_value(&ask).expect("JSON"), written);
        assert_eq!(serde_json::from_value::<Ask>(written).expect("read"), ask);
    }
}

#[test]
fn whatever_does_more_than_look_is_a_change_by_the_command_that_a_person_knows() {
    for (ask, written, command) in questions() {
        assert_eq!(ask.change(), command, "{written}");
    }
}

#[test]
fn a_question_of_an_earlier_command_line_is_understood() {
    for (written, expected) in [
        (json!({ "status": { "names": [] } }), Ask::Status(Selection::default())),
        (
            json!({ "ensure": { "selection": { "names": [] }, "renew": true, "until": "issued" } }),
            Ask::Ensure(Ensure {
                selection: Selection::default(),
                renew: true,
                now: false,
                until: Stage::Issued,
                wait: false,
            }),
        ),
        (
            json!({ "freeze": { "selection": { "names": [] } } }),
            Ask::Freeze(AskFreeze { selection: Selection::default(), until: None, lift: false }),
        ),
        // And one of a later one, as far as this daemon knows it.
        (json!({ "status": { "names": [], "guest": null, "colour": "red" } }), Ask::Status(Selection::default())),
    ] {
        assert_eq!(serde_json::from_value::<Ask>(written).expect("read"), expected);
    }
}

#[test]
fn what_is_no_question_is_refused() {
    for text in ["", "{}", "[]", "\"frobnicate\"", "{\"token\":null}", "{\"token\":\"101\",\"plan\":null}", "\"token\""]
    {
        serde_json::from_str::<Ask>(text).expect_err(text);
    }
}

#[test]
fn answers_are_read_as_they_were_written() {
    let trouble =
        Trouble { halt: Halt::Blocked, attempt: "a".into(), cause: "b".into(), remedy: "c".into(), retry_at: None };
    let line = ProgressLine {
        placement: "docker@101".into(),
        stage: Stage::Issued,
        serial: Some("0A".into()),
        reached: false,
        trouble: Some(trouble.clone()),
        now: "signing".into(),
    };
    for answer in [
        Answer::End,
        Answer::Token("pinion-join-1.x".into()),
        Answer::Step("pushing".into()),
        Answer::Enrolled("linked".into()),
        Answer::NotEnrolled(trouble),
        Answer::Progress(EnsureProgress { placements: vec![line.clone()] }),
        Answer::Ensured(EnsureProgress { placements: vec![line] }),
        Answer::Evicted(vec!["revoked".into()]),
        Answer::NoSuchName("x".into()),
        Answer::Refused("x".into()),
        Answer::Forbidden("x".into()),
        Answer::Failed("x".into()),
    ] {
        let text = serde_json::to_string(&answer).expect("JSON");
        assert_eq!(serde_json::from_str::<Answer>(&text).expect("read"), answer);
    }
}

/// Asks by a line of so many bytes, its end included.
async fn ask_by(bytes: usize) -> std::io::Result<Option<Ask>> {
    let (mut caller, stream) = duplex(256 * 1024);
    let mut line = b"\"plan\"".to_vec();
    line.resize(bytes - 1, b' ');
    line.push(b'\n');
    caller.write_all(&line).await.expect("written");
    question(&mut BufReader::new(stream), MAX_QUESTION, Duration::from_secs(60)).await
}

#[tokio::test]
async fn a_question_of_exactly_the_limit_is_heard_and_one_byte_more_is_not() {
    let limit = usize::try_from(MAX_QUESTION).expect("a length");
    assert_eq!(ask_by(limit).await.expect("heard"), Some(Ask::Plan));
    let error = ask_by(limit + 1).await.expect_err("too long");
    assert!(error.to_string().contains("too long"), "{error}");
}

#[tokio::test]
async fn a_caller_who_says_nothing_or_half_a_question_asks_nothing() {
    for (text, asked) in [("", true), ("\"pl", false), ("\"plan\"", false)] {
        let (mut caller, stream) = duplex(64);
        caller.write_all(text.as_bytes()).await.expect("written");
        drop(caller);
        let question = question(&mut BufReader::new(stream), MAX_QUESTION, Duration::from_secs(60)).await;
        assert_eq!(question.as_ref().is_ok_and(Option::is_none), asked, "{text:?}: {question:?}");
    }
}
