//! Mail servers that answer in every way, and what a mail looks like.

use std::time::{Duration, Instant};

use pinion_proto::stage::Halt;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    time::sleep,
};

use super::*;
use crate::notify::{
    message::Message,
    testing::{LIMIT, files, flood, message, self_signed, server},
};

fn config(server: SocketAddr) -> MailConfig {
    MailConfig {
        to: vec!["root@localhost".parse().expect("an address"), "ops@x.example".parse().expect("an address")],
        from: None,
        server: server.to_string().parse().expect("a server"),
        security: Security::None,
        user: None,
        password_file: None,
        ca_file: None,
        timeout: LIMIT,
    }
}

/// What becomes of a message, in the target's time.
async fn try_it(config: &MailConfig) -> Result<(), SendError> {
    let began = Instant::now();
    let (files, message) = (files(), message());
    let sending = send(config, &files, "pve1", &message);
    let outcome = tokio::time::timeout(config.timeout, sending).await;
    assert!(began.elapsed() < config.timeout * 3, "{:?}", began.elapsed());
    outcome.unwrap_or_else(|_| Err(SendError::too_slow(config.timeout)))
}

/// A server that says these lines, one for each that it hears.
async fn saying(lines: &'static [&'static str]) -> SocketAddr {
    server(move |stream| async move {
        let mut stream = BufReader::new(stream);
        for line in lines {
            if stream.write_all(line.as_bytes()).await.is_err() {
                return;
            }
            let mut heard = String::new();
            drop(stream.read_line(&mut heard).await);
        }
    })
    .await
}

#[tokio::test]
async fn a_refusal_is_told_apart_from_what_passes() {
    for (lines, halt, words) in [
        (&["220 x\r\n", "250 x\r\n", "550 5.7.1 who are you\r\n"][..], Halt::Blocked, "who are you"),
        (&["220 x\r\n", "250 x\r\n", "250 ok\r\n", "550 5.1.1 no such user\r\n"], Halt::Blocked, "no such user"),
        (&["220 x\r\n", "250 x\r\n", "451 4.3.0 later\r\n"], Halt::Waiting, "later"),
        (&["421 busy\r\n"], Halt::Waiting, "busy"),
        (&["HTTP/1.1 400 Bad Request\r\n"], Halt::Waiting, ""),
        (&["220 x\r\n"], Halt::Waiting, ""),
        (&["220 x\r\n", "250 x\r\n"], Halt::Waiting, ""),
        (&[], Halt::Waiting, ""),
    ] {
        let error = try_it(&config(saying(lines).await)).await.expect_err("not taken");
        assert!(error.halt() == halt && error.cause().contains(words), "{lines:?}: {error:?}");
    }
    let nobody = try_it(&config("127.0.0.1:1".parse().expect("an address"))).await.expect_err("refused");
    assert!(nobody.halt() == Halt::Waiting && nobody.cause().contains("refused"), "{nobody:?}");
}

#[tokio::test]
async fn a_server_that_hangs_drips_or_floods_is_left() {
    let hangs = server(|stream| async move {
        sleep(LIMIT * 10).await;
        drop(stream);
    });
    let drips = server(|mut stream| async move {
        while stream.write_all(b"220-x\r\n").await.is_ok() {
            sleep(LIMIT / 20).await;
        }
    });
    for address in [hangs.await, drips.await] {
        let error = try_it(&config(address)).await.expect_err("too slow");
        assert_eq!(error, SendError::too_slow(LIMIT));
    }
    let one_line = server(|mut stream| async move {
        flood(&mut stream, &[b'2'; 65536], 50_000_000).await;
    });
    let many_lines = server(|mut stream| async move {
        flood(&mut stream, &b"220-x\r\n".repeat(1000), 50_000_000).await;
    });
    for address in [one_line.await, many_lines.await] {
        let began = Instant::now();
        let error = try_it(&config(address)).await.expect_err("too much");
        assert!(error.halt() == Halt::Waiting && began.elapsed() < LIMIT * 3, "{error:?} after {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn without_the_encryption_that_is_asked_for_nothing_is_sent() {
    let plain = saying(&["220 x\r\n", "250 x\r\n", "250 ok\r\n", "250 ok\r\n"]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let (pem, acceptor) = self_signed();
    let (other, _) = self_signed();
    let ca_file = directory.path().join("ca.pem");
    let with = |server, security| MailConfig { security, ca_file: Some(ca_file.clone()), ..config(server) };
    std::fs::write(&ca_file, &pem).expect("written");
    let error = try_it(&with(plain, Security::Starttls)).await.expect_err("no STARTTLS");
    assert!(error.halt() == Halt::Blocked && error.cause().contains("STARTTLS"), "{error:?}");
    let error = try_it(&with(plain, Security::Tls)).await.expect_err("no TLS");
    assert_eq!(error.halt(), Halt::Waiting, "{error:?}");

    // A whole server, encrypted from the beginning.
    let tls = server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let mut stream = BufReader::new(stream);
            for line in ["220 x\r\n", "250 x\r\n", "250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
                drop(stream.write_all(line.as_bytes()).await);
                drop(stream.read_line(&mut String::new()).await);
            }
            let mut line = String::new();
            while line != ".\r\n" {
                line.clear();
                if !stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    return;
                }
            }
            drop(stream.write_all(b"250 taken\r\n").await);
        }
    })
    .await;
    let slow = |config: MailConfig| MailConfig { timeout: Duration::from_secs(10), ..config };
    try_it(&slow(with(tls, Security::Tls))).await.expect("taken");
    std::fs::write(&ca_file, &other).expect("written");
    let error = try_it(&slow(with(tls, Security::Tls))).await.expect_err("another root");
    assert!(error.halt() == Halt::Blocked && error.cause().contains("certificate"), "{error:?}");
}

#[test]
fn a_mail_is_plain_and_no_text_becomes_a_header() {
    let server = "127.0.0.1:25".parse().expect("an address");
    let mail = compose(&config(server), "pve1", &message()).expect("a mail");
    let text = String::from_utf8(mail.formatted()).expect("ASCII");
    let (head, _) = text.split_once("\r\n\r\n").expect("a body");
    for line in [
        "From: Pinion <pinion@pve1>",
        "To: root@localhost, ops@x.example",
        "Subject: Pinion on pve1: 2 alarms: 1 expired, 1 blocked",
        "Auto-Submitted: auto-generated",
        "Importance: high",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    assert!(head.contains("\r\nMessage-ID: <") && head.contains("\r\nDate: "), "{head}");
    // A host's name that is none.
    let mail = compose(&config(server), "a\r\nBcc: x@y.example", &Message::test(message().at())).expect("a mail");
    let text = String::from_utf8(mail.formatted()).expect("ASCII");
    assert!(!text.contains("\nBcc:") && text.contains("pinion@localhost") && !text.contains("Importance"), "{text}");
}
