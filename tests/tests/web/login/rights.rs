//! What Proxmox's users may do on the page, and when that ends.

use std::time::Duration;

use pinion_tests::site::Site;
use pinion_tests::wait::{self, PATIENCE};
use reqwest::{Method, StatusCode};

use super::{Login, NAME, START, prepared, says_nothing, sign_in};
use crate::client::{Visitor, cookie, link, path};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_proxmox_does_not_know_or_who_has_no_sys_audit_is_refused() {
    let login = Login::start().await;
    login.daemon.user("anna@pve", &["Sys.Audit-", "VM.Audit"]);
    login.daemon.user("guest@pve", &["VM.Audit", "Sys.Modify"]);
    login.daemon.user("gone@pve", &["Sys.Audit"]);
    let (gone, anna) = (login.ticket_of("gone@pve", 0), login.ticket_of("anna@pve", 0));
    login.daemon.remove_user("gone@pve");
    let forged = anna.replace("anna@pve", "root@pam");
    let expired = login.ticket_of("anna@pve", 2 * 3600);
    let early = login.daemon.ticket_of("anna@pve", START + Duration::from_secs(3600)).expect("a ticket");
    let half = login.ticket_of("!tfa!%7B%22totp%22%3Atrue%7D", 0);
    let narrow = login.daemon.token("anna@pve!narrow", Some(&["VM.Audit"]));
    let wrong = format!("{}x", login.daemon.token("anna@pve!page", Some(&["Sys.Audit"])));
    let good = login.daemon.token("anna@pve!page", Some(&["Sys.Audit", "Sys.Modify"]));
    for (credential, status) in [
        (forged.as_str(), StatusCode::UNAUTHORIZED),
        (&expired, StatusCode::UNAUTHORIZED),
        (&early, StatusCode::UNAUTHORIZED),
        (&gone, StatusCode::UNAUTHORIZED),
        (&wrong, StatusCode::UNAUTHORIZED),
        (&login.ticket_of("guest@pve", 0), StatusCode::FORBIDDEN),
        (&narrow, StatusCode::FORBIDDEN),
        (&half, StatusCode::BAD_REQUEST),
        ("hunter2", StatusCode::BAD_REQUEST),
        ("", StatusCode::BAD_REQUEST),
    ] {
        let answer = login.sign_in(credential).await;
        assert_eq!(answer.status, status, "{credential}: {}", answer.body);
        assert!(!answer.headers.contains_key("set-cookie"), "{credential}");
        assert!(credential.is_empty() || !answer.body.contains(credential), "{}", answer.body);
        says_nothing(&answer);
    }
    for credential in [anna.as_str(), &good] {
        let visitor = login.visitor(credential).await;
        let overview = visitor.get("/").await;
        assert_eq!(overview.status, StatusCode::OK);
        assert!(overview.body.contains("anna@pve"), "{}", overview.body);
    }
    let path = "GET /api2/json/access/permissions?path=%2F HTTP/1.1";
    assert!(login.daemon.asked().iter().all(|line| line == path), "{:?}", login.daemon.asked());
    login.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_was_taken_back_ends_the_session_within_a_minute() {
    let login = Login::start().await;
    login.daemon.user("anna@pve", &["Sys.Audit"]);
    let token = login.daemon.token("anna@pve!page", None);
    let visitor = login.visitor(&token).await;
    let other = login.visitor(&login.ticket_of("anna@pve", 0)).await;
    let asked = login.daemon.asked().len();
    for _ in 0..5 {
        assert_eq!(visitor.get("/").await.status, StatusCode::OK);
    }
    assert_eq!(login.daemon.asked().len(), asked, "Proxmox is not asked for each page");
    login.pass(60);
    assert_eq!(visitor.get("/").await.status, StatusCode::OK);
    assert_eq!(login.daemon.asked().len(), asked + 1, "and again after a minute");

    login.daemon.user("anna@pve", &["VM.Audit"]);
    login.pass(60);
    let refused = visitor.get("/placements").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
    says_nothing(&refused);
    login.daemon.user("anna@pve", &["Sys.Audit"]);
    assert_eq!(visitor.get("/").await.status, StatusCode::UNAUTHORIZED, "its session is over");
    assert_eq!(other.get("/").await.status, StatusCode::OK, "nobody has used this one meanwhile");

    // Refusals are remembered for a minute, too.
    assert_eq!(login.sign_in(&token).await.status, StatusCode::FORBIDDEN);
    login.pass(60);
    let again = login.visitor(&token).await;
    login.daemon.remove_token("anna@pve!page");
    login.pass(60);
    assert_eq!(again.get("/metrics").await.status, StatusCode::UNAUTHORIZED, "its token was removed");
    assert_eq!(again.get("/").await.status, StatusCode::UNAUTHORIZED);
    login.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_ticket_with_the_root_process_and_when_its_user_signs_out() {
    let mut login = Login::start().await;
    login.daemon.user("anna@pve", &["Sys.Audit"]);
    let ticket = login.ticket_of("anna@pve", 3600);
    let visitor = login.visitor(&ticket).await;
    login.pass(3000);
    assert_eq!(visitor.get("/").await.status, StatusCode::OK);
    login.pass(600);
    assert_eq!(visitor.get("/").await.status, StatusCode::UNAUTHORIZED, "its ticket is two hours old");
    let visitor = login.visitor(&login.ticket_of("anna@pve", 7140)).await;
    login.pass(44);
    assert_eq!(visitor.get("/").await.status, StatusCode::OK);
    login.pass(1);
    assert_eq!(visitor.get("/").await.status, StatusCode::UNAUTHORIZED, "also within the minute of the last answer");

    let visitor = login.visitor(&login.ticket_of("anna@pve", 0)).await;
    assert_eq!(visitor.post("/sign-out", "").await.status, StatusCode::OK);
    assert_eq!(visitor.get("/").await.status, StatusCode::UNAUTHORIZED);

    let visitor = login.visitor(&login.ticket_of("anna@pve", 0)).await;
    login.root_process.shutdown().await;
    login.pass(60);
    assert_eq!(visitor.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE, "nobody can say whether she still may");
    login.start_root_process();
    let ended = wait::until_async("the root process", PATIENCE, async || match visitor.get("/").await.status {
        StatusCode::UNAUTHORIZED => Ok(()),
        status => Err(status.to_string()),
    });
    ended.await.expect("another root process knows nobody");
    login.stop().await;
}

#[tokio::test]
async fn looking_takes_sys_audit_and_renewing_sys_modify_the_form_and_its_origin() {
    let clock = std::sync::Arc::new(pinion_proto::clock::SystemClock);
    let daemon = pinion_tests::pvedaemon::Pvedaemon::start(clock).expect("a daemon");
    let (host, certificate) = prepared(&daemon, "renew = true");
    let _channel = host.start_channel().expect("a root process");
    let site = Site::served_on(host).expect("a site");
    let stranger = Visitor::of_page(site.host.web().expect("a page"), NAME, &certificate);
    daemon.user("anna@pve", &["Sys.Audit"]);
    daemon.user("olga@pve", &["Sys.Audit", "Sys.Modify"]);
    let evil = [("origin", "https://evil.example")];
    let form = super::form(&daemon.ticket("anna@pve").expect("a ticket"));
    let refused = stranger.ask(Method::POST, "/sign-in/proxmox", &evil, &form).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
    assert!(daemon.asked().is_empty(), "nobody is asked for another site's form");

    let mut visitors = Vec::new();
    for user in ["anna@pve", "olga@pve"] {
        let answer = sign_in(&stranger, &daemon.ticket(user).expect("a ticket")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        let set = answer.headers["set-cookie"].to_str().expect("text");
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Secure"), "{set}");
        visitors.push(Visitor { cookie: cookie(&answer), ..stranger.clone() });
    }
    let [anna, olga] = visitors.as_slice() else { panic!("two have signed in") };
    let page = anna.get("/placements/web@1001").await.body;
    assert!(page.contains(Site::NAME) && !page.contains("Renew now"), "{page}");
    let page = olga.get("/placements/web@1001").await.body;
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a form");
    let renew = "/placements/web@1001/renew";
    let form = format!("csrf={csrf}&sure=yes");
    let serial = || site.host.status().expect("a status").placement(Site::PLACEMENT).expect("there").serial.clone();
    let before = serial();
    assert_eq!(anna.post(renew, &form).await.status, StatusCode::FORBIDDEN, "she has no Sys.Modify");
    assert_eq!(olga.ask(Method::POST, renew, &evil, &form).await.status, StatusCode::FORBIDDEN);
    assert_eq!(olga.post(renew, "csrf=wrong&sure=yes").await.status, StatusCode::FORBIDDEN);
    assert_eq!(serial(), before, "nothing of that renewed it");
    assert_eq!(olga.post(renew, &form).await.status, StatusCode::SEE_OTHER);
    wait::until("the new certificate is served", PATIENCE, || if serial() == before { Err("not yet") } else { Ok(()) })
        .expect("renewed");
    let events = site.host.pinion(&["events"]).expect("it runs").stdout;
    assert!(events.contains("anna@pve signed in on the page with Proxmox's login, to look\n"), "{events}");
    assert!(events.contains("requested by olga@pve on the page"), "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_one_name_which_is_not_proxmoxs() {
    let login = Login::start().await;
    login.daemon.user("anna@pve", &["Sys.Audit"]);
    let visitor = login.visitor(&login.ticket_of("anna@pve", 0)).await;
    let port = visitor.address.port();
    for (name, status) in [
        (format!("{NAME}:{port}"), StatusCode::OK),
        (NAME.to_uppercase(), StatusCode::OK),
        (format!("127.0.0.1:{port}"), StatusCode::MISDIRECTED_REQUEST),
        (format!("localhost:{port}"), StatusCode::MISDIRECTED_REQUEST),
        (format!("pve1.internal.example:{port}"), StatusCode::MISDIRECTED_REQUEST),
    ] {
        for path in ["/", "/metrics"] {
            let answer = visitor.ask(Method::GET, path, &[("host", &name)], "").await;
            assert_eq!(answer.status, status, "{path} as {name}: {}", answer.body);
        }
    }
    // A browser that has signed in at https://NAME:8006 sends that cookie here too.
    let ticket = login.ticket_of("anna@pve", 0).replace(':', "%3A");
    let both = format!("{}; PVEAuthCookie={ticket}", visitor.cookie);
    for path in ["/", "/metrics"] {
        let answer = Visitor { cookie: both.clone(), ..visitor.clone() }.get(path).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(answer.body.contains("Give the page a name of its own") && !answer.body.contains(&ticket));
    }
    let alone = Visitor { cookie: format!("PVEAuthCookie={ticket}"), ..visitor.clone() };
    assert_eq!(alone.get("/").await.status, StatusCode::MISDIRECTED_REQUEST, "it lets nobody in");
    // Links and tokens go on working.
    let link = tokio::task::block_in_place(|| link(&login.host, &[]));
    assert!(link.starts_with(&format!("https://{NAME}:{port}/open/")), "{link}");
    assert_eq!(login.stranger().get(path(&link)).await.status, StatusCode::SEE_OTHER);
    login.stop().await;
}

#[tokio::test]
async fn without_the_setting_there_is_no_such_login() {
    let mut host = crate::prepared("");
    host.configure(&format!("\n[channel]\nuser = \"{}\"\n", rustix::process::geteuid().as_raw())).expect("written");
    let _channel = host.start_channel().expect("a root process");
    host.start_again().expect("it starts");
    let stranger = Visitor::stranger(&host);
    assert!(!stranger.get("/").await.body.contains("Proxmox"));
    let answer = sign_in(&stranger, "anna@pve!page=4ba4bb94-2c41-4b2a-9f0c-0123456789ab").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.body);
}
