//! Services that answer in every way, and what becomes of the message.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use pinion_proto::stage::Halt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

use super::*;
use crate::notify::testing::{LIMIT, begin, files, flood, message, self_signed, server};

fn config(url: &str) -> WebhookConfig {
    WebhookConfig {
        url: Some(url.parse().expect("a URL")),
        url_file: None,
        service: Service::Json,
        template_file: None,
        token_file: None,
        ca_file: None,
        timeout: LIMIT,
    }
}

async fn try_it(config: &WebhookConfig) -> Result<(), SendError> {
    let began = Instant::now();
    let outcome = send(config, &files(), "pve1", &message()).await;
    assert!(began.elapsed() < LIMIT * 3, "{:?}", began.elapsed());
    outcome
}

/// How a service that answers with these bytes is judged.
async fn answered(answer: &'static str) -> Result<(), SendError> {
    let address = server(move |mut stream| async move {
        begin(&mut stream).await;
        drop(stream.write_all(answer.as_bytes()).await);
    });
    try_it(&config(&format!("http://{}/secret-path", address.await))).await
}

#[tokio::test]
async fn only_a_success_is_one() {
    for (answer, halt, words) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None, ""),
        ("HTTP/1.1 204 No Content\r\n\r\n", None, ""),
        ("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", None, ""),
        (
            "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            Some(Halt::Blocked),
            "follows no redirection",
        ),
        (
            "HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            Some(Halt::Blocked),
            "follows no redirection",
        ),
        (
            "HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\nno\x1b[2Jbody",
            Some(Halt::Blocked),
            "400 Bad Request: no\\u{1b}[2Jbo",
        ),
        ("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", Some(Halt::Blocked), "401"),
        ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", Some(Halt::Blocked), "404"),
        ("HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", Some(Halt::Waiting), "429"),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", Some(Halt::Waiting), "503"),
        ("220 mail.example ESMTP\r\n", Some(Halt::Waiting), ""),
        ("HTTP/1.1 2", Some(Halt::Waiting), ""),
        ("", Some(Halt::Waiting), ""),
    ] {
        let outcome = answered(answer).await;
        assert_eq!(outcome.as_ref().err().map(SendError::halt), halt, "{answer}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(error.cause().contains(words), "{answer}: {}", error.cause());
            assert!(!error.cause().contains("secret-path"), "{}", error.cause());
        }
    }
}

#[tokio::test]
async fn a_service_that_hangs_or_drips_costs_the_targets_time() {
    let hangs = server(|mut stream| async move {
        begin(&mut stream).await;
        sleep(LIMIT * 10).await;
    });
    let never_reads = server(|stream| async move {
        sleep(LIMIT * 10).await;
        drop(stream);
    });
    let drips = server(|mut stream| async move {
        begin(&mut stream).await;
        for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sleep(LIMIT / 30).await;
        }
    });
    let drips_an_error = server(|mut stream| async move {
        begin(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n").await);
        while stream.write_all(b"x").await.is_ok() {
            sleep(LIMIT / 30).await;
        }
    });
    for address in [hangs.await, never_reads.await, drips.await] {
        let error = try_it(&config(&format!("http://{address}/"))).await.expect_err("it does not answer");
        assert_eq!((error.halt(), error.cause()), (Halt::Waiting, "it did not answer in time"));
    }
    let error = try_it(&config(&format!("http://{}/", drips_an_error.await))).await.expect_err("it refuses");
    assert!(error.cause().starts_with("it answered 500"), "{}", error.cause());
}

