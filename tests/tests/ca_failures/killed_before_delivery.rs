//! A controller that ends between the CA's signature and its delivery: what was signed is delivered by the next one,
//! and the CA, whose own log counts, is not asked twice.

use std::{fs, path::PathBuf};

use pinion_controller::events::Kind;
use pinion_proto::stage::Stage;
use pinion_tests::{
    ca::StepCa,
    damage::{Damage, Damaged},
    journal,
    wait::{self, PATIENCE},
};
use rustix::process::Signal;
use serde_json::json;

use super::{
    proxy::Proxy,
    site::{Installed, PLACEMENT, Site, issuer},
};

/// What ends before the delivery has come through.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Agent {
    Killed,
    Frozen,
}

/// A site with a first certificate served, and a CA behind a proxy.
struct Setup {
    ca: StepCa,
    proxy: Proxy,
    site: Site,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_is_delivered_after_a_kill_and_signed_once() {
    for fields in [json!({}), json!({ "shared": true }), json!({ "key": { "rotation": "never" } })] {
        for agent in [Agent::Killed, Agent::Frozen] {
            let mut setup = Setup::start(&fields).await;
            let before = setup.site.installed().expect("installed and served");
            setup.signed_and_not_delivered(agent);
            setup.site.host.kill9().expect("the controller is killed");
            assert_eq!(setup.kept().len(), 1, "{fields}, {agent:?}: it is written down");
            setup.site.host.start_again().expect("the controller starts");
            setup.bring_back(agent);
            setup.expect_served_once(&before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_stopped_waits_for_the_answer_and_delivers_it_after_the_start() {
    let mut setup = Setup::start(&json!({})).await;
    let before = setup.site.installed().expect("installed and served");
    setup.ask_and_hold();
    let controller = setup.site.host.controller().expect("it runs");
    controller.signal(Signal::TERM).expect("it is told to stop");
    wait::until("the links to end", PATIENCE, || {
        let log = setup.site.guest.agent().expect("it runs").log();
        if log.contains("No link to the controller") { Ok(()) } else { Err(log) }
    })
    .expect("it has begun to stop");
    setup.proxy.lead_to(&setup.ca.url());
    setup.site.host.stop().expect("it ends in order");
    assert_eq!(setup.kept().len(), 1, "it is written down");
    setup.site.host.start_again().expect("the controller starts");
    setup.expect_served_once(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_for_another_request_is_not_delivered() {
    let mut setup = Setup::start(&json!({})).await;
    let before = setup.site.installed().expect("installed and served");
    setup.signed_and_not_delivered(Agent::Killed);
    setup.site.host.kill9().expect("the controller is killed");
    // The guest asks anew, with the same number and another key: its record was put back to what it was before.
    let ledger = setup.site.guest.path("/var/lib/pinion-agent/placements/web.json");
    let mut record: serde_json::Value =
        serde_json::from_slice(&fs::read(&ledger).expect("the record")).expect("a document");
    let last = record["placement"]["last_generation"].as_u64().expect("a number");
    record["placement"]["order"] = serde_json::Value::Null;
    record["placement"]["last_generation"] = (last - 1).into();
    fs::write(&ledger, record.to_string()).expect("the record is put back");
    setup.site.host.start_again().expect("the controller starts");
    setup.site.guest.start().expect("the agent starts");
    setup.site.wait_renewed(&before);
    assert_eq!(setup.ca.signed(), 3, "the first, the one for the lost key, and the one for the new key");
    setup.expect_nothing_kept();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_undelivered_certificate_is_reported_and_left_on_disk() {
    let mut setup = Setup::start(&json!({})).await;
    let before = setup.site.installed().expect("installed and served");
    setup.signed_and_not_delivered(Agent::Killed);
    setup.site.host.kill9().expect("the controller is killed");
    let kept = setup.kept();
    let [document] = kept.as_slice() else { panic!("one document: {kept:?}") };
    for damage in Damage::ALL {
        let damaged = Damaged::new(document, damage).expect("damaged");
        setup.site.host.start_again().unwrap_or_else(|error| panic!("{damage:?}: {error:#}"));
        let name = document.display().to_string();
        journal::wait_event(&setup.site.host, Kind::Failed, &["Cannot read an undelivered certificate", &name])
            .expect("it is told");
        assert!(damaged.is_untouched().expect("it is there"), "{damage:?}: it was written to");
        setup.site.host.stop().expect("the controller stops");
        damaged.repair().expect("it is repaired");
    }
    setup.site.host.start_again().expect("the controller starts");
    setup.bring_back(Agent::Killed);
    setup.expect_served_once(&before);
}

impl Setup {
    async fn start(fields: &serde_json::Value) -> Self {
        let ca = StepCa::start().expect("a CA");
        let proxy = Proxy::to(&ca.url()).await;
        let found = issuer(&proxy.url(), ca.fingerprint().expect("a root"), &ca.password_file());
        let site = Site::try_start(found, "", fields.clone()).expect("the site starts");
        site.bring_up().expect("the first certificate is served");
        Self { ca, proxy, site }
    }

    /// A renewal is asked for, the guest has made its request, and the CA has not heard of it.
    fn ask_and_hold(&self) {
        self.proxy.hold();
        self.site.ask_in_vain();
        wait::until("the controller to ask the CA", PATIENCE, || {
            let ensured = self.site.host.pinion(&["ensure", "--json", "--timeout", "50ms"]);
            let said = ensured.map_err(|error| format!("{error:#}"))?.stdout;
            if said.contains("being signed") { Ok(()) } else { Err(said) }
        })
        .expect("it is under way");
    }

    fn signed_and_not_delivered(&mut self, agent: Agent) {
        self.ask_and_hold();
        match agent {
            Agent::Killed => self.site.guest.kill9().expect("the agent is killed"),
            Agent::Frozen => self.site.guest.agent().expect("it runs").signal(Signal::STOP).expect("it is frozen"),
        }
        self.proxy.lead_to(&self.ca.url());
        wait::until("the second signature", PATIENCE, || match journal::issued(&self.site.host, PLACEMENT) {
            Ok(issued) if issued.len() == 2 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .expect("it is signed");
        // The event comes first: a kill in between would cost one more signature, which is told.
        wait::until("what was signed to be written down", PATIENCE, || match self.kept() {
            kept if kept.len() == 1 => Ok(()),
            kept => Err(format!("{kept:?}")),
        })
        .expect("it is written down");
    }

    fn bring_back(&mut self, agent: Agent) {
        match agent {
            Agent::Killed => self.site.guest.start().expect("the agent starts"),
            Agent::Frozen => self.site.guest.agent().expect("it runs").signal(Signal::CONT).expect("it is thawed"),
        }
    }

    fn expect_served_once(&self, before: &Installed) {
        self.site.wait_renewed(before);
        let held = self.site.host.wait_placement(PLACEMENT, |placement| placement.stage == Stage::Served);
        let issued = journal::issued(&self.site.host, PLACEMENT).expect("the events are there");
        assert_eq!(issued.last(), held.expect("it is served").serial.as_ref());
        assert_eq!((issued.len(), self.ca.signed()), (2, 2), "the first, and one renewal");
        self.expect_nothing_kept();
    }

    fn kept(&self) -> Vec<PathBuf> {
        let directory = self.site.host.root().join("var/lib/pinion/local/undelivered");
        let entries = fs::read_dir(directory).into_iter().flatten();
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    fn expect_nothing_kept(&self) {
        wait::until("what was on its way to be forgotten", PATIENCE, || match self.kept() {
            kept if kept.is_empty() => Ok(()),
            kept => Err(format!("{kept:?}")),
        })
        .expect("nothing is left");
    }
}
