//! Join tokens that are not right: one answer for all of them, and the reason for the operator alone.

use std::{sync::Arc, time::Duration};

use pinion_controller::{config::Config, events::Kind, serve::Controller};
use pinion_proto::{clock::Timestamp, token::JoinToken, wire::pb};
use pinion_tests::{
    clock::ManualClock,
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    journal,
};
use tonic::Code;

use super::rogue_agent::{ask_to_join, join_request};

fn token(host: &Host, guest: &str) -> JoinToken {
    JoinToken::parse(&host.token(guest).expect("a token")).expect("a token")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_token_gets_the_same_answer_and_the_operator_the_reason() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let (spent, live, other) = (token(&host, "101"), token(&host, "102"), token(&host, "103"));
    ask_to_join(&spent, join_request(&spent)).await.0.expect("the first use is good");
    let request = |change: &dyn Fn(&mut pb::JoinRequest)| {
        let mut request = join_request(&live);
        change(&mut request);
        request
    };
    let wrong = [
        (join_request(&spent), "guest 101 has no valid join token"),
        (
            request(&|r| r.secret = other.secret.0.to_vec()),
            "the join token that was used for guest 102 is not its valid one",
        ),
        (request(&|r| r.guest = "103".into()), "the join token that was used for guest 103 is not its valid one"),
        (request(&|r| r.secret[31] ^= 1), "the join token that was used for guest 102 is not its valid one"),
        (request(&|r| r.guest = "999".into()), "guest 999 has no valid join token"),
        (request(&|r| r.secret.truncate(31)), "31 bytes instead of 32"),
        (request(&|r| r.secret.clear()), "0 bytes instead of 32"),
        (request(&|r| r.guest = "../../etc/passwd\n".into()), "is not a guest"),
        (pb::JoinRequest::default(), "0 bytes instead of 32"),
    ];
    let mut answers = Vec::new();
    for (request, reason) in wrong {
        let (answer, took) = ask_to_join(&live, request).await;
        let status = answer.expect_err(reason);
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        assert!(took >= Duration::from_millis(200), "{reason}: told after {took:?}");
        answers.push((status.message().to_owned(), status.details().to_vec(), status.metadata().len()));
        let event = journal::wait_event(&host, Kind::Refused, &[reason]).expect("the operator is told");
        assert!(event.text.contains("join from 127.0.0.1:"), "{event:?}");
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]), "the callers learn the same: {answers:?}");
    // None of it has spent the token that is right.
    let (answer, _) = ask_to_join(&live, join_request(&live)).await;
    assert_eq!(answer.expect("still good").identity_generation, 1);
}

#[test]
fn an_agent_says_what_may_be_wrong_and_no_more() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::prepare("101", &GuestOptions::default()).expect("a guest");
    let text = host.token("101").expect("a token");
    guest.join_with(&text).expect("it runs").succeeded().expect("joined");
    let again = guest.join_with(&text).expect("it runs");
    assert!(
        again.code() != 0 && again.stderr.contains("a token works once, within ten minutes, for one guest"),
        "{again}"
    );
    for cut in [&text[..text.len() / 2], "hunter2", ""] {
        let refused = guest.join_with(cut).expect("it runs");
        assert!(refused.code() == 2 && !refused.stderr.contains("hunter2"), "{refused}");
    }
    let log = host.log_tail();
    let secret = &text[text.len() / 2..];
    assert!(!log.contains(secret) && !log.contains(&secret[..40]), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_too_old_after_ten_minutes_and_not_before() {
    let host = Host::prepare(&HostOptions::default()).expect("a host's files");
    let clock = Arc::new(ManualClock::at(Timestamp::from_unix(1_900_000_000)));
    let config = Config::load(host.root()).expect("its configuration");
    let controller = Controller::start(config, clock.clone()).await.expect("a controller");
    let (first, second) = (token(&host, "101"), token(&host, "102"));
    let request = |token: &JoinToken| join_request(token);
    clock.advance(Duration::from_secs(599));
    super::bad_identities::ask_at(&clock, &first, request(&first)).await.expect("in the last second");
    clock.advance(Duration::from_secs(1));
    let status = super::bad_identities::ask_at(&clock, &second, request(&second)).await.expect_err("too late");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    let event = journal::wait_event(&host, Kind::Refused, &["the join token of guest 102 expired at"]);
    event.expect("the operator is told");
    controller.stop().await;
}
