//! An alarm's whole life by every kind of target, by a clock that is moved: expiring, late, expired, repeated, over.

#![allow(clippy::print_stdout, reason = "docs/alarms.md shows what the targets got")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use pinion_proto::clock::{Clock as _, SystemClock};
use pinion_tests::{
    ca::StepCa,
    host::Host,
    postfix::Postfix,
    receiver::{Manner, Receiver},
    wait::{PATIENCE, until, until_async},
};
use serde_json::{Value, json};

use super::one_process::{DAY, HOUR, Lab, START, certificate};

/// What each service documents of the JSON that it takes, as far as it matters here.
///
/// ntfy: docs.ntfy.sh/publish, "Publish as JSON". Gotify: gotify.net/api-docs, `POST /message`. Slack: docs.slack.dev, header
/// and section blocks. Discord: docs.discord.com, "Execute Webhook" and embed limits. Teams: learn.microsoft.com, cards in
/// incoming webhooks, and the schema of Adaptive Cards 1.4.
fn shape(service: &str) -> Value {
    let text = |max: u32| json!({ "type": "string", "minLength": 1, "maxLength": max });
    let plain = |max: u32| {
        json!({ "type": "object", "required": ["type", "text"], "additionalProperties": false, "properties": {
            "type": { "const": "plain_text" }, "text": text(max), "emoji": { "type": "boolean" } } })
    };
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties });
    let list = |items: Value, max: u32| json!({ "type": "array", "items": items, "minItems": 1, "maxItems": max });
    match service {
        "json" => {
            json!({ "type": "object", "required": ["title", "text", "state", "severity", "host", "time", "alarms"] })
        }
        "ntfy" => object(
            &["topic", "message"],
            json!({ "topic": { "type": "string", "pattern": "^[-_A-Za-z0-9]{1,64}$" }, "title": text(250),
                    "message": text(4096), "priority": { "enum": [1, 2, 3, 4, 5] },
                    "tags": list(json!({ "type": "string" }), 5) }),
        ),
        "gotify" => object(
            &["message"],
            json!({ "title": text(250), "message": text(10_000),
                    "priority": { "type": "integer", "minimum": 0, "maximum": 10 } }),
        ),
        "slack" => object(
            &["text", "blocks"],
            json!({ "text": text(40_000), "blocks": list(json!({ "oneOf": [
                object(&["type", "text"], json!({ "type": { "const": "header" }, "text": plain(150) })),
                object(&["type", "text"], json!({ "type": { "const": "section" }, "text": plain(3000) })),
            ] }), 50) }),
        ),
        "discord" => object(
            &["embeds"],
            json!({ "embeds": list(object(&["title", "description"], json!({
                        "title": text(256), "description": text(4096),
                        "color": { "type": "integer", "minimum": 0, "maximum": 0xFF_FFFF },
                        "timestamp": { "type": "string", "pattern": "^[0-9-]{10}T[0-9:]{8}Z$" } })), 10),
                    "allowed_mentions": { "const": { "parse": [] } } }),
        ),
        "teams" => {
            let run = object(
                &["type", "text"],
                json!({ "type": { "const": "TextRun" }, "text": text(10_000), "weight": { "enum": ["Bolder"] },
                        "size": { "enum": ["Medium"] },
                        "color": { "enum": ["Good", "Warning", "Attention", "Accent"] } }),
            );
            let block =
                object(&["type", "inlines"], json!({ "type": { "const": "RichTextBlock" }, "inlines": list(run, 9) }));
            let card = object(
                &["type", "version", "body"],
                json!({ "$schema": { "type": "string" }, "type": { "const": "AdaptiveCard" },
                        "version": { "const": "1.4" }, "body": list(block, 9) }),
            );
            let attachment = object(
                &["contentType", "content"],
                json!({ "contentType": { "const": "application/vnd.microsoft.card.adaptive" },
                        "contentUrl": { "type": "null" }, "content": card }),
            );
            object(
                &["type", "attachments"],
                json!({ "type": { "const": "message" }, "attachments": list(attachment, 1) }),
            )
        }
        other => panic!("{other} has no shape here"),
    }
}

/// Where a service has a message's title.
fn title(service: &str, body: &Value) -> String {
    let pointer = match service {
        "slack" => "/blocks/0/text/text",
        "discord" => "/embeds/0/title",
        "teams" => "/attachments/0/content/body/0/inlines/0/text",
        _ => "/title",
    };
    body.pointer(pointer).and_then(Value::as_str).expect("a title").replace('\\', "")
}

