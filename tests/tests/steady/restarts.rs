//! Restarts, in any order and in the middle of anything, cost time and nothing else.

use std::{fs, path::PathBuf};

use pinion_controller::events::Kind;
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    journal,
    site::{Site, manifest},
    traces,
    wait::{self, PATIENCE},
};
use serde_json::json;

#[test]
fn forty_disturbances_end_with_everything_served() {
    let mut site = Site::served().expect("the certificate is served");
    // The same every time; PINION_SEED gives others.
    let seed = std::env::var("PINION_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    let (mut asked, mut kills) = (0, 0);
    let mut done = Vec::new();
    for _ in 0..40 {
        let action = random.below(8);
        done.push(action);
        let outcome = match action {
            0 => site.host.restart(),
            1 => {
                kills += 1;
                site.host.kill9().and_then(|()| site.host.start_again())
            }
            2 => site.guest.restart(),
            3 => {
                kills += 1;
                site.guest.kill9().and_then(|()| site.guest.start())
            }
            4 => site.host.write_manifest(&site.manifest()),
            _ => {
                asked += 1;
                // It is asked for and not waited for: what comes next is in the middle of it.
                let short = site.host.pinion(&["ensure", "--renew", "--timeout", "50ms"]);
                short.map(|finished| assert!([0, 3].contains(&finished.code()), "{finished}"))
            }
        };
        outcome.unwrap_or_else(|error| panic!("after {done:?}: {error:#}"));
    }
    let text = format!("seed {seed}, {asked} renewals, {kills} kills: {done:?}");
    site.guest.wait_linked(&site.host).expect(&text);
    site.host.ensure(&[], "served").expect(&text);
    let serial = site.serial().expect(&text);

    // A renewal that is asked for while one is under way is the same one; and one whose certificate was lost with
    // a process that was killed before it had written it down is signed once more.
    let signed = journal::issued(&site.host, Site::PLACEMENT).expect("the events are there");
    assert!(signed.contains(&serial), "{text}: {serial} is not among {signed:?}");
    assert!(signed.len() <= 1 + asked + kills, "{text}: {} certificates were signed", signed.len());

    let (files, reloads) = (traces::of(&site.guest.path("/etc/ssl")).expect("files"), site.server.unit().reloads());
    site.host.ensure(&[], "served").expect(&text);
    assert_eq!(traces::of(&site.guest.path("/etc/ssl")).expect("files"), files);
    assert_eq!(site.server.unit().reloads(), reloads);
    assert_eq!(site.serial().expect(&text), serial);
    assert_eq!(site.issued().expect("the events are there"), signed.len());
}

#[test]
fn a_renewal_that_was_asked_for_outlives_the_controller() {
    let mut site = Site::served().expect("the certificate is served");
    for killed in [false, true] {
        let generation = |site: &Site| {
            let status = site.host.status().expect("the controller answers");
            status.placement(Site::PLACEMENT).and_then(|placement| placement.generation).expect("it is installed")
        };
        let before = generation(&site);
        site.guest.stop().expect("the agent stops");
        let asked = site.host.pinion(&["ensure", "--renew", "--timeout", "50ms"]).expect("pinion runs");
        assert_eq!(asked.code(), 3, "{asked}");
        if killed {
            let known = site.host.root().join("var/lib/pinion/local/reports/1001.json");
            let wanted = format!("\"renew_above\":{before}");
            wait::until("the wish to be written down", PATIENCE, || match fs::read_to_string(&known) {
                Ok(text) if text.contains(&wanted) => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .expect("it is written down");
            site.host.kill9().expect("killed");
            site.host.start_again().expect("started");
        } else {
            site.host.restart().expect("restarted");
        }
        site.guest.start().expect("the agent starts");
        site.host.wait_placement(Site::PLACEMENT, |now| now.generation > Some(before)).expect("it is renewed");
        site.host.ensure(&[], "served").expect("served");
        assert_eq!(generation(&site), before + 1);
    }
}

#[test]
fn a_controller_killed_right_after_the_installation_signs_nothing_anew() {
    let mut site = Site::served().expect("the certificate is served");
    for _ in 0..3 {
        site.host.renew(&[], "installed").expect("installed");
        let issued = site.issued().expect("the events are there");
        site.host.kill9().expect("killed");
        site.host.start_again().expect("started");
        site.guest.wait_linked(&site.host).expect("linked");
        site.host.ensure(&[], "served").expect("served");
        site.serial().expect("all agree");
        assert_eq!(site.issued().expect("the events are there"), issued);
    }
}

#[test]
fn an_agent_killed_while_its_hook_hangs_goes_on_with_the_same_certificate() {
    let mut slow = Slow::start();
    slow.wait_hanging(1);
    slow.guest.kill9().expect("killed");
    slow.guest.start().expect("started");
    slow.finish_with_what_was_signed_first();
}

#[test]
fn both_killed_while_a_hook_hangs_go_on_with_the_same_certificate() {
    let mut slow = Slow::start();
    slow.wait_hanging(1);
    slow.host.kill9().expect("killed");
    slow.guest.kill9().expect("killed");
    slow.guest.start().expect("started");
    slow.host.start_again().expect("started");
    slow.finish_with_what_was_signed_first();
}

#[test]
fn an_orderly_restart_issues_nothing_and_reloads_nothing() {
    let mut site = Site::served().expect("the certificate is served");
    let (issued, serial) = (site.issued().expect("the events are there"), site.serial().expect("all agree"));
    let before = (traces::of(&site.guest.path("/etc/ssl")).expect("files"), site.server.unit().reloads());
    for agent_first in [true, false] {
        if agent_first {
            site.guest.restart().expect("the agent restarts");
            site.host.restart().expect("the controller restarts");
        } else {
            site.host.restart().expect("the controller restarts");
            site.guest.restart().expect("the agent restarts");
        }
        site.guest.wait_linked(&site.host).expect("linked");
        site.host.ensure(&[], "served").expect("served");
    }
    let after = (traces::of(&site.guest.path("/etc/ssl")).expect("files"), site.server.unit().reloads());
    assert_eq!(before, after);
    assert_eq!((site.issued().expect("the events are there"), site.serial().expect("all agree")), (issued, serial));
}

/// A guest whose reload hook hangs as long as a file is there.
struct Slow {
    guest: Guest,
    host: Host,
    hold: PathBuf,
}

impl Slow {
    fn start() -> Self {
        let guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest");
        // It ends when the guest's directory goes, whoever started it.
        let script = "#!/bin/sh\necho \"$PINION_GENERATION\" >>\"$PINION_ROOT/hook.log\"\n\
                      while [ -e \"$PINION_ROOT/hold\" ]; do sleep 0.05; done\n";
        guest.write_hook("slow", script).expect("a hook");
        guest.write("hold", "").expect("a file");
        let host = Host::start(&HostOptions::default()).expect("a host");
        let mut slow = Self { hold: guest.path("/hold"), guest, host };
        let token = slow.host.token("1001").expect("a token");
        slow.guest.join_with(&token).and_then(pinion_tests::process::Finished::succeeded).expect("joined");
        slow.guest.start().expect("started");
        slow.guest.wait_linked(&slow.host).expect("linked");
        let certificate = json!({ "name": "web", "common_name": Site::NAME, "placements": [{
            "guest": 1001,
            "files": { "fullchain": { "path": Site::FULLCHAIN }, "key": { "path": Site::KEY } },
            "reload": { "hook": "slow" },
        }] });
        slow.host.write_manifest(&manifest(json!([certificate]))).expect("the manifest is written");
        slow
    }

    /// Waits until the hook has been started so often.
    fn wait_hanging(&self, times: usize) {
        wait::until("the hook to run", PATIENCE, || match self.guest.read("/hook.log") {
            Ok(log) if log.lines().count() >= times => Ok(()),
            Ok(log) => Err(log),
            Err(error) => Err(format!("{error:#}")),
        })
        .expect("the hook runs");
    }

    fn finish_with_what_was_signed_first(mut self) {
        self.wait_hanging(2);
        fs::remove_file(&self.hold).expect("the hook is let go");
        self.guest.wait_linked(&self.host).expect("linked");
        self.host.ensure(&[], "reloaded").expect("reloaded");
        let signed = journal::issued(&self.host, "web@1001").expect("the events are there");
        let status = self.host.status().expect("the controller answers");
        let held = status.placement("web@1001").and_then(|placement| placement.serial.clone());
        assert_eq!((signed.len(), signed.first()), (1, held.as_ref()), "{signed:?}");
        let pem = self.guest.read(Site::FULLCHAIN).expect("the chain is there");
        assert_eq!(Some(pinion_tests::openssl::serial(&pem).expect("a certificate")), held);
        let stages = journal::events(&self.host).expect("the events are there");
        assert!(stages.iter().any(|event| event.kind == Kind::Stage && event.text == "web@1001 is reloaded"));
    }
}

/// SplitMix64: small, and the same for ever.
struct Random(u64);

impl Random {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
