//! Files of the host's that went bad: told with file, place and remedy, never replaced, and nothing running
//! is disturbed for them.

use std::{fs, path::Path};

use pinion_controller::events::Kind;
use pinion_tests::{
    damage::{Damage, Damaged},
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    journal,
    process::{self, Finished},
    site::Site,
    wait::{self, PATIENCE},
};

#[test]
fn a_controller_that_cannot_start_says_which_file_to_mend() {
    let mut site = Site::served().expect("the certificate is served");
    site.host.stop().expect("the controller stops");
    let remedies = [
        "restore it",
        "put the right file",
        "correct it",
        "save ",
        "upgrade",
        "move it away",
        "the smallest manifest is",
    ];
    for file in [
        "etc/pinion/certificate-manifest.json",
        "etc/pinion/controller.toml",
        "var/lib/pinion/shared/identity-ca.json",
        "var/lib/pinion/shared/identity-domain.json",
    ] {
        for damage in Damage::ALL {
            if damage == Damage::Newer && file.ends_with(".toml") {
                continue;
            }
            let what = format!("{file}, {damage:?}");
            let path = site.host.root().join(file);
            // With the last good manifest it would start.
            fs::remove_file(site.host.root().join(LAST_GOOD)).ok();
            let damaged = Damaged::new(&path, damage).unwrap_or_else(|error| panic!("{what}: {error:#}"));
            let refused = serve_to_its_end(&site.host);
            assert_eq!(refused.code(), 2, "{what}: {refused}");
            let words = complaint(&refused);
            assert!(words.contains(&path.display().to_string()), "{what}: the file is not named: {words}");
            assert!(remedies.iter().any(|remedy| words.contains(remedy)), "{what}: no remedy: {words}");
            if file.ends_with("manifest.json") {
                let checked = site.host.pinion(&["manifest", "check"]).expect("pinion runs");
                assert_eq!(checked.code(), 2, "{what}: {checked}");
                assert!(checked.stderr.contains(&path.display().to_string()), "{what}: {checked}");
            }
            assert!(damaged.is_untouched().expect("it is there"), "{what}: it was written to");
            damaged.repair().expect("it is repaired");
        }
    }
    let serial = site.host.start_again().and_then(|()| {
        site.guest.wait_linked(&site.host)?;
        site.host.ensure(&[], "served")?;
        site.serial()
    });
    serial.expect("with every file repaired all is as before");
    assert_eq!(site.issued().expect("the events are there"), 1, "nothing was lost");
}

/// Where the last good manifest is kept.
const LAST_GOOD: &str = "var/lib/pinion/local/last-good-manifest.json";

