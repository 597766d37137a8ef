//! What an operator asks the host: status, plan, events, issuer check and the manifest's own commands.

use std::fs;

use pinion_tests::{
    ca::StepCa,
    guest::Guest,
    host::{Host, HostOptions},
    process::{Finished, Process},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

fn files(name: &str, guests: &[u32]) -> Value {
    let placements: Vec<_> = guests.iter().map(|guest| json!({ "guest": guest, "recipe": "files" })).collect();
    json!({ "name": name, "common_name": format!("{name}.internal.example"), "placements": placements })
}

fn said(host: &Host, arguments: &[&str]) -> Finished {
    host.pinion(arguments).and_then(Finished::succeeded).expect("it is answered")
}

fn document(host: &Host, arguments: &[&str]) -> Value {
    serde_json::from_str(&said(host, arguments).stdout).expect("stdout is one JSON document")
}

#[test]
fn all_mistakes_in_the_settings_are_reported_at_once_and_stop_the_daemons_only_where_they_must() {
    let host = Host::prepare(&HostOptions::default()).expect("a host");
    let path = host.root().join("etc/pinion/controller.toml");
    let good = fs::read_to_string(&path).expect("a configuration");
    let check = |arguments: &[&str]| host.pinion(&[&["config", "check"], arguments].concat()).expect("it runs");
    assert_eq!(check(&[]).code(), 0, "{}", check(&[]));

    fs::write(&path, format!("lisen = 1\n{good}\n[retri]\n[issuers.ca]\ntype = 'acme'\n")).expect("written");
    for arguments in [&[][..], &["--start"]] {
        let told = check(arguments);
        assert_eq!(told.code(), 2, "{told}");
        for words in ["controller.toml:1:1 lisen: ", "did you mean `listen`?", " retri: ", " issuers.ca.type: "] {
            assert!(told.stderr.contains(words), "{words} in {told}");
        }
    }
    let told: Value = serde_json::from_str(&check(&["--json"]).stdout).expect("JSON");
    assert_eq!((&told["ok"], told["problems"].as_array().map(Vec::len)), (&false.into(), Some(3)), "{told}");
    assert_eq!((&told["problems"][0]["line"], &told["problems"][0]["column"]), (&1.into(), &1.into()), "{told}");

    // What only does not fit this host is no reason not to start.
    let ca =
        "[issuers.ca]\ntype = 'step-ca'\nurl = 'https://127.0.0.1:1'\nprovisioner = 'p'\npassword_file = '/nowhere'\n";
    let root = "0".repeat(64);
    fs::write(&path, format!("{good}\n{ca}fingerprint = '{root}'\n")).expect("written");
    let told = check(&[]);
    assert!(told.code() == 2 && told.stderr.contains("issuers.ca.password_file: "), "{told}");
    let told = check(&["--start"]);
    assert!(told.code() == 0 && told.stderr.contains("warning: "), "{told}");
}

#[test]
fn status_shows_what_is_asked_for() {
    let host = Host::start(&HostOptions::embedded(&json!([files("web", &[1001, 1002]), files("mail", &[1001])])));
    let host = host.expect("a host");
    let _guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&["web@1001", "mail"], "reloaded").expect("what can be there is there");
    let shown = |arguments: &[&str]| {
        let document = document(&host, &[&["status", "--json"], arguments].concat());
        let placements = document["placements"].as_array().expect("a list").clone();
        placements.iter().map(|found| found["placement"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(shown(&[]), ["web@1001", "web@1002", "mail@1001"]);
    assert_eq!(shown(&["web"]), ["web@1001", "web@1002"]);
    assert_eq!(shown(&["web@1002", "mail"]), ["web@1002", "mail@1001"]);
    assert_eq!(shown(&["--guest", "1001"]), ["web@1001", "mail@1001"]);

    let status = host.status().expect("a status");
    let serial = status.placement("web@1001").and_then(|found| found.serial.clone()).expect("it is there");
    let words = said(&host, &["status", "web", "--wide"]).stdout;
    let of = |name: &str| words.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    assert!(of("web@1001").contains(&serial) && of("web@1001").contains("web.internal.example"), "{words}");
    assert!(of("web@1002 ").contains("pending (waiting)") && of("web@1002:").contains("pinion-agent join"), "{words}");
    assert!(!words.contains("mail@1001"), "{words}");

    let unknown = host.pinion(&["status", "wbe"]).expect("it runs");
    assert!(unknown.code() == 6 && unknown.stderr.contains("wbe"), "{unknown}");
}

#[test]
fn plan_says_what_would_be_done_and_does_nothing() {
    let host = Host::start(&HostOptions::embedded(&json!([files("web", &[1001])]))).expect("a host");
    let step = || document(&host, &["plan", "--json"])["steps"][0].clone();
    assert_eq!((step()["placement"].as_str(), step()["action"].as_str()), (Some("web@1001"), Some("wait")));
    assert!(said(&host, &["plan"]).stdout.contains("web@1001"));

    let _guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&[], "reloaded").expect("it is there");
    let before = host.status().expect("a status").placements;
    let step = step();
    assert_eq!(step["action"], "keep", "{step}");
    assert!(step["why"].as_str().is_some_and(|why| why.contains("renewal is due at")), "{step}");
    assert_eq!(host.status().expect("a status").placements, before);
}

#[test]
fn events_tell_what_happened_and_go_on_when_they_are_followed() {
    let host = Host::start(&HostOptions::embedded(&json!([files("web", &[1001])]))).expect("a host");
    let _guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&[], "reloaded").expect("it is there");
    let lines = said(&host, &["events", "--json"]).stdout;
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    let kinds: Vec<_> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
    let at = |kind: &str| kinds.iter().position(|found| *found == kind).expect(kind);
    // In the order in which it came about.
    let order = ["controller", "token", "joined", "linked", "issued", "stage"].map(at);
    assert!(order.is_sorted(), "{kinds:?}");
    assert!(events.iter().all(|event| event["at"].is_string() && event["text"].is_string()), "{lines}");
    assert_eq!(said(&host, &["events", "--last", "2"]).stdout.lines().count(), 2);

    let log = host.root().join("var/log/follow.log");
    let mut command = host.command(&["events", "--follow", "--last", "0"]).expect("pinion is built");
    let mut follow = Process::spawn("pinion events", &mut command, &log).expect("it starts");
    // Renewed until it is seen: who follows may have come after the first.
    let seen = wait::until("a followed event", PATIENCE, || {
        host.renew(&["web"], "reloaded").map_err(|error| format!("{error:#}"))?;
        let status = host.status().map_err(|error| format!("{error:#}"))?;
        let serial = status.placement("web@1001").and_then(|found| found.serial.clone()).unwrap_or_default();
        if follow.log().contains(&serial) { Ok(()) } else { Err(follow.log()) }
    });
    seen.expect("what happens is told as it happens");
    follow.check_running().expect("it goes on");
    follow.stop().expect("it ends when it is told to");
}

#[test]
fn issuer_check_tells_what_was_shortened_and_how_to_lift_it() {
    // As it is after `step ca init`: 24 hours at most.
    let mut ca = StepCa::start_with(|_| {}).expect("step-ca is installed");
    let issuer = ca.issuer().expect("a root");
    let host = Host::start(&HostOptions::step_ca(issuer, &json!([files("web", &[1001])]))).expect("a host");
    let _guest = Guest::join(&host, 1001).expect("a guest");
    host.ensure(&[], "reloaded").expect("a shorter certificate is better than none");

    let words = said(&host, &["issuer", "check"]).stdout;
    let fingerprint = ca.fingerprint().expect("a root").to_string();
    for part in [&fingerprint, "admin", "at most 1d\n", "30d", "--x509-max-dur", "step ca provisioner update"] {
        assert!(words.contains(part), "{part:?} in {words}");
    }
    let status = said(&host, &["status"]).stdout;
    assert!(status.contains("shortened") && status.contains("pinion issuer check"), "{status}");
    let reports = document(&host, &["issuer", "check", "--json"]);
    let report = reports.as_array().expect("a list").iter().find(|report| report["name"] == "step-ca");
    let check = &report.expect("it is in the list")["check"];
    assert_eq!(check["durations"]["max"], "1d", "{check}");

    ca.stop();
    let away = host.pinion(&["issuer", "check"]).expect("it runs");
    assert!(away.code() == 3 && away.stdout.contains(&ca.url()), "{away}");
}

#[test]
fn the_schema_is_json_and_check_names_every_mistake_with_its_place() {
    let mut host = Host::start(&HostOptions::embedded(&json!([files("web", &[1001])]))).expect("a host");
    let schema = document(&host, &["manifest", "schema"]);
    assert!(schema["properties"]["certificates"].is_object(), "{schema}");
    let good = said(&host, &["manifest", "check"]);
    assert!(good.stdout.contains("1 certificates in 1 places") && good.stderr.is_empty(), "{good}");
    let mut strange = files("web", &[1001]);
    (strange["issuer"], strange["placements"][0]["guest"]) = (json!("embeded"), json!("servces"));
    let other = host.root().join("other.json");
    fs::write(&other, json!({ "version": 1, "certificates": [strange] }).to_string()).expect("written");
    let warned = said(&host, &["manifest", "check", &other.display().to_string()]);
    for words in
        ["no issuer `embeded`, which web names; did you mean `embedded`?", "no guest named servces, which web names"]
    {
        assert!(warned.stderr.contains(words), "{words} in {warned}");
    }
    let near = host.pinion(&["ensure", "wbe"]).expect("it runs");
    assert!(near.code() == 6 && near.stderr.contains("did you mean `web`?"), "{near}");

    let path = host.root().join("etc/pinion/certificate-manifest.json");
    let text = "{ \"version\": 1,\n  \"certificates\": [\n    { \"name\": \"a\", \"common_name\": \"a..example\",\n      \
                \"placemnts\": [],\n      \"placements\": [ { \"guest\": 3, \"recipe\": \"files\" } ] } ] }\n";
    fs::write(&path, text).expect("written");
    let bad = host.pinion(&["manifest", "check"]).expect("it runs");
    assert_eq!(bad.code(), 2, "{bad}");
    for place in ["3:35", "4:7", "5:34"] {
        assert!(bad.stderr.contains(&format!("{}:{place}", path.display())), "{place} in {bad}");
    }
    assert_eq!(bad.stderr.lines().count(), 3, "{bad}");
    let json = host.pinion(&["manifest", "check", "--json"]).expect("it runs");
    let document: Value = serde_json::from_str(&json.stdout).expect("stdout is one JSON document");
    assert_eq!((json.code(), document["problems"].as_array().map(Vec::len)), (2, Some(3)), "{json}");
    assert_eq!(document["problems"][1]["line"], 4);

    // The good one stays in force meanwhile, and the bad one is told; neither program nor schema needs a daemon.
    let status = said(&host, &["status"]).stdout;
    assert!(status.contains("web@1001") && status.contains("not in force"), "{status}");
    host.stop().expect("it stops");
    assert_eq!(said(&host, &["manifest", "schema"]).code(), 0);
    assert_eq!(host.pinion(&["manifest", "check"]).expect("it runs").code(), 2);
    // Where no good one is known, there is nothing to go on with.
    fs::remove_file(host.root().join("var/lib/pinion/local/last-good-manifest.json")).expect("it was kept");
    let refused = host.pinion(&["serve"]).expect("it ends");
    assert!(refused.code() == 2 && refused.stderr.contains("4:7"), "{refused}");
}