#[tokio::test]
async fn of_fifty_megabytes_nearly_nothing_is_read() {
    const ALL: usize = 50_000_000;
    for (status, good) in [("200 OK", true), ("500 No", false)] {
        let sent = Arc::new(AtomicUsize::new(0));
        let count = sent.clone();
        let address = server(move |mut stream| {
            let count = count.clone();
            async move {
                begin(&mut stream).await;
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {ALL}\r\n\r\n");
                drop(stream.write_all(head.as_bytes()).await);
                count.store(flood(&mut stream, &[b'x'; 65536], ALL).await, Ordering::SeqCst);
            }
        });
        let outcome = try_it(&config(&format!("http://{}/", address.await))).await;
        assert_eq!(outcome.is_ok(), good, "{outcome:?}");
        if let Err(error) = outcome {
            assert!(error.cause().len() < 400, "{}", error.cause());
        }
        // The rest is what sockets had room for.
        assert!(sent.load(Ordering::SeqCst) < ALL / 4, "{sent:?} bytes were taken");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let error = try_it(&config("http://127.0.0.1:1/")).await.expect_err("refused");
    assert!(error.halt() == Halt::Waiting && error.cause().contains("refused"), "{}", error.cause());
}

#[tokio::test]
async fn only_the_roots_that_are_named_are_trusted() {
    let directory = tempfile::tempdir().expect("a directory");
    let (pem, acceptor) = self_signed();
    let (other, _) = self_signed();
    let address = server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            drop(stream.read(&mut [0; 65536]).await);
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
            drop(stream.shutdown().await);
        }
    });
    let (address, ca_file) = (address.await, directory.path().join("ca.pem"));
    let trusting = WebhookConfig { ca_file: Some(ca_file.clone()), ..config(&format!("https://{address}/")) };
    for (text, good) in [(pem, true), (other, false)] {
        std::fs::write(&ca_file, text).expect("written");
        let outcome = try_it(&trusting).await;
        assert_eq!(outcome.is_ok(), good, "{outcome:?}");
        if let Err(error) = outcome {
            assert!(error.halt() == Halt::Blocked && error.cause().contains("certificate"), "{}", error.cause());
        }
    }
    let error = try_it(&config(&format!("https://{address}/"))).await.expect_err("the host does not trust it");
    assert!(error.halt() == Halt::Blocked, "{}", error.cause());
    std::fs::write(&ca_file, "nothing").expect("written");
    let error = try_it(&trusting).await.expect_err("no root");
    assert!(error.cause().contains("there is no certificate in it"), "{}", error.cause());
    let plain = server(|mut stream| async move {
        begin(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
    });
    let error = try_it(&config(&format!("https://{}/", plain.await))).await.expect_err("no TLS");
    assert_eq!(error.halt(), Halt::Waiting, "{}", error.cause());
}

#[tokio::test]
async fn secrets_are_sent_where_they_belong_and_shown_nowhere() {
    let directory = tempfile::tempdir().expect("a directory");
    let (url_file, token_file) = (directory.path().join("url"), directory.path().join("token"));
    let seen = Arc::new(std::sync::Mutex::new(String::new()));
    let heard = seen.clone();
    let address = server(move |mut stream| {
        let heard = heard.clone();
        async move {
            let mut buffer = vec![0; 65536];
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            *heard.lock().expect("not poisoned") = String::from_utf8_lossy(&buffer[..read]).to_lowercase();
            drop(stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n").await);
        }
    });
    std::fs::write(&url_file, format!("http://{}/hidden-path\n", address.await)).expect("written");
    std::fs::write(&token_file, "hidden-token\n").expect("written");
    for (service, header) in
        [(Service::Json, "authorization: bearer hidden-token"), (Service::Gotify, "x-gotify-key: hidden-token")]
    {
        let config = WebhookConfig {
            url: None,
            url_file: Some(url_file.clone()),
            token_file: Some(token_file.clone()),
            service,
            ..config("http://x.example/")
        };
        let error = try_it(&config).await.expect_err("it refuses");
        let seen = seen.lock().expect("not poisoned").clone();
        assert!(seen.starts_with("post /hidden-path ") && seen.contains(header), "{seen}");
        assert!(!format!("{error:?} {config:?}").contains("hidden-"), "{error:?} {config:?}");
    }
    for text in ["", "a\nb", "ftp://hidden-host/"] {
        std::fs::write(&url_file, text).expect("written");
        let config = WebhookConfig { url: None, url_file: Some(url_file.clone()), ..config("http://x.example/") };
        let error = try_it(&config).await.expect_err("no URL");
        assert!(error.halt() == Halt::Blocked && !error.cause().contains("hidden-"), "{}", error.cause());
    }
}
