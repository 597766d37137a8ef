//! Who may call, and with what.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
};

use pinion_proto::id::Vmid;
use rustix::process::geteuid;

use super::hypervisor::{Hypervisor, token};
use crate::{
    channel::protocol::{Cause, ChannelAnswer, Failure, Target},
    inventory::GuestKind::{Lxc, Qemu},
};

/// Sends these bytes and returns the answer.
async fn say(hypervisor: &Hypervisor, bytes: Vec<u8>) -> Failure {
    let path = hypervisor.root().join("run/pinion-channel/channel.sock");
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(path).expect("connected");
        // What is too long is not read to its end; the answer is there all the same.
        drop(stream.write_all(&bytes));
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).expect("an answer");
        answer
    });
    let answer = answer.await.expect("it does not panic");
    match serde_json::from_str(&answer).expect("an answer") {
        ChannelAnswer::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_call_is_refused_and_starts_nothing() {
    let hypervisor = Hypervisor::new();
    hypervisor.add(101, Lxc, "x86_64\n");
    let oversized =
        format!("{{\"join\":{{\"guest\":{{\"vmid\":101,\"kind\":\"lxc\"}},\"token\":\"{}\"}}}}\n", "x".repeat(40_000));
    for bytes in [
        "{\"run\":{\"guest\":{\"vmid\":101,\"kind\":\"lxc\"}}}\n",
        "{\"look\":{\"guest\":{\"vmid\":\"101 --keep-env\",\"kind\":\"lxc\"}}}\n",
        "{\"look\":{\"guest\":{\"vmid\":99,\"kind\":\"lxc\"}}}\n",
        "{\"install\":{\"guest\":{\"vmid\":101,\"kind\":\"lxc\"},\"path\":\"/etc/shadow\"}}\n",
        "\u{0}\u{1}\u{2}\n",
        "hunter2 hunter2\n",
        &oversized,
    ] {
        let failure = say(&hypervisor, bytes.as_bytes().to_vec()).await;
        assert_eq!(failure.cause, Cause::Refused, "{bytes}");
        assert!(!failure.text.contains("hunter2"), "{failure}");
    }
    assert_eq!(hypervisor.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn a_token_goes_only_where_it_belongs() {
    let hypervisor = Hypervisor::new();
    for (number, kind) in [(101, Lxc), (1001, Qemu)] {
        let guest = hypervisor.add(number, kind, "x86_64\n");
        let failure = hypervisor.client.join(guest, token(102)).await.expect_err("it is another's");
        assert!(
            failure.cause == Cause::Refused && failure.text.contains("the token is for guest 102, not"),
            "{failure}"
        );
        let host = pinion_proto::token::JoinToken {
            guest: pinion_proto::id::Guest::Host,
            ..pinion_proto::token::JoinToken::parse(token(101).reveal()).expect("a token")
        };
        let host = crate::channel::protocol::Secret::new(host.to_text().expect("text"));
        hypervisor.client.join(guest, host).await.expect_err("it is the host's");
        let nonsense = crate::channel::protocol::Secret::new(zeroize::Zeroizing::new("; reboot".to_owned()));
        hypervisor.client.join(guest, nonsense).await.expect_err("it is no token");
    }
    assert_eq!(hypervisor.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn another_user_is_refused() {
    let me = geteuid().as_raw();
    // Root is always answered; whether the rule is there is then seen in the suite that can become another user.
    let hypervisor = Hypervisor::with(None, me + 1);
    let guest = Target { vmid: Vmid::try_from(101).expect("a VMID"), kind: Lxc };
    let failure = hypervisor.client.look(guest).await.expect_err("there is no such guest, and this may not ask");
    // Nobody has listed the guests: where it is is not known.
    let expected = if me == 0 { Cause::Locked } else { Cause::Refused };
    assert_eq!(failure.cause, expected, "{failure}");
}

#[tokio::test]
async fn a_helper_that_is_away_is_told() {
    let client = crate::channel::client::Client::new(std::path::Path::new("/nonexistent/channel.sock"));
    let failure = client.guests(None).await.expect_err("nobody is there");
    assert_eq!(failure.cause, Cause::ToolMissing);
    assert!(failure.text.contains("there is no socket /nonexistent/channel.sock"), "{failure}");
}
