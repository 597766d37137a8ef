//! Who may look, and who may renew.

use std::time::Duration;

use pinion_tests::{
    site::Site,
    wait::{self, PATIENCE},
};
use reqwest::{Method, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    client::{Visitor, cookie, link, path},
    prepared,
};

/// Every path that says something.
const PATHS: [&str; 10] = [
    "/",
    "/placements",
    "/placements/web@1001",
    "/timeline",
    "/guests",
    "/issuers",
    "/events",
    "/live",
    "/readyz",
    "/metrics",
];

#[tokio::test]
async fn without_a_session_only_the_health_check_says_anything() {
    let site = Site::served_on(prepared("")).expect("a site");
    let stranger = Visitor::stranger(&site.host);
    let health = stranger.get("/healthz").await;
    assert_eq!((health.status, health.body.as_str()), (StatusCode::OK, "ok\n"));
    let forged = Visitor { cookie: format!("pinion_session={}", "A".repeat(43)), ..stranger.clone() };
    let wrong = Visitor { token: "A".repeat(43), ..stranger.clone() };
    for visitor in [&stranger, &forged, &wrong] {
        for path in PATHS {
            let answer = visitor.get(path).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            for word in ["web@", "1001", Site::NAME, env!("CARGO_PKG_VERSION")] {
                assert!(!answer.body.contains(word), "{path} says {word}: {}", answer.body);
            }
        }
    }
}

