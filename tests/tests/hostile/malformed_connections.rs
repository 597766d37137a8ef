//! Hostile bytes on the port: the controller stays up, small, and at work for those who belong here.

use std::{sync::Arc, time::Duration};

use pinion_agent::link::dial;
use pinion_proto::{clock::SystemClock, tls, token::JoinToken, wire::pb};
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    process::Process,
    wait::PATIENCE,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::rogue_agent::{ask_to_join, join_request};

/// A controller at work, and what it needed in memory before anything was done to it.
struct Setup {
    host: Host,
    guest: Guest,
    token: JoinToken,
    before: u64,
}

impl Setup {
    fn start() -> Self {
        let limit = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("more files");
        let placement = json!({ "guest": 1001, "files": { "cert": { "path": "/etc/ssl/web.crt" }, "key": { "path": "/etc/ssl/web.key" } } });
        let certificate = json!({ "name": "web", "common_name": "web.example", "placements": [placement] });
        let mut host = Host::start(&HostOptions::embedded(&json!([certificate]))).expect("a host");
        let guest = Guest::join(&host, 1001).expect("a guest");
        host.renew(&["web"], "installed").expect("installed");
        let token = JoinToken::parse(&host.token("1002").expect("a token")).expect("a token");
        let before = resident(&mut host);
        Self { host, guest, token, before }
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.host.address()).await.expect("a connection")
    }

    /// A stranger's TLS, as an agent's.
    async fn tls(&self) -> TlsStream<TcpStream> {
        let config = tls::client_config(None, &self.token.root, Arc::new(SystemClock)).expect("a configuration");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(tls::controller_name(), self.tcp().await).await.expect("a handshake")
    }

    /// While it goes on: still linked, a renewal works, and the memory is bounded.
    fn is_at_work(&mut self, what: &str) {
        self.host.controller().expect("it was started").check_running().expect(what);
        self.host.renew(&["web"], "installed").expect(what);
        self.guest.agent().expect("it was started").check_running().expect(what);
        assert!(self.host.status().expect(what).is_linked("1001"), "{what}");
        let grown = resident(&mut self.host).saturating_sub(self.before);
        assert!(grown < 64 * 1024, "{what}: {grown} KiB more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_or_little_are_cheap() {
    let mut setup = Setup::start();
    let mut held = Vec::new();
    for _ in 0..1000 {
        held.push(setup.tcp().await);
    }
    setup.is_at_work("1,000 idle connections");
    // The beginning of a handshake record that would be the largest.
    for _ in 0..200 {
        let mut stream = setup.tcp().await;
        stream.write_all(&[0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3]).await.expect("room");
        held.push(stream);
    }
    setup.is_at_work("200 half handshakes");
    let mut slow = JoinSet::new();
    for _ in 0..100 {
        let mut stream = setup.tcp().await;
        slow.spawn(async move {
            // A record of 16 KiB, a byte at a time, until it is cut off.
            for byte in [0x16, 3, 1, 0x40, 0].into_iter().chain(std::iter::repeat_n(1, 16_384)) {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    setup.is_at_work("100 that send a byte at a time");
    let mut silent = Vec::new();
    for _ in 0..150 {
        silent.push(setup.tls().await);
    }
    setup.is_at_work("150 that are silent after the handshake");
    // The oldest went when newer ones came; an agent still gets in between them.
    let mut first = silent.swap_remove(0);
    let over = async { while first.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {} };
    timeout(PATIENCE, over).await.expect("cut off");
    ask_to_join(&setup.token, join_request(&setup.token)).await.0.expect("joined");
    drop((held, silent, slow));
    setup.is_at_work("after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_tls_or_no_http2_is_hung_up_on() {
    let mut setup = Setup::start();
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"SSH-2.0-x\r\n".to_vec(),
        vec![0; 1 << 20],
        vec![0x16; 1 << 20],
        vec![0xff; 1 << 20],
    ] {
        let mut stream = setup.tcp().await;
        // It may hang up before it has read all.
        stream.write_all(&bytes).await.ok();
        hung_up(&mut stream, "plain bytes").await;
    }
    let preface = || [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat();
    let headers = |end| frame(1, end, 1, &join_headers());
    let endless: Vec<u8> = (0..200).flat_map(|_| frame(9, 0, 1, &[0; 16_000])).collect();
    let many: Vec<u8> = (0..20_000).flat_map(|n| frame(1, 4, 2 * n + 1, &join_headers())).collect();
    let reset: Vec<u8> = (0..20_000)
        .flat_map(|n| [frame(1, 4, 2 * n + 1, &join_headers()), frame(3, 0, 2 * n + 1, &[0, 0, 0, 8])].concat())
        .collect();
    let large: Vec<u8> = [frame(1, 0, 1, &[join_headers(), literal("x", &"y".repeat(12_000))].concat())].concat();
    let pings: Vec<u8> = (0..50_000).flat_map(|_| frame(6, 0, 0, &[0; 8])).collect();
    let settings: Vec<u8> = (0..50_000).flat_map(|_| frame(4, 0, 0, &[0, 3, 0, 0, 0, 1])).collect();
    for (what, bytes) in [
        ("HTTP/1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a frame of 16 MiB", [preface(), vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1], vec![0; 1 << 20]].concat()),
        ("endless headers", [preface(), frame(1, 0, 1, &join_headers()), endless].concat()),
        ("large headers", [preface(), large, endless_end()].concat()),
        ("many streams", [preface(), many].concat()),
        ("streams that are reset at once", [preface(), reset].concat()),
        ("more data than allowed", [preface(), headers(4), frame(0, 0, 1, &[0; 16_000]).repeat(100)].concat()),
        ("pings", [preface(), pings].concat()),
        ("settings", [preface(), settings].concat()),
        ("noise", [preface(), vec![0xaa; 1 << 20]].concat()),
    ] {
        let stream = setup.tls().await;
        let (mut read, mut write) = tokio::io::split(stream);
        // Nobody reads meanwhile, as a hostile one would have it.
        let writing = tokio::spawn(async move {
            write.write_all(&bytes).await.ok();
            write.flush().await.ok();
            write
        });
        setup.is_at_work(what);
        let over = async { while read.read(&mut [0; 16_384]).await.is_ok_and(|read| read > 0) {} };
        timeout(PATIENCE, over).await.expect(what);
        writing.abort();
    }
    setup.is_at_work("after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_too_large_are_not_read() {
    let mut setup = Setup::start();
    // A gRPC message says its length first: 1 GiB.
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat();
    let request = [preface, frame(1, 4, 1, &join_headers()), frame(0, 0, 1, &[0, 0x40, 0, 0, 0, 1, 2, 3])].concat();
    let mut held = Vec::new();
    for _ in 0..50 {
        let mut stream = setup.tls().await;
        stream.write_all(&request).await.expect("room");
        timeout(PATIENCE, answered(&mut stream)).await.expect("an answer, and no wait for the rest");
        held.push(stream);
    }
    setup.is_at_work("messages of 1 GiB are announced");
    for change in [
        (|request: &mut pb::JoinRequest| request.csr_der = vec![0x30; 10 << 20]) as fn(&mut pb::JoinRequest),
        |request| request.guest = "1".repeat(10 << 20),
        |request| request.secret = vec![7; 10 << 20],
    ] {
        let mut request = join_request(&setup.token);
        change(&mut request);
        let status = ask_to_join(&setup.token, request).await.0.expect_err("far too large");
        assert_ne!(status.code(), tonic::Code::Ok, "{status}");
    }
    setup.is_at_work("join requests of 10 MiB");
    // Many calls on one connection, in turn and at once.
    let config = tls::client_config(None, &setup.token.root, Arc::new(SystemClock)).expect("a configuration");
    let (connection, _) = dial::dial(&setup.token.controllers, Arc::new(config)).await.expect("a connection");
    let mut calls = JoinSet::new();
    for _ in 0..500 {
        let mut client = pb::join_client::JoinClient::with_origin(connection.clone(), dial::origin());
        let mut request = join_request(&setup.token);
        request.secret[0] ^= 1;
        calls.spawn(async move { client.join(request).await.is_ok() });
    }
    setup.is_at_work("500 joins at once");
    while let Some(done) = calls.join_next().await {
        assert!(!done.expect("no panic"), "a wrong secret is never right");
    }
    ask_to_join(&setup.token, join_request(&setup.token)).await.0.expect("the right one is still good");
    drop(held);
}

async fn hung_up(stream: &mut TcpStream, what: &str) {
    let over = async { while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {} };
    timeout(PATIENCE, over).await.expect(what);
}

/// An HTTP/2 frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A CONTINUATION that ends headers.
fn endless_end() -> Vec<u8> {
    frame(9, 4, 1, &literal("z", "z"))
}

/// The headers of a call to Join, each a literal without indexing (RFC 7541 section 6.2.2).
fn join_headers() -> Vec<u8> {
    [
        literal(":method", "POST"),
        literal(":scheme", "https"),
        literal(":path", "/pinion.v1.Join/Join"),
        literal(":authority", "controller.pinion.internal"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ]
    .concat()
}

fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        // An integer with a prefix of seven bits (section 5.1).
        let mut rest = text.len();
        if rest < 127 {
            out.push(u8::try_from(rest).expect("seven bits"));
        } else {
            out.push(127);
            rest -= 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128 + 128).expect("eight bits"));
                rest /= 128;
            }
            out.push(u8::try_from(rest).expect("seven bits"));
        }
        out.extend(text.as_bytes());
    }
    out
}

/// Reads frames until one with the headers of an answer has come.
async fn answered(stream: &mut TlsStream<TcpStream>) {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        stream.read_exact(&mut payload).await.expect("its payload");
        if head[3] == 1 {
            return;
        }
    }
}

/// What the controller's process has in memory, in KiB.
fn resident(host: &mut Host) -> u64 {
    let id = host.controller().map(|process| Process::id(process)).expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a running process has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