#[test]
fn a_bad_manifest_at_the_start_is_reported_first_and_stops_no_renewal() {
    let mut site = Site::served().expect("the certificate is served");
    let path = site.host.root().join("etc/pinion/certificate-manifest.json");
    let shown = path.display().to_string();
    let mut serial = site.serial().expect("all agree");
    let aside = path.with_extension("aside");
    for damage in Damage::ALL.map(Some).into_iter().chain([None]) {
        site.host.stop().expect("the controller stops");
        // None: it is gone, and something else in its place.
        let damaged = damage.map(|damage| Damaged::new(&path, damage).expect("damaged"));
        if damaged.is_none() {
            fs::rename(&path, &aside).expect("moved");
            fs::create_dir(&path).expect("made");
        }
        site.host.start_again().unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        // An agent whose links end after moments dials less and less often; a restarted one dials at once.
        site.guest.restart().expect("the agent starts again");
        site.guest.wait_linked(&site.host).expect("linked");
        let renewed = site.host.pinion(&["ensure", "--renew", "--until", "served", "--timeout", "30s"]);
        let renewed = renewed.expect("pinion runs");
        assert!(renewed.code() == 2 && renewed.stderr.contains(&shown), "{damage:?}: it says so: {renewed}");
        let renewed = site.serial().expect("all agree");
        assert_ne!(renewed, serial, "{damage:?}: renewals go on");
        serial = renewed;

        let words = site.host.pinion(&["status"]).expect("pinion runs").stdout;
        let (first, rest) = words.split_once('\n').expect("lines");
        assert!(first.starts_with("note: ") && first.contains(&shown), "{damage:?}: {words}");
        if let Some(damage) = damage.filter(|damage| *damage != Damage::Enormous) {
            let place = first.split(&format!("{shown}:")).nth(1).unwrap_or_default();
            let numbered = place.split([':', ' ']).take(2).all(|number| number.parse::<usize>().is_ok());
            assert!(numbered, "{damage:?}: no line and column: {first}");
        }
        assert!(rest.contains("the last good manifest is in force, read at 20"), "{damage:?}: {words}");
        let told = journal::wait_event(&site.host, Kind::Failed, &["stays in force", &shown]);
        told.unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        match damaged {
            Some(damaged) => {
                assert!(damaged.is_untouched().expect("it is there"));
                damaged.repair().expect("it is repaired");
            }
            None => fs::remove_dir(&path).and_then(|()| fs::rename(&aside, &path)).expect("put back"),
        }
        wait::until("the good manifest", PATIENCE, || match site.host.status() {
            Ok(status) if status.notes.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .expect("the good manifest is taken");
    }
    // A manifest that asks for nothing is no damage.
    site.host.stop().expect("the controller stops");
    site.host.write_manifest(&pinion_tests::site::manifest(serde_json::json!([]))).expect("written");
    site.host.start_again().expect("the controller starts");
    site.host.wait_placement(Site::PLACEMENT, |placement| placement.retired).expect("it is retired");
}

#[test]
fn a_bad_manifest_under_a_running_controller_changes_nothing() {
    let site = Site::served().expect("the certificate is served");
    let serial = site.serial().expect("all agree");
    let path = site.host.root().join("etc/pinion/certificate-manifest.json");
    for damage in Damage::ALL {
        let known = journal::events(&site.host).expect("the events are there").len();
        let damaged = Damaged::new(&path, damage).expect("damaged");
        wait::until("the event", PATIENCE, || {
            let events = journal::events(&site.host).map_err(|error| format!("{error:#}"))?;
            let told = events.iter().skip(known).find(|event| event.kind == Kind::Failed);
            told.filter(|event| event.text.contains("the previous one stays in force"))
                .map(drop)
                .ok_or_else(|| "no event".to_owned())
        })
        .unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        let status = site.host.status().expect("the controller answers");
        let note = status.notes.iter().find(|note| note.contains(&path.display().to_string()));
        assert!(note.is_some(), "{damage:?}: {:?}", status.notes);
        let ensured = site.host.pinion(&["ensure"]).expect("pinion runs");
        let words = "the manifest on disk is not in force";
        assert!(ensured.code() == 2 && ensured.stderr.contains(words), "{damage:?}: {ensured}");
        assert_eq!(site.serial().expect("all agree"), serial);
        assert!(damaged.is_untouched().expect("it is there"));
        damaged.repair().expect("it is repaired");
        wait::until("the good manifest", PATIENCE, || match site.host.status() {
            Ok(status) if status.notes.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .expect("the good manifest is taken");
    }
    fs::remove_file(&path).expect("it can be removed");
    let status = site.host.status().expect("the controller answers");
    assert!(status.notes.iter().any(|note| note.contains("No such file")), "{:?}", status.notes);
    assert!(
        status.placement(Site::PLACEMENT).is_some_and(|placement| !placement.retired),
        "a lost file retires nothing"
    );
    assert_eq!((site.serial().expect("all agree"), site.issued().expect("events")), (serial, 1));
}

#[test]
fn a_bad_embedded_ca_stops_renewals_and_nothing_else() {
    let mut site = Site::served().expect("the certificate is served");
    let mut serial = site.serial().expect("all agree");
    let path = site.host.root().join("var/lib/pinion/shared/issuer-embedded.json");
    for damage in [Damage::Empty, Damage::CutOff, Damage::Newer] {
        site.host.stop().expect("the controller stops");
        let damaged = Damaged::new(&path, damage).expect("damaged");
        site.host.start_again().unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        site.guest.wait_linked(&site.host).expect("linked");
        let held = site.host.pinion(&["ensure"]).expect("pinion runs");
        assert_eq!(held.code(), 0, "{damage:?}: what is there stays good: {held}");
        let asked = site.host.pinion(&["ensure", "--renew", "--timeout", "20s"]).expect("pinion runs");
        let named = asked.stderr.contains(&path.display().to_string());
        assert!(asked.code() == 4 && named, "{damage:?}: {asked}");
        assert_eq!(site.serial().expect("all agree"), serial);
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        damaged.repair().expect("it is repaired");
        site.host.ensure(&[], "served").expect("repaired, it signs what was asked for");
        let renewed = site.serial().expect("all agree");
        assert_ne!(renewed, serial);
        serial = renewed;
    }
}

#[test]
fn what_is_known_of_a_guest_can_be_lost_and_its_identity_cannot() {
    let mut site = Site::served().expect("the certificate is served");
    let serial = site.serial().expect("all agree");
    for damage in Damage::ALL {
        site.host.stop().expect("the controller stops");
        let identity = site.host.root().join("var/lib/pinion/shared/guests/1001.json");
        let damaged = Damaged::new(&identity, damage).expect("damaged");
        site.host.start_again().unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        let told = journal::wait_event(&site.host, Kind::Refused, &["1001.json"]);
        told.unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        assert!(site.host.status().is_ok_and(|status| !status.is_linked("1001")), "{damage:?}: it was let in");
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        damaged.repair().expect("it is repaired");

        site.host.stop().expect("the controller stops");
        let reports = site.host.root().join("var/lib/pinion/local/reports/1001.json");
        site.guest.stop().expect("the agent stops");
        let damaged = Damaged::new(&reports, damage).expect("damaged");
        site.host.start_again().unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        let told = journal::wait_event(&site.host, Kind::Failed, &["local/reports/1001.json", "until it links again"]);
        told.unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        site.guest.start().expect("the agent starts");
        site.guest.wait_linked(&site.host).unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        site.host.ensure(&[], "served").expect("the guest says it all again");
    }
    assert_eq!((site.serial().expect("all agree"), site.issued().expect("events")), (serial, 1));
}

#[test]
fn a_bad_shared_key_is_reported_and_stops_only_its_own_renewals() {
    let mut site = Site::served().expect("the certificate is served");
    let mut shared = site.certificate();
    shared["shared"] = true.into();
    let other = serde_json::json!({ "name": "other", "common_name": "other.internal.example", "placements": [{
        "guest": 1001,
        "files": { "cert": { "path": "/etc/ssl/other.crt" }, "key": { "path": "/etc/ssl/other.key" } },
    }] });
    let certificates = serde_json::json!([shared, other]);
    site.host.write_manifest(&pinion_tests::site::manifest(certificates)).expect("the manifest is written");
    // Without this its own key would do: that it was shared is what is asked for here.
    site.host.renew(&["web"], "served").expect("served with a shared key");
    let mut serial = site.serial().expect("all agree");
    let path = site.host.root().join("var/lib/pinion/shared/shared-keys/web.json");
    for damage in Damage::ALL {
        site.host.stop().expect("the controller stops");
        let damaged = Damaged::new(&path, damage).expect("damaged");
        site.host.start_again().unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        site.guest.wait_linked(&site.host).expect("linked");
        let told = journal::wait_event(&site.host, Kind::Failed, &["shared-keys/web.json"]);
        told.unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        site.host.renew(&["other"], "installed").unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        let asked = site.host.pinion(&["ensure", "web", "--renew", "--timeout", "20s"]).expect("pinion runs");
        let named = asked.stderr.contains(&path.display().to_string());
        assert!(asked.code() == 4 && named, "{damage:?}: {asked}");
        assert_eq!(site.serial().expect("all agree"), serial, "{damage:?}: what is served stays");
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        damaged.repair().expect("it is repaired");
        site.host.ensure(&["web"], "served").unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        let renewed = site.serial().expect("all agree");
        assert_ne!(renewed, serial);
        serial = renewed;
    }
}

#[test]
fn a_bad_join_token_lets_nobody_in_until_it_is_whole() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest");
    let token = host.token("1001").expect("a token");
    let path = host.root().join("var/lib/pinion/shared/join-tokens/1001.json");
    for damage in Damage::ALL {
        let known = journal::events(&host).expect("the events are there").len();
        let damaged = Damaged::new(&path, damage).expect("damaged");
        let refused = guest.join_with(&token).expect("it runs");
        assert_ne!(refused.code(), 0, "{damage:?}: {refused}");
        assert!(!refused.stderr.contains("join-tokens"), "{damage:?}: the caller learns nothing of it: {refused}");
        let events = journal::events(&host).expect("the events are there");
        let told = events.iter().skip(known).any(|event| event.text.contains(&path.display().to_string()));
        assert!(told, "{damage:?}: the operator is told: {events:?}");
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        damaged.repair().expect("it is repaired");
    }
    guest.join_with(&token).expect("it runs").succeeded().expect("repaired, it is good");
}

#[test]
fn a_bad_file_of_events_costs_the_lines_that_are_bad() {
    let mut site = Site::served().expect("the certificate is served");
    let path = site.host.root().join("var/lib/pinion/local/events.jsonl");
    for damage in [Damage::CutOff, Damage::NotUtf8, Damage::Enormous, Damage::Empty] {
        site.host.stop().expect("the controller stops");
        // Nobody repairs it: the file is history, and goes on.
        Damaged::new(&path, damage).expect("damaged");
        let before = fs::read(&path).expect("it can be read");
        site.host.start_again().unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        let told = journal::wait_event(&site.host, Kind::Controller, &["listens on"]);
        told.unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        let kept = [path.clone(), path.with_extension("1.jsonl")];
        let kept = kept.iter().any(|path| fs::read(path).is_ok_and(|now| now.starts_with(&before)));
        assert!(kept, "{damage:?}: what was there is there");
    }
    site.guest.wait_linked(&site.host).expect("linked");
    site.host.ensure(&[], "served").expect("served");
}

#[test]
fn events_that_cannot_be_written_stop_nothing_and_are_written_when_they_can_be() {
    let mut site = Site::served().expect("the certificate is served");
    let path = site.host.root().join("var/lib/pinion/local/events.jsonl");
    site.host.stop().expect("the controller stops");
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).expect("moved");
    fs::create_dir(&path).expect("made");
    site.host.start_again().expect("the controller starts");
    site.guest.wait_linked(&site.host).expect("linked");
    site.host.renew(&[], "served").expect("renewals go on");
    let words = site.host.pinion(&["status"]).expect("pinion runs").stdout;
    assert!(words.starts_with("host: ") && words.contains(&path.display().to_string()), "told first: {words}");
    let asked = site.host.pinion(&["events"]).expect("pinion runs");
    assert!(asked.stdout.contains("signed web@1001") && asked.stdout.contains("cannot read"), "{asked}");

    fs::remove_dir(&path).expect("removed");
    let told = wait::until("no trouble", PATIENCE, || match site.host.status() {
        Ok(status) if status.troubles.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    told.expect("it is tried again by itself");
    let written = fs::read_to_string(&path).expect("the file is there");
    assert!(written.contains("listens on") && written.contains("signed web@1001"), "nothing was lost: {written}");
}

#[test]
fn a_host_without_any_file_starts_with_what_is_usual() {
    let empty = tempfile::tempdir().expect("a directory");
    fs::create_dir_all(empty.path().join("etc/pinion")).expect("a directory");
    let toml = "listen = \"127.0.0.1:0\"\n[web]\nenabled = false\n";
    fs::write(empty.path().join("etc/pinion/controller.toml"), toml).expect("a file");
    let mut command = std::process::Command::new(pinion_tests::program::own("pinion").expect("it is built"));
    command.arg("--root").arg(empty.path()).arg("serve");
    let log = empty.path().join("log");
    let mut serve = process::Process::spawn("pinion serve", &mut command, &log).expect("it starts");
    wait::until("the socket", PATIENCE, || {
        if Path::new(&empty.path().join("run/pinion/controller.sock")).exists() {
            Ok(())
        } else {
            Err(serve.log_tail())
        }
    })
    .expect("it comes up");
    serve.stop().expect("it stops in order");
}

fn serve_to_its_end(host: &Host) -> Finished {
    let mut serve = host.command(&["serve"]).expect("pinion is built");
    process::run(&mut serve, b"", PATIENCE).expect("it ends by itself")
}

/// What is said at the end; before it there may be lines of the log.
fn complaint(finished: &Finished) -> String {
    let at = finished.stderr.find("pinion: ").unwrap_or(0);
    finished.stderr[at..].chars().take(600).collect()
}