const SERVICES: [&str; 6] = ["json", "ntfy", "gotify", "slack", "discord", "teams"];

/// A receiver for each service, a mailbox and a hook, all told by one controller.
struct Targets {
    services: Vec<(&'static str, Receiver)>,
    postfix: Postfix,
}

impl Targets {
    fn new() -> Self {
        let service = |service| (service, Receiver::start(Manner::Answer(200)).expect("a receiver"));
        Self { services: SERVICES.map(service).into(), postfix: Postfix::start(None).expect("Postfix is installed") }
    }

    fn configure(&self, host: &Host, repeat: &str) {
        let mut text = format!("\n[notify]\nrepeat = \"{repeat}\"\n");
        for (service, receiver) in &self.services {
            let url = receiver.url("alarms");
            text +=
                &format!("[notify.targets.{service}]\ntype = \"webhook\"\nservice = \"{service}\"\nurl = \"{url}\"\n");
        }
        text += &format!(
            "[notify.targets.mail]\ntype = \"mail\"\nserver = \"{}\"\nto = [\"root@x.example\"]\nfrom = \
             \"pinion@x.example\"\n",
            self.postfix.address()
        );
        let hook = host.root().join("etc/pinion/notify-hook");
        let script = format!("#!/bin/sh\ncat >> {0}\necho >> {0}\n", host.root().join("hook.out").display());
        fs::write(&hook, script).expect("written");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("executable");
        text += &format!("[notify.targets.hook]\ntype = \"hook\"\npath = \"{}\"\n", hook.display());
        host.configure(&text).expect("configured");
    }

    /// The title of this message, which is the same at every target.
    fn message(&self, host: &Path, number: usize) -> String {
        let titles = self.titles(host, number);
        let first = titles.first().expect("one").clone();
        assert!(titles.iter().all(|title| *title == first), "{titles:#?}");
        self.print(number);
        first.split_once(": ").expect("the host").1.to_owned()
    }

    /// The clock goes on in such steps until every target has got this message; its title.
    async fn next(&self, lab: &Lab, number: usize, step: Duration) -> String {
        let root = lab.host().root();
        let told = until_async("the next message", PATIENCE, async || {
            let counts = self.counts(root);
            if counts.iter().all(|count| *count > number) {
                return Ok(());
            }
            // Once one target has it, it is on its way to the others, and no reminder is to overtake it.
            let told = counts.iter().any(|count| *count > number);
            lab.clock.advance(if told { step.min(SOON) } else { step });
            let status = lab.status().await;
            Err(format!("{counts:?} {:?} {:?}", status.troubles, status.targets))
        });
        told.await.expect("every target is told");
        self.message(root, number)
    }

    /// What each target got as this message, for people.
    fn print(&self, number: usize) {
        for (service, receiver) in &self.services {
            println!("--- message {number}, to {service}:\n{:#}", receiver.received()[number].body);
        }
        println!("--- message {number}, by mail:\n{}", self.postfix.wait(number).expect("a mail"));
    }

    /// The title of this message at each target.
    fn titles(&self, host: &Path, number: usize) -> Vec<String> {
        let mut titles = Vec::new();
        for (service, receiver) in &self.services {
            let received = receiver.wait(number).unwrap_or_else(|error| panic!("{service}: {error:#}"));
            let validator = jsonschema::validator_for(&shape(service)).expect("a schema");
            let problems: Vec<_> = validator.iter_errors(&received.body).map(|error| error.to_string()).collect();
            assert!(problems.is_empty(), "{service}: {problems:?}\n{}", received.body);
            assert_eq!(received.headers.get("content-type").map(String::as_str), Some("application/json"), "{service}");
            assert_eq!(received.path, if *service == "ntfy" { "/" } else { "/alarms" });
            titles.push(title(service, &received.body));
        }
        let mail = self.postfix.wait(number).expect("a mail");
        let (_, subject) = mail.split_once("\nSubject: ").expect("a subject");
        // A long header goes on in lines that begin with a space (RFC 5322 section 2.2.3).
        let folded = subject.lines().skip(1).take_while(|line| line.starts_with(' '));
        titles.push(subject.lines().take(1).chain(folded).collect());
        let told = until("the hook", PATIENCE, || self.hooked(host).get(number).cloned().ok_or("not yet"));
        titles.push(told.expect("the hook ran")["title"].as_str().expect("a title").to_owned());
        titles
    }

