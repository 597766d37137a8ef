//! Targets that hang, refuse, redirect, flood or close: none holds up another, the loop or `pinion status`, each is tried
//! again, and what is wrong with it is told.

use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

use pinion_tests::{
    receiver::{Manner, Receiver},
    wait::{self, PATIENCE},
};

use super::site::{Site, TIMEOUT};

fn webhook(name: &str, url: &str) -> String {
    format!("[notify.targets.{name}]\ntype = \"webhook\"\nurl = \"{url}\"\ntimeout = \"{}s\"\n", TIMEOUT.as_secs())
}

#[test]
fn a_bad_target_holds_up_nobody_and_is_told_in_the_status() {
    let good = Receiver::start(Manner::Answer(200)).expect("a receiver");
    let elsewhere = Receiver::start(Manner::Answer(200)).expect("a receiver");
    let bad: Vec<(&str, Receiver, &str)> = [
        ("hangs", Manner::Hang, "in time"),
        ("drips", Manner::Drip, "in time"),
        ("floods", Manner::Flood(50_000_000), "it answered 500"),
        ("cuts-off", Manner::CutOff, ""),
        ("redirects", Manner::Redirect(elsewhere.url("trap")), "follows no redirection"),
        ("refuses", Manner::Answer(403), "it answered 403"),
    ]
    .map(|(name, manner, words)| (name, Receiver::start(manner).expect("a receiver"), words))
    .into();
    let mut targets = webhook("good", &good.url("x")) + &webhook("nobody", "http://127.0.0.1:1/");
    for (name, receiver, _) in &bad {
        targets += &webhook(name, &receiver.url("secret-path"));
    }
    let site = Site::start(&targets);
    site.break_it();
    let first = good.wait(0).expect("told, whatever the others do").body;
    assert_eq!((&first["state"], &first["alarms"][0]["subject"]), (&"firing".into(), &"web@1001".into()), "{first}");
    let repeated = good.wait(1).expect("repeated").body;
    assert_eq!(repeated["state"], "repeated", "{repeated}");
    let names = bad.iter().map(|(name, _, words)| (*name, *words)).chain([("nobody", "refused")]);
    for (name, words) in names {
        let target = site.wait_target(name, |target| target["trouble"].is_object());
        let cause = target["trouble"]["cause"].as_str().expect("words");
        assert!(cause.contains(words), "{name}: {cause}");
        assert!(target["trouble"]["retry_at"].is_string() && !target.to_string().contains("secret-path"), "{target}");
    }
    let began = Instant::now();
    let status = site.host.pinion(&["status"]).expect("it answers");
    assert!(began.elapsed() < TIMEOUT, "{:?}", began.elapsed());
    assert!(status.stdout.contains("send alarms to the target hangs (http://127.0.0.1:"), "{status}");
    assert!(!status.stdout.contains("secret-path"), "{status}");
    assert_eq!(elsewhere.connections(), 0, "no redirection is followed");

    // Tried again, and told what is so then.
    let (_, refuses, _) = bad.iter().find(|(name, ..)| *name == "refuses").expect("it is there");
    let before = refuses.received().len();
    refuses.behave(Manner::Answer(200));
    site.mend_it();
    let over = wait::until("the all clear", PATIENCE, || {
        let received = good.received();
        received.iter().find(|message| message.body["state"] == "clear").cloned().ok_or_else(|| format!("{received:?}"))
    });
    let over = over.expect("told").body;
    assert!(over["title"].as_str().is_some_and(|title| title.ends_with("all clear: web@1001")), "{over}");
    site.host.pinion(&["notify", "test", "refuses"]).expect("it runs").succeeded().expect("it works again");
    let target = site.wait_target("refuses", |target| target["trouble"].is_null());
    assert_eq!(target["told"], 0, "what it was never told is not cleared: {target}");
    assert!(refuses.received().len() > before);
    assert!(!site.host.log_tail().contains("secret-path"), "{}", site.host.log_tail());
    drop(site.guest);
}

#[test]
fn a_restart_tells_nothing_again_and_loses_no_all_clear() {
    let receiver = Receiver::start(Manner::Answer(200)).expect("a receiver");
    let mut site = Site::start(&webhook("good", &receiver.url("x")));
    let config = site.host.root().join("etc/pinion/controller.toml");
    let text = fs::read_to_string(&config).expect("read").replace("repeat = \"3s\"", "repeat = \"1h\"");
    fs::write(&config, text).expect("written");
    site.host.restart().expect("it starts");
    site.break_it();
    receiver.wait(0).expect("told");
    site.wait_target("good", |target| target["told"] == 1);
    site.host.kill9().expect("killed");
    site.host.start_again().expect("it starts");
    site.wait_target("good", |target| target["told"] == 1);
    // The guest is back and has reported: what it says is no news.
    site.guest.wait_linked(&site.host).expect("linked");
    let asked = site.host.pinion(&["ensure", "--timeout", "1s"]).expect("it runs");
    assert_eq!(asked.code(), 4, "it is still blocked: {asked}");
    assert_eq!(receiver.received().len(), 1, "{:?}", receiver.received());
    site.host.stop().expect("stopped");
    site.mend_it();
    site.host.start_again().expect("it starts");
    let over = receiver.wait(1).expect("not lost").body;
    assert_eq!(over["state"], "clear", "{over}");
}

#[test]
fn a_hook_that_others_could_have_written_is_not_run() {
    let site = {
        let place = tempfile::tempdir().expect("a directory");
        let hook = place.path().join("hook");
        fs::write(&hook, "#!/bin/sh\nexit 0\n").expect("written");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o777)).expect("set");
        let site = Site::start(&format!("[notify.targets.hook]\ntype = \"hook\"\npath = \"{}\"\n", hook.display()));
        let tested = site.host.pinion(&["notify", "test"]).expect("it runs");
        assert!(tested.code() == 4 && tested.stdout.contains("can write to"), "{tested}");
        let check = site.host.pinion(&["config", "check"]).expect("it runs");
        assert!(check.code() == 2 && check.stderr.contains("notify.targets.hook.path"), "{check}");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("set");
        site.host.pinion(&["notify", "test"]).expect("it runs").succeeded().expect("it runs the hook");
        site
    };
    drop(site);
}
