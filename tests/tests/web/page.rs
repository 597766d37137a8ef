//! The page in a real browser: every view, live, without scripts, on a telephone, dark, and for everybody.

#![allow(clippy::print_stdout, reason = "times are measured and shown, and never asserted")]

use std::time::{Duration, Instant};

use pinion_tests::site::Site;

use crate::{
    browser::{Browser, Setup},
    client::link,
    prepared,
    staged::StagedPage,
};

const VIEWS: [(&str, &str); 7] = [
    ("overview", "/"),
    ("placements", "/placements"),
    ("placement", "/placements/docker@1001"),
    ("timeline", "/timeline"),
    ("guests", "/guests"),
    ("issuers", "/issuers"),
    ("events", "/events"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_for_everybody_at_every_width_in_light_and_dark() {
    let well = StagedPage::all_well().await;
    let bad = StagedPage::one_expired_and_one_blocked().await;
    for (word, setup) in [("wide", Setup::WIDE), ("phone", Setup::PHONE), ("dark", Setup::DARK)] {
        let browser = Browser::start(setup).await;
        for (kind, staged) in [("well", &well), ("bad", &bad)] {
            browser.open(&staged.link()).await;
            for (view, path) in VIEWS {
                browser.open(&staged.url(path)).await;
                browser.picture(&format!("{kind}-{view}-{word}")).await;
                let barriers = browser.barriers().await;
                assert!(barriers.is_empty(), "{kind} {path} {word}: {barriers:#?}");
                let overflow = browser.script("return document.documentElement.scrollWidth - window.innerWidth").await;
                assert!(
                    overflow.as_i64().is_some_and(|pixels| pixels <= 0),
                    "{path} {word} is {overflow} pixels too wide"
                );
            }
        }
        browser.open(&bad.url("/")).await;
        let text = browser.text().await;
        assert!(text.starts_with("Skip") || text.contains("A certificate in use has expired"), "{text}");
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_still_to_sign_in_is_asked_in_a_form_for_everybody() {
    let staged = StagedPage::with_login().await;
    for (word, setup) in [("wide", Setup::WIDE), ("phone", Setup::PHONE), ("dark", Setup::DARK)] {
        let browser = Browser::start(setup).await;
        browser.open(&staged.url("/").replace("127.0.0.1", "localhost")).await;
        browser.picture(&format!("sign-in-{word}")).await;
        let text = browser.text().await;
        assert!(text.contains("pinion web open") && text.contains("Sign in with Proxmox"), "{text}");
        let barriers = browser.barriers().await;
        assert!(barriers.is_empty(), "{word}: {barriers:#?}");
        let overflow = browser.script("return document.documentElement.scrollWidth - window.innerWidth").await;
        assert!(overflow.as_i64().is_some_and(|pixels| pixels <= 0), "{word} is {overflow} pixels too wide");
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_everything_without_scripts() {
    let bad = StagedPage::one_expired_and_one_blocked().await;
    let browser = Browser::start(Setup::WITHOUT_SCRIPTS).await;
    browser.open(&bad.link()).await;
    let text = browser.text().await;
    for word in ["A certificate in use has expired", "mail@1003", "What to do"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    assert_eq!(text.matches("send alarms to the target chat").count(), 1, "{text}");
    assert!(!text.contains("live\n") && !text.ends_with("live"), "the script did not run: {text}");
    browser.open(&bad.url("/placements?state=blocked")).await;
    let text = browser.text().await;
    assert!(text.contains("1 of ") && text.contains("blocked"), "{text}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_follows_what_happens() {
    let site = Site::served_on(prepared("")).expect("a site");
    let browser = Browser::start(Setup::WIDE).await;
    browser.open(&link(&site.host, &[])).await;
    shows(&browser, "All is well").await;
    shows(&browser, "live").await;
    site.host.write_manifest(&pinion_tests::site::manifest(serde_json::json!([
        site.certificate(),
        { "name": "second", "common_name": "second.internal.example", "placements": [{ "guest": 1001, "recipe": "none-such" }] }
    ]))).expect("written");
    site.host.pinion(&["plan"]).expect("it looks at the manifest");
    let began = Instant::now();
    shows(&browser, "second@1001").await;
    println!("an open page shows a new placement {} ms after the command returned", began.elapsed().as_millis());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_placements_are_painted_and_updated() {
    let many = StagedPage::of_many(1000).await;
    let browser = Browser::start(Setup::WIDE).await;
    browser.open(&many.link()).await;
    for path in ["/", "/placements", "/timeline"] {
        browser.open(&many.url(path)).await;
        let paint =
            browser.script("return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1").await;
        println!("{path}, 1,000 placements: first contentful paint after {paint} ms");
    }
    browser.open(&many.url("/placements")).await;
    shows(&browser, "live").await;
    let began = Instant::now();
    many.rename("c0@1000", "renamed@1000");
    shows(&browser, "renamed@1000").await;
    println!("/placements, 1,000 placements: updated {} ms after the event", began.elapsed().as_millis());
    browser.picture("many-placements").await;
    browser.close().await;
}

/// Waits until the page shows something by itself.
async fn shows(browser: &Browser, what: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let text = browser.text().await;
        if text.contains(what) {
            return;
        }
        assert!(Instant::now() < end, "no {what} in {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
