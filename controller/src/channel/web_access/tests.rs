//! The verb as a whole, with a daemon that says what a test wants. The suite `web` has one that works as Proxmox's does.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicI64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

use super::*;
use crate::{
    channel::protocol::{Secret, WebRight, WebUser},
    test_clock::Hands,
};

/// Answers each connection with these bytes, once it has read the request; where there are none, it never answers.
fn daemon(answer: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let (address, count) = (listener.local_addr().expect("an address"), Arc::new(AtomicUsize::new(0)));
    let counting = count.clone();
    // It ends with the test's process.
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            counting.fetch_add(1, Ordering::SeqCst);
            let mut stream = BufReader::new(stream);
            let lines = stream.by_ref().lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            if answer.is_empty() {
                silent.push(stream);
            } else {
                stream.get_mut().write_all(answer.as_bytes()).ok();
            }
        }
    });
    (address, count)
}

fn access(address: SocketAddr) -> (WebAccess, Arc<Hands>) {
    let root = tempfile::tempdir().expect("a directory");
    let mut config = Config::load(root.path()).expect("the defaults");
    config.web.proxmox_login = Some(serde_json::from_str("\"pinion.internal.example\"").expect("a name"));
    config.channel.pvedaemon = address;
    let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000)));
    let mut access = WebAccess::new(&config, clock.clone());
    access.daemon.patience = Duration::from_secs(5);
    (access, clock)
}

fn ticket(secret: &str) -> WebQuestion {
    WebQuestion::Ticket(Secret::new(Zeroizing::new(format!("anna@pve!page={secret}"))))
}

const MAY_LOOK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{\"data\":{\"/\":{\"Sys.Audit\":1}}}";

#[tokio::test]
async fn proxmox_is_asked_once_a_minute() {
    let (address, count) = daemon(MAY_LOOK);
    let (access, clock) = access(address);
    let answer = access.answer(&ticket("1")).await.expect("an answer");
    let WebAnswer::Known(WebUser { user, right, good_for, .. }) = answer else { panic!("{answer:?}") };
    assert_eq!((user.as_str(), right, good_for), ("anna@pve!page", WebRight::Audit, 60));
    let again = WebQuestion::Again(crate::digest::Digest::of("anna@pve!page=1"));
    for (seconds, asked) in [(0, 1), (59, 1), (1, 2), (59, 2), (1, 3)] {
        clock.0.fetch_add(seconds, Ordering::SeqCst);
        assert!(matches!(access.answer(&again).await, Ok(WebAnswer::Known(_))));
        assert_eq!(count.load(Ordering::SeqCst), asked);
    }
    let forget = WebQuestion::Forget(crate::digest::Digest::of("anna@pve!page=1"));
    for question in [forget, again] {
        assert_eq!(access.answer(&question).await, Ok(WebAnswer::Forgotten));
    }
}

#[tokio::test]
async fn what_proxmox_says_is_a_refusal_or_nothing_but_for_one_answer() {
    let gone = "HTTP/1.1 401 No ticket\r\nContent-Length: 0\r\n\r\n";
    let (access_, _) = access(daemon(gone).0);
    assert_eq!(access_.answer(&ticket("1")).await, Ok(WebAnswer::Unknown));
    for answer in [
        "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 There\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 2",
    ] {
        let (access, _) = access(daemon(answer).0);
        let failure = access.answer(&ticket("1")).await.expect_err(answer);
        assert_eq!(failure.cause, Cause::Unexpected, "{answer}: {failure}");
        assert!(!failure.text.contains("page"), "{failure}");
    }
}

#[tokio::test]
async fn a_daemon_that_hangs_holds_up_a_few_callers_for_a_bounded_time() {
    let (address, count) = daemon("");
    let (mut access, _) = access(address);
    access.daemon.patience = Duration::from_secs(1);
    let began = Instant::now();
    let questions: Vec<_> = (0..8).map(|number| ticket(&number.to_string())).collect();
    let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|at| access.answer(&questions[at]));
    let (a, b, c, d, e, f) = tokio::join!(a, b, c, d, e, f);
    let causes = [a, b, c, d, e, f].map(|answer| answer.expect_err("nobody answers").cause);
    let (late, busy) = (Cause::TimedOut, Cause::Busy);
    assert_eq!(causes, [late, late, late, late, busy, busy]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(count.load(Ordering::SeqCst) <= 4);
}

#[tokio::test]
async fn nobody_is_asked_where_the_login_is_off_or_nothing_listens() {
    let (address, count) = daemon(MAY_LOOK);
    let (mut access_, _) = access(address);
    access_.is_on = false;
    for question in [ticket("1"), WebQuestion::Again(crate::digest::Digest::of("x"))] {
        assert_eq!(access_.answer(&question).await.expect_err("it is off").cause, Cause::Refused);
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port");
    let (access, _) = access(nobody);
    let failure = access.answer(&ticket("1")).await.expect_err("nobody is there");
    assert!(failure.text.contains("systemctl status pvedaemon"), "{failure}");
}
