//! Any unit, and Proxmox's own web interface.

use std::{fs, io, os::unix::fs::symlink};

use pinion_proto::stage::Halt;
use pinion_tests::{
    guest::{Guest, GuestOptions},
    tls_server::TlsServer,
    wait::{self, PATIENCE},
};
use serde_json::json;

use crate::fixture::{Place, goes_round, guest, placement};

/// As on Proxmox: the node's directory has a name of its own, and `local` leads there.
pub(crate) fn node_directory(guest: &Guest) -> io::Result<()> {
    let local = guest.path("/etc/pve/local");
    fs::create_dir_all(guest.path("/etc/pve/nodes/pve1"))?;
    if local.is_dir() {
        fs::remove_dir(&local)?;
    }
    symlink("nodes/pve1", &local)
}

#[test]
fn the_placement_says_which_unit_and_how() {
    let guest = guest().expect("a guest");
    let file = |end: &str| format!("/etc/pinion/certs/web.internal.example.{end}");
    let server = TlsServer::install(&guest, &file("crt"), &file("key")).expect("built");
    let silent = placement("systemd-unit", json!({ "probe": { "connect": server.address() } }));
    let place = Place::join(guest, server).expect("a place");
    let server = &place.service;
    place.order(&[("web", &silent)]).expect("a manifest");
    // The recipe knows of no unit by itself, and says so.
    wait::until("the placement to be blocked", PATIENCE, || {
        let status = place.host.status().map_err(|e| format!("{e:#}"))?;
        match status.placement("web@1001").and_then(|placement| placement.trouble.clone()) {
            Some(trouble) if trouble.halt == Halt::Blocked && trouble.remedy.contains("\"restart\"") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .expect("blocked");
    for verb in ["restart", "reload"] {
        let telling = json!({ "reload": { verb: "tls-server.service" }, "probe": { "connect": server.address() } });
        place.order(&[("web", &placement("systemd-unit", telling))]).expect("a manifest");
        place.host.ensure(&["web"], "installed").expect("installed");
        goes_round(&place, "web", server.unit(), server.address(), &file("ca.crt")).expect("served");
    }
    assert!(server.unit().restarts() > 0 && server.unit().reloads() > 0);
}

#[test]
fn the_hosts_own_agent_serves_its_web_interface_when_the_host_allows_it() {
    let mut options = GuestOptions::default();
    let refused = Guest::prepare("1001", &options).expect("a guest");
    node_directory(&refused).expect("a node's directory");
    let place = Place::join(refused, ()).expect("a place");
    place.order(&[("pve", &placement("pveproxy", json!({})))]).expect("a manifest");
    let blocked = place.host.pinion(&["ensure", "pve", "--until", "installed", "--timeout", "20s"]).expect("an answer");
    assert!(blocked.code() == 4 && format!("{blocked}").contains("/etc/pve/local"), "{blocked}");
    drop(place);

    options.directories.push("/etc/pve/local".into());
    options.units.push("pveproxy.service".into());
    let guest = Guest::prepare("1001", &options).expect("a guest");
    node_directory(&guest).expect("a node's directory");
    let (fullchain, key) = ("/etc/pve/local/pveproxy-ssl.pem", "/etc/pve/local/pveproxy-ssl.key");
    let pveproxy = TlsServer::install_as(&guest, "pveproxy.service", fullchain, key).expect("built");
    let more = json!({ "files": { "ca": { "path": "/etc/ssl/ca.crt" } }, "probe": { "connect": pveproxy.address() } });
    let place = Place::join(guest, pveproxy).expect("a place");
    let pveproxy = &place.service;
    place.order(&[("pve", &placement("pveproxy", more))]).expect("a manifest");
    place.host.ensure(&["pve"], "installed").expect("installed");
    goes_round(&place, "pve", pveproxy.unit(), pveproxy.address(), "/etc/ssl/ca.crt").expect("served");
    use std::os::unix::fs::PermissionsExt;
    for name in ["pveproxy-ssl.pem", "pveproxy-ssl.key"] {
        let found = fs::metadata(place.guest.path("/etc/pve/nodes/pve1").join(name)).expect("the file is there");
        assert_eq!(found.permissions().mode() & 0o777, 0o640, "{name}");
    }
}
