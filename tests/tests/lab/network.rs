//! The network under a link: another address, a cut bridge, a firewall; the link comes back by itself.

use std::time::Duration;

use pinion_proto::stage::Stage;
use pinion_tests::{
    lab::{
        Lab, Spec,
        installation::{Installation, LONG, pinion, wait_for},
        network,
        operator::Operator,
    },
    steps::Place,
};
use serde_json::json;

use crate::small_guests::{container, numbered, wait_well};

/// A dead link is noticed within 30 s, and the longest pause between two dials is a minute.
const BACK: Duration = Duration::from_secs(100);

#[test]
fn a_link_survives_what_networks_do() {
    let mut lab = Lab::up(vec![Spec::gateway()]).expect("the lab comes up");
    let manifest = json!({ "version": 1, "defaults": { "issuer": "embedded", "duration": "24h" }, "certificates": [
        { "name": "gateway", "common_name": "nginx.internal.example", "placements": [{ "guest": 101, "recipe": "nginx" }] },
    ] });
    let mut installation = Installation::install(&lab, &manifest, "").expect("installed");
    installation.start(&lab).expect("started");
    served(&lab, &installation, LONG);

    // A firewall in the guest that lets nothing in: the agent dials out.
    network::drop_by_default(&lab, 101).expect("a firewall");
    renewed(&lab, &installation);

    network::change_address(&mut lab, 101, "10.0.0.150/24").expect("another address");
    served(&lab, &installation, BACK);
    renewed(&lab, &installation);

    network::cut(&lab, "vmbr0").expect("cut");
    wait_for(&lab, &installation, "the loss to be noticed", BACK, |status| (!status.is_linked("101")).then_some(()))
        .expect("noticed");
    network::heal(&lab, "vmbr0").expect("healed");
    served(&lab, &installation, BACK);
    renewed(&lab, &installation);
}

#[test]
fn a_guest_whose_firewall_drops_everything_links_with_the_documented_rule() {
    let lab = Lab::up(vec![container(104)]).expect("the lab comes up");
    let mut installation = Installation::install(&lab, &numbered(&[104]), "").expect("installed");
    installation.start(&lab).expect("started");
    wait_well(&lab, &installation, &[104]);
    let chain = |hook: &str| {
        format!(
            "add chain inet filter {hook} {{ type filter hook {hook} priority 0; policy drop; }}\n\
             add rule inet filter {hook} ct state established,related accept\n"
        )
    };
    let rules = format!("add table inet filter\n{}{}", chain("input"), chain("output"));
    lab.exec(104, &["nft", &rules]).and_then(|done| done.succeeded()).expect("a firewall");
    lab.sh(104, "systemctl restart pinion-agent").expect("restarted");
    wait_for(&lab, &installation, "the link to be gone", LONG, |status| (!status.is_linked("104")).then_some(()))
        .expect("it is gone");
    let values = [("GUEST", "104"), ("HOST-ADDRESS", "10.0.0.13")];
    Operator::with(&lab, &mut installation, "proxmox.md", &values)
        .follow("Firewalls", &[Place::Guest])
        .unwrap_or_else(|error| panic!("{error:#}"));
    wait_well(&lab, &installation, &[104]);
}

fn served(lab: &Lab, installation: &Installation, max: Duration) {
    wait_for(lab, installation, "the gateway to be linked and served", max, |status| {
        let placement = status.placement("gateway@101")?;
        (placement.stage == Stage::Served && status.is_linked("101")).then_some(())
    })
    .expect("linked and served");
}

fn renewed(lab: &Lab, installation: &Installation) {
    let finished = pinion(lab, "ensure gateway --renew --timeout 100s").expect("it runs");
    finished.succeeded().unwrap_or_else(|error| panic!("{error:#}\n{}", installation.logged()));
}
