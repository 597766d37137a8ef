//! The host's own agent: Proxmox's web interface, and a shared directory that old consumers read.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
};

use pinion_proto::stage::{Halt, Stage};
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    look, openssl,
    site::manifest,
    tls_server::TlsServer,
};
use serde_json::{Value, json};

const CHAIN: &str = "/srv/share/old/chain.pem";
const KEY: &str = "/srv/share/old/key.pem";

/// A host whose agent allows what a host needs, and nothing that guests are allowed.
fn own_agent(host: &Host) -> Guest {
    let allowed = ["/etc/pve/local", "/etc/pinion/certs", "/srv/share"];
    let options = GuestOptions {
        directories: allowed.map(ToOwned::to_owned).into(),
        units: vec!["pveproxy.service".into()],
        complete: true,
        ..GuestOptions::default()
    };
    let mut own = Guest::prepare("host", &options).expect("the host's own agent");
    // As on Proxmox: the node's directory has a name of its own, and `local` leads there.
    fs::create_dir_all(own.path("/etc/pve/nodes/pve1")).expect("made");
    fs::remove_dir(own.path("/etc/pve/local")).expect("removed");
    symlink("nodes/pve1", own.path("/etc/pve/local")).expect("a link");
    let joined = own.join_with(&host.token("host").expect("a token")).expect("it runs");
    joined.succeeded().expect("joined");
    own.start().expect("started");
    own.wait_linked(host).expect("linked");
    own
}

fn files(fullchain: &str, key: &str) -> Value {
    json!({ "fullchain": { "path": fullchain }, "key": { "path": key } })
}

#[test]
fn the_host_has_its_own_list_and_serves_beside_its_guests() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let own = own_agent(&host);
    let guest = Guest::join(&host, 1001).expect("a guest");
    let (fullchain, key) = ("/etc/pve/local/pveproxy-ssl.pem", "/etc/pve/local/pveproxy-ssl.key");
    let pveproxy = TlsServer::install_as(&own, "pveproxy.service", fullchain, key).expect("built");
    let ca = "/etc/pinion/certs/ca.crt";
    let guests = files("/etc/ssl/old/old.crt", "/etc/ssl/old/old.key");
    host.write_manifest(&manifest(json!([
        { "name": "pve", "common_name": "pve.internal.example", "placements": [{
            "host": true, "recipe": "pveproxy", "files": { "ca": { "path": ca } },
            "probe": { "connect": pveproxy.address() } }] },
        { "name": "old", "common_name": "old.internal.example", "placements": [
            { "host": true, "files": files(CHAIN, KEY) }, { "guest": 1001, "files": guests } ] },
        { "name": "stray", "common_name": "stray.internal.example", "placements": [{
            "host": true, "files": files("/etc/nginx/ssl/stray.crt", "/etc/nginx/ssl/stray.key") }] },
    ])))
    .expect("written");
    host.ensure(&["pve", "old"], "installed").expect("installed");
    pveproxy.unit().start().expect("the web interface starts");
    host.ensure(&["pve", "old"], "served").expect("served");

    let blocked = |trouble: &pinion_proto::stage::Trouble| {
        trouble.halt == Halt::Blocked && trouble.cause.contains("/etc/nginx/ssl")
    };
    let stray = host.wait_placement("stray@host", |placement| placement.trouble.as_ref().is_some_and(blocked));
    assert_eq!(stray.expect("a guest's directory is not the host's").stage, Stage::Pending);
    assert!(!own.path("/etc/nginx/ssl/stray.crt").exists());

    for path in [CHAIN, KEY] {
        let found = fs::symlink_metadata(own.path(path)).expect("there");
        assert!(found.is_file(), "{path} is a file of its own, not a link");
    }
    // An old consumer opens the share's files again and again while they are renewed.
    let (over, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !over.load(SeqCst) {
                for path in [CHAIN, KEY] {
                    let text = fs::read_to_string(own.path(path)).expect("it is there at every moment");
                    let whole = text.starts_with("-----BEGIN ") && text.ends_with("-----\n");
                    assert!(whole, "{path} is whole at every moment");
                }
                opened.fetch_add(1, SeqCst);
            }
        });
        for _ in 0..5 {
            let before = opened.load(SeqCst);
            host.renew(&["pve", "old"], "served").expect("renewed");
            assert!(reader.is_finished() || opened.load(SeqCst) > before, "somebody reads meanwhile");
        }
        over.store(true, SeqCst);
        reader.join().expect("the reader saw whole files only");
    });

    let status = host.status().expect("a status");
    let serial = |name: &str| status.placement(name).and_then(|placement| placement.serial.clone()).expect("held");
    look::wait_served(pveproxy.address(), "pve.internal.example", &own.path(ca), &serial("pve@host")).expect("served");
    assert_eq!(openssl::serial(&own.read(CHAIN).expect("there")).expect("a leaf"), serial("old@host"));
    assert_eq!(
        openssl::serial(&guest.read("/etc/ssl/old/old.crt").expect("there")).expect("a leaf"),
        serial("old@1001")
    );
    assert!(openssl::is_pair(&own.path(CHAIN), &own.path(KEY)).expect("openssl runs"));
}
