//! Agents of a version that cannot be asked what `pinion discover` and `pinion doctor` ask: that is told in a line for each,
//! at once, and such an agent is sent nothing that it would not understand. What it does not report is not shown.

use std::time::{Duration, Instant};

use pinion_proto::{
    key::KeyAlgorithm,
    message::ToAgent,
    report::{GuestFacts, Held, PlacementReport},
    stage::Stage,
};
use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
};

use serde_json::json;

use super::rogue_agent::{Rogue, csr, requested};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_from_before_is_told_as_that_in_place_of_an_answer() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let _guest = Guest::join(&host, 1001).expect("a guest");
    let earlier = Rogue::join(&host, "1002").await;
    let facts = GuestFacts { agent_version: "0.1.0-before".into(), examines: false, ..GuestFacts::default() };
    let mut wire = earlier.dial().await.expect("dialled").link_as(facts, 0).await.expect("linked");
    let line = "its agent is of version 0.1.0-before, which cannot be asked this: upgrade it";

    let began = Instant::now();
    let run = |arguments: &[&str]| host.pinion(arguments).expect("it runs");
    // Tables are wrapped.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let found = run(&["discover"]);
    assert!(found.code() == 0 && words(&found.stdout).contains(&format!("guest 1002: {line}")), "{found}");
    let alone = run(&["discover", "--guest", "1002", "--manifest"]);
    assert!(alone.code() == 0 && words(&alone.stderr).contains(&format!("guest 1002: {line}")), "{alone}");
    let said = words(&run(&["doctor"]).stdout);
    assert!(said.contains(&format!("skipped In 1002: {line}.")), "{said}");
    assert!(said.contains("In 1001:") || said.contains("found nothing wrong in 1001."), "the other is asked: {said}");
    assert!(began.elapsed() < Duration::from_secs(20), "nobody waits for it: {:?}", began.elapsed());
    // The controller has asked it nothing, which its end shows.
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        while let Some(message) = wire.hear().await {
            heard.push(message);
        }
        heard
    });
    drop(host);
    let heard = heard.await.expect("it does not panic");
    assert!(heard.iter().all(|message| !matches!(message, ToAgent::Examine(..))), "{heard:?}");
}

/// An agent that reports stages and says nothing of its own steps: what the controller saw itself is shown.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_agent_from_before_the_timing_shows_what_is_known() {
    let certificates = json!([{ "name": "web", "common_name": "web.example", "placements": [{ "guest": 1001,
        "files": { "cert": { "path": "/etc/ssl/web.crt" }, "key": { "path": "/etc/ssl/web.key" } } }] }]);
    let host = Host::start(&HostOptions::embedded(&certificates)).expect("a host");
    let mut wire = Rogue::join(&host, "1001").await.link().await;
    let generation = wire.ordered("web", 1).await.ordered.expect("ordered");
    assert!(wire.report(requested("web", generation, csr(KeyAlgorithm::EcdsaP256, &["web.example"]))).await);
    let delivery = loop {
        if let ToAgent::Delivery(delivery) = wire.hear().await.expect("the link stays") {
            break delivery;
        }
    };
    let held = Held {
        generation,
        leaf: delivery.chain.leaf().clone(),
        issuer: delivery.issuer.clone(),
        common_name: Some("web.example".parse().expect("a name")),
        root: Some(delivery.root.fingerprint()),
        chain_ends: Some(delivery.chain.expires()),
        adopted: false,
    };
    let report = |stage| PlacementReport {
        last_generation: generation,
        held: Some(held.clone()),
        stage,
        ..PlacementReport::nothing("web".parse().expect("a name"))
    };
    let timing = || host.pinion(&["explain", "web", "--timing"]).expect("it runs").stdout;
    assert!(wire.report(report(Stage::Installed)).await);
    host.wait_placement("web@1001", |placement| placement.stage == Stage::Installed).expect("installed");
    assert!(timing().contains(&format!("generation {generation} is under way for ")), "{}", timing());
    assert!(wire.report(report(Stage::Served)).await);
    host.wait_placement("web@1001", |placement| placement.stage == Stage::Served).expect("served");
    let told = timing();
    for part in ["took ", "its agent does not say how long its own steps took", "guest: asked for a request"] {
        assert!(told.contains(part), "{part:?} in {told}");
    }
    assert!(!told.contains("guest: files written"), "{told}");
}
