//! Guests without systemd: the agent comes in through the channel as everywhere, what starts services there starts it,
//! and it is back when the guest is.

use pinion_proto::stage::Stage;
use pinion_tests::lab::{
    Init, Lab, Spec,
    installation::{Installation, LONG, pinion, wait_for},
};
use serde_json::json;

/// Waits until both guests' nginx serve what they have; their serial numbers.
fn served(lab: &Lab, installation: &Installation) -> Vec<String> {
    wait_for(lab, installation, "both to be linked and served", LONG, |status| {
        let one = |vmid: u32| {
            let placement = status.placement(&format!("gateway@{vmid}"))?;
            let well = placement.stage == Stage::Served && status.is_linked(&vmid.to_string());
            placement.serial.clone().filter(|_| well)
        };
        [104, 105].into_iter().map(one).collect()
    })
    .expect("they are served")
}

fn renewed(lab: &Lab) {
    let finished = pinion(lab, "ensure --renew --until served --timeout 100s").expect("it runs");
    finished.succeeded().expect("both are renewed");
}

#[test]
fn guests_without_systemd_are_enrolled_and_back_after_a_reboot() {
    let lab = Lab::up(vec![
        Spec::without_systemd(104, "openrc", Init::OpenRc),
        Spec::without_systemd(105, "script", Init::Script),
    ])
    .expect("the lab comes up");
    let said = |vmid, words: &[&str]| lab.exec(vmid, words).expect("it runs").succeeded().expect("it succeeds").stdout;
    assert_eq!(said(104, &["rc-status", "--runlevel"]).trim(), "default");
    for vmid in [104, 105] {
        assert_ne!(lab.exec(vmid, &["test", "-e", "/run/systemd/system"]).expect("it runs").code(), 0);
    }

    let manifest = json!({ "version": 1, "defaults": { "issuer": "embedded", "duration": "24h" }, "certificates": [
        { "name": "gateway", "common_name": "nginx.internal.example",
          "placements": [{ "guest": 104, "recipe": "nginx" }, { "guest": 105, "recipe": "nginx" }] },
    ] });
    let mut installation = Installation::install(&lab, &manifest, "").expect("installed");
    installation.start(&lab).expect("started");
    let first = served(&lab, &installation);
    assert!(said(104, &["rc-status", "default"]).contains("pinion-agent"), "it starts with the guest");
    said(104, &["rc-service", "pinion-agent", "status"]);
    renewed(&lab);
    let second = served(&lab, &installation);
    assert!(first.iter().all(|serial| !second.contains(serial)), "{first:?} {second:?}");

    for vmid in [104, 105] {
        lab.reboot(vmid).expect("rebooted");
    }
    assert_eq!(served(&lab, &installation), second, "nothing was issued for it");
    for vmid in [104, 105] {
        let agents = said(vmid, &["sh", "-c", "grep -lx pinion-agent /proc/[0-9]*/comm"]);
        assert_eq!(agents.lines().count(), 1, "agents in guest {vmid}: {agents}");
    }
    // Through the agents that came with the guests.
    renewed(&lab);
    let third = served(&lab, &installation);
    assert!(second.iter().all(|serial| !third.contains(serial)), "{second:?} {third:?}");
}