#[tokio::test]
async fn a_link_is_good_once_and_its_session_sees_everything_and_changes_nothing() {
    let site = Site::served_on(prepared("renew = true")).expect("a site");
    let link = link(&site.host, &[]);
    let mut visitor = Visitor::stranger(&site.host);
    let opened = visitor.get(path(&link)).await;
    assert_eq!(opened.status, StatusCode::SEE_OTHER);
    let set = opened.headers["set-cookie"].to_str().expect("text").to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    visitor.cookie = cookie(&opened);
    assert_eq!(Visitor::stranger(&site.host).get(path(&link)).await.status, StatusCode::UNAUTHORIZED, "a second time");
    for path in PATHS.into_iter().filter(|path| *path != "/live") {
        let answer = visitor.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        let policy = answer.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
    assert!(visitor.get("/").await.body.contains("All is well"));
    let shown = visitor.get("/placements/web@1001").await.body;
    assert!(shown.contains(Site::NAME) && shown.contains(Site::KEY) && !shown.contains("Renew now"), "{shown}");
    let refused = visitor.post("/placements/web@1001/renew", "csrf=x&sure=yes").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "its link was not for renewing");
    assert_eq!(visitor.get("/nothing").await.status, StatusCode::NOT_FOUND);
    assert_eq!(visitor.get("/placements/none@1001").await.status, StatusCode::NOT_FOUND);

    assert_eq!(visitor.post("/sign-out", "").await.status, StatusCode::OK);
    assert_eq!(visitor.get("/").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn renewing_needs_the_switch_the_right_the_form_and_the_box() {
    let site = Site::served_on(prepared("renew = true")).expect("a site");
    let visitor = Visitor::signed_in(&site.host, &["--renew"]).await;
    let page = visitor.get("/placements/web@1001").await.body;
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
    let renew = "/placements/web@1001/renew";
    let serial = || site.host.status().expect("a status").placement(Site::PLACEMENT).expect("there").serial.clone();
    let before = serial();
    for (form, origin, status) in [
        (format!("csrf={csrf}"), None, StatusCode::BAD_REQUEST),
        ("csrf=wrong&sure=yes".to_owned(), None, StatusCode::FORBIDDEN),
        (format!("csrf={csrf}&sure=yes"), Some("http://evil.example"), StatusCode::FORBIDDEN),
        (format!("csrf={csrf}&sure=yes"), Some("null"), StatusCode::FORBIDDEN),
    ] {
        let origin = origin.map_or_else(|| format!("http://{}", visitor.address), ToOwned::to_owned);
        let answer = visitor.ask(Method::POST, renew, &[("origin", &origin)], &form).await;
        assert_eq!(answer.status, status, "{form} from {origin}: {}", answer.body);
    }
    let form = format!("csrf={csrf}&sure=yes");
    assert_eq!(visitor.ask(Method::POST, renew, &[], &form).await.status, StatusCode::FORBIDDEN, "without an origin");
    assert_eq!(serial(), before, "nothing of that renewed it");
    assert_eq!(visitor.post(renew, &form).await.status, StatusCode::SEE_OTHER);
    wait::until("the new certificate is served", PATIENCE, || if serial() == before { Err("not yet") } else { Ok(()) })
        .expect("renewed");
}

#[tokio::test]
async fn a_token_works_until_it_is_taken_back() {
    let host = {
        let mut host = prepared("");
        host.start_again().expect("it starts");
        host
    };
    let made = host.pinion(&["web", "token", "create", "prometheus"]).expect("it runs");
    let token = made.stdout.trim().to_owned();
    let scraper = Visitor { token: token.clone(), ..Visitor::stranger(&host) };
    assert_eq!(scraper.get("/metrics").await.status, StatusCode::OK);
    let signed = Visitor::stranger(&host).post("/sign-in", &format!("token={token}")).await;
    let person = Visitor { cookie: cookie(&signed), ..Visitor::stranger(&host) };
    assert_eq!(person.get("/").await.status, StatusCode::OK);
    let listed = host.pinion(&["web", "token", "list", "--json"]).expect("it runs");
    assert!(listed.stdout.contains("prometheus") && !listed.stdout.contains(&token), "{listed}");
    host.pinion(&["web", "token", "revoke", "prometheus"]).expect("it runs").succeeded().expect("taken back");
    assert_eq!(scraper.get("/metrics").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(person.get("/").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(host.pinion(&["web", "token", "revoke", "prometheus"]).expect("it runs").code(), 6);
}

#[tokio::test]
async fn another_hosts_name_reaches_nothing() {
    let mut host = prepared("names = [\"pve1.internal.example\"]\nmetrics_from = [\"127.0.0.1\"]");
    host.start_again().expect("it starts");
    let visitor = Visitor::signed_in(&host, &[]).await;
    let port = visitor.address.port();
    for (name, status) in [
        (format!("evil.example:{port}"), StatusCode::MISDIRECTED_REQUEST),
        ("127.0.0.1".to_owned(), StatusCode::MISDIRECTED_REQUEST),
        (format!("localhost:{port}"), StatusCode::OK),
        ("pve1.internal.example".to_owned(), StatusCode::OK),
        (format!("PVE1.internal.example:{port}"), StatusCode::OK),
    ] {
        for path in ["/", "/metrics"] {
            let answer = visitor.ask(Method::GET, path, &[("host", &name)], "").await;
            assert_eq!(answer.status, status, "{path} as {name}");
        }
    }
}

#[tokio::test]
async fn many_streams_and_slow_readers_are_bounded_and_others_are_answered() {
    let mut host = prepared("");
    host.start_again().expect("it starts");
    let visitor = Visitor::signed_in(&host, &[]).await;
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..100 {
        let stream = visitor.stream().await.expect("an answer");
        if stream.status() == StatusCode::OK { open.push(stream) } else { refused += 1 }
    }
    assert_eq!((open.len(), refused), (64, 36));
    assert_eq!(visitor.get("/").await.status, StatusCode::OK);
    drop(open);
    // Heads that never end.
    let mut slow = Vec::new();
    for _ in 0..400 {
        let mut stream = TcpStream::connect(visitor.address).await.expect("a connection");
        stream.write_all(b"GET / HTTP/1.1\r\n").await.ok();
        slow.push(stream);
    }
    let mut last = slow.pop().expect("one");
    let mut end = [0];
    // Those that find no place are let go at once; the others when their head does not come.
    let gone = timeout(Duration::from_secs(5), last.read(&mut end)).await.expect("let go");
    assert!(matches!(gone, Ok(0) | Err(_)), "{gone:?}");
    let mut first = slow.swap_remove(0);
    let ended = timeout(Duration::from_secs(40), first.read(&mut end)).await.expect("its head did not come");
    assert!(ended.is_ok() || ended.is_err());
    visitor.wait_for_page().await;
}

#[tokio::test]
async fn a_form_is_small_and_comes_soon() {
    let mut host = prepared("");
    host.start_again().expect("it starts");
    let stranger = Visitor::stranger(&host);
    let large = stranger.post("/sign-in", &format!("token={}", "A".repeat(4096))).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", large.body);
    let mut slow = TcpStream::connect(stranger.address).await.expect("a connection");
    let head = format!(
        "POST /sign-in HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nContent-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: 50\r\n\r\ntoken=",
        stranger.address
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 64];
    let length =
        timeout(Duration::from_secs(30), slow.read(&mut answer)).await.expect("not for ever").expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}
