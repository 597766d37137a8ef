//! A CA whose intermediate ends before the certificates that it signs: step-ca signs such certificates, and no client
//! accepts them after the intermediate's end.

use pinion_proto::{
    bundle::{certificates_from_pem, certificates_to_pem},
    stage::{Halt, Stage},
};
use pinion_tests::{
    ca::StepCa,
    host::Host,
    journal, openssl,
    outage::{Before, Client},
};
use serde_json::{Value, json};

use super::site::{NAME, PLACEMENT, Site, issuer_of};

/// Due at once in a life of minutes, and after a day in one of 30 days.
fn renewed_early() -> Value {
    json!({ "duration": "30d", "renew_before": "29d" })
}

fn warnings(host: &Host) -> String {
    let checked = host.pinion(&["issuer", "check", "--json"]).expect("pinion runs").succeeded().expect("it could sign");
    let reports: Value = serde_json::from_str(&checked.stdout).expect("JSON");
    let step_ca = reports.as_array().expect("a list").iter().find(|report| report["name"] == "step-ca");
    step_ca.expect("it is there")["check"]["warnings"].to_string()
}

#[test]
fn the_earliest_end_in_the_chain_counts_and_nothing_storms_until_the_authority_is_renewed() {
    let mut ca = StepCa::start().expect("a CA");
    ca.renew_intermediate("0s", "20m").expect("it ends soon");
    let mut site = Site::try_start(issuer_of(&ca), "", renewed_early()).expect("the site starts");
    site.bring_up().expect("the first certificate is served");
    let client = Client::start(site.server.address(), NAME, Before::Nothing).expect("a client");
    let warned = warnings(&site.host);
    assert!(warned.contains("Test Intermediate CA expires at") && warned.contains("ca.json"), "{warned}");

    let seen = site.wait_trouble(Halt::Blocked, "Test Intermediate CA ends at");
    let before = site.installed().expect("installed and served");
    let pem = site.guest.read("/etc/ssl/web/web.crt").expect("a chain");
    let chain = certificates_from_pem(&pem).expect("PEM");
    let [leaf, intermediate] = &chain[..] else { panic!("{} certificates", chain.len()) };
    let end = |der: &[u8]| openssl::not_after(&certificates_to_pem([der])).expect("openssl reads it");
    let ends = end(intermediate);
    assert!(ends < end(leaf), "the leaf outlives its authority");
    assert_eq!((seen.stage, seen.not_after), (Stage::Served, Some(ends)), "{seen:?}");
    let local = site.guest.pinion_agent(&["status", "--json"]).expect("the agent answers").stdout;
    assert!(local.contains(&ends.to_string()), "{local}");
    let trouble = seen.trouble.expect("a trouble");
    assert!(trouble.remedy.contains("pinion ensure web@1001"), "{trouble:?}");

    // Another look costs no signature: it waits for its time.
    site.guest.restart().expect("the agent restarts");
    site.guest.wait_linked(&site.host).expect("linked");
    site.wait_trouble(Halt::Blocked, "Test Intermediate CA ends at");
    assert_eq!(ca.signed(), 2, "the first, and one that is no better");
    assert_eq!(journal::issued(&site.host, PLACEMENT).expect("events").len(), 1, "that one is used nowhere");
    assert_eq!(site.installed().expect("still there"), before);
    assert_eq!(site.server.unit().reloads(), 0);

    ca.renew_intermediate("0s", "87600h").expect("the authority is renewed");
    site.host.ensure(&["web"], "served").expect("somebody asks, so that it is tried at once");
    site.wait_renewed(&before);
    assert_eq!((ca.signed(), site.server.unit().reloads(), site.server.unit().restarts()), (1, 1, 0));
    client.end("an authority that ends first, and is renewed", "1 reload, 0 restarts").expect("measured");
    assert!(!warnings(&site.host).contains("Intermediate"), "{}", warnings(&site.host));
}

#[test]
fn an_expired_authority_blocks_and_the_old_certificate_stays() {
    let mut ca = StepCa::start().expect("a CA");
    let site = Site::served(issuer_of(&ca), "");
    let before = site.installed().expect("installed and served");
    ca.renew_intermediate("-2h", "-1h").expect("it has expired");
    let asked = site.host.pinion(&["ensure", "web", "--renew", "--timeout", "20s"]).expect("pinion runs");
    assert_eq!(asked.code(), 4, "it needs a person: {asked}");
    let seen = site.wait_trouble(Halt::Blocked, "expired");
    assert!(seen.trouble.expect("a trouble").remedy.contains("ca.json"));
    assert_eq!(site.installed().expect("still there"), before);
    ca.renew_intermediate("0s", "87600h").expect("the authority is renewed");
    site.wait_renewed(&before);
    assert_eq!((site.server.unit().reloads(), site.server.unit().restarts()), (1, 0));
}