    /// What the hook got.
    fn hooked(&self, host: &Path) -> Vec<Value> {
        let told = fs::read_to_string(host.join("hook.out")).unwrap_or_default();
        told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How many messages each target has got.
    fn counts(&self, host: &Path) -> Vec<usize> {
        let services = self.services.iter().map(|(_, receiver)| receiver.received().len());
        let others = [self.postfix.mails().expect("readable").len(), self.hooked(host).len()];
        services.chain(others).collect()
    }

    /// Waits until the last message of every target says this.
    fn wait_all(&self, host: &Path, words: &str) {
        let said = || {
            let mut last: Vec<_> = self
                .services
                .iter()
                .map(|(_, receiver)| receiver.received().pop().map(|got| got.body.to_string()))
                .collect();
            last.push(
                self.postfix.mails().expect("readable").pop().map(|mail| mail.replace("=\n", "").replace("\n ", " ")),
            );
            last.push(self.hooked(host).pop().map(|told| told.to_string()));
            let plain = |text: &Option<String>| text.as_ref().map(|text| text.replace('\\', "")).unwrap_or_default();
            match last.iter().all(|text| plain(text).contains(words)) {
                true => Ok(()),
                false => Err(format!("{last:#?}")),
            }
        };
        until(words, PATIENCE, said).expect("every target is told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_target_is_told_the_whole_life_of_an_alarm() {
    let targets = Targets::new();
    let mut lab = Lab::start_at(START, &[certificate("web", "10d", "always")], |host, _| {
        targets.configure(host, "30h");
    })
    .await;
    let root = lab.host().root().to_owned();
    let placement = lab.status().await.placements.into_iter().next().expect("one");
    let (renew_at, end) = (placement.renew_at.expect("a renewal"), placement.not_after.expect("an end"));
    let late = end - end.since(renew_at) / 3;
    lab.power_off().await;
    lab.clock.advance(DAY * 3);
    lab.status().await;
    assert_eq!(targets.counts(&root), [0; 8], "nothing is due in a guest that is away");

    // Past its renewal, and its guest is away.
    lab.clock.set(late - HOUR * 20);
    lab.status().await;
    assert_eq!(targets.message(&root, 0), "2 alarms: 1 expiring, 1 silent");
    let status = lab.status().await;
    assert!(status.targets.len() == 8 && status.targets.iter().all(|target| target.trouble.is_none()), "{status:?}");
    // A restart tells nothing again.
    lab.restart(|_| {}).await;
    lab.clock.advance(HOUR);
    lab.busy_for(Duration::from_millis(300)).await;
    assert_eq!(targets.counts(&root), [1; 8]);
    // It becomes worse, lasts, and ends.
    lab.clock.set(late + Duration::from_secs(1));
    lab.status().await;
    assert_eq!(targets.message(&root, 1), "web@1001: renewal late");
    lab.clock.set(late + HOUR * 11);
    lab.status().await;
    assert_eq!(targets.message(&root, 2), "still guest 1001: silent");
    lab.clock.set(end + Duration::from_secs(2));
    lab.status().await;
    // A reminder may have gone first: what follows it goes a few seconds later.
    lab.busy_for(Duration::from_millis(300)).await;
    lab.clock.advance(Duration::from_secs(10));
    lab.status().await;
    targets.wait_all(&root, "expired: web@1001: its certificate expired at");

    // The guest is back: all clear, after a while.
    lab.power_on().await;
    lab.settled("the guest is back").await;
    let before = targets.counts(&root);
    lab.busy_for(Duration::from_millis(300)).await;
    assert_eq!(targets.counts(&root), before, "not at once");
    lab.clock.advance(Duration::from_secs(121));
    lab.status().await;
    targets.wait_all(&root, "all clear: web@1001, guest 1001");
    println!("--- the last mail:\n{}", targets.postfix.mails().expect("readable").pop().expect("one"));
    println!("--- the last of json:\n{:#}", targets.services[0].1.received().pop().expect("one").body);
    let told = until("the targets' status", PATIENCE, || {
        let status = lab.host().pinion(&["status", "--json"]).map_err(|error| format!("{error:#}"))?;
        let status: Value = serde_json::from_str(&status.stdout).map_err(|error| error.to_string())?;
        let told = status["targets"].as_array().into_iter().flatten().filter(|target| target["told"] != 0).count();
        if told == 0 { Ok(()) } else { Err(format!("{status}")) }
    });
    told.expect("nobody knows of an alarm that is over");
    lab.stop().await;
}

/// The steps of the clock where a message is near, and where it is hours away.
const SOON: Duration = Duration::from_secs(10);
const LATER: Duration = Duration::from_secs(5 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_a_manifest_and_a_locked_identity_are_told_from_their_beginning_to_their_end() {
    let targets = Targets::new();
    let mut ca = StepCa::start().expect("a CA");
    let issuer = ca.issuer().expect("an issuer");
    let watched = json!({ "name": "other", "common_name": "other.example", "issuer": "step-ca", "placements": [] });
    // By the CA's own clock, which is a few hours behind at the end.
    let mut lab = Lab::start_at(SystemClock.now(), &[certificate("web", "10d", "always"), watched], |host, _| {
        targets.configure(host, "2h");
        let section = format!(
            "\n[issuers.step-ca]\ntype = \"step-ca\"\nurl = \"{}\"\nfingerprint = \"{}\"\nprovisioner = \"{}\"\n\
             password_file = \"{}\"\nroots_every = \"200ms\"\n",
            issuer.url,
            issuer.fingerprint,
            issuer.provisioner,
            issuer.password_file.display()
        );
        host.configure(&section).expect("configured");
    })
    .await;
    let root = lab.host().root().to_owned();

    // The CA has answered, and is away: half an hour is nothing yet, an hour is an alarm. Its roots are known all the same.
    let roots = || lab.host().pinion(&["issuer", "root", "step-ca"]).and_then(|done| done.succeeded());
    let known = roots().expect("it answers").stdout;
    ca.stop();
    assert_eq!(roots().expect("it has said them").stdout, known);
    lab.clock.advance(LATER);
    lab.busy_for(Duration::from_millis(300)).await;
    lab.clock.advance(HOUR / 2);
    lab.busy_for(Duration::from_millis(300)).await;
    assert_eq!(targets.counts(&root), [0; 8], "half an hour is no alarm");
    assert_eq!(targets.next(&lab, 0, LATER).await, "step-ca: issuer down");
    let since = lab.clock.now();
    assert_eq!(targets.next(&lab, 1, LATER).await, "still step-ca: issuer down");
    assert!(lab.clock.now().since(since) >= HOUR * 2 - LATER, "it is repeated as rarely as it is to be");
    ca.restart().expect("it is back");
    assert_eq!(targets.next(&lab, 2, SOON).await, "all clear: step-ca");

    // A manifest with a mistake, which is corrected.
    let path = root.join("etc/pinion/certificate-manifest.json");
    let good = fs::read(&path).expect("read");
    fs::write(&path, "{ \"version\": 1,\n").expect("written");
    assert_eq!(targets.next(&lab, 3, SOON).await, "manifest: blocked");
    let told = targets.hooked(&root)[3]["text"].to_string();
    assert!(told.contains("the manifest on disk is not in force: ") && told.contains(":2:1"), "{told}");
    assert_eq!(targets.next(&lab, 4, LATER).await, "still manifest: blocked");
    fs::write(&path, good).expect("written");
    assert_eq!(targets.next(&lab, 5, SOON).await, "all clear: manifest");

    // Two machines use one identity in turns.
    for (boot, is_let_in) in [("one", true), ("other", true), ("one", false)] {
        lab.power_off().await;
        lab.guest().write("/proc/sys/kernel/random/boot_id", boot).expect("written");
        let stat = "1 (init) S 0 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 71 1 2\n";
        lab.guest().write("/proc/1/stat", stat).expect("written");
        lab.power_on().await;
        if is_let_in {
            lab.settled(boot).await;
        }
    }
    assert_eq!(targets.next(&lab, 6, SOON).await, "guest 1001: locked");
    let told = targets.hooked(&root)[6].clone();
    assert_eq!((&told["severity"], &told["alarms"][0]["kind"]), (&"critical".into(), &"locked".into()), "{told}");
    assert!(told["text"].to_string().contains("pinion guest unlock 1001"), "{told}");
    assert_eq!(targets.next(&lab, 7, LATER).await, "still guest 1001: locked");
    lab.host().pinion(&["guest", "unlock", "1001"]).and_then(|done| done.succeeded()).expect("unlocked");
    assert_eq!(targets.next(&lab, 8, SOON).await, "all clear: guest 1001");
    lab.stop().await;
}
