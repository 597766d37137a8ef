//! Keys: every algorithm is served, a new one comes when it should, and a shared one is the same everywhere.

use std::collections::BTreeSet;

use pinion_tests::{
    guest::Guest,
    host::{Host, HostOptions},
    look,
    nginx::Nginx,
    openssl,
    tls_server::TlsServer,
};
use serde_json::{Value, json};

const NAME: &str = "web.internal.example";
const FULLCHAIN: &str = "/etc/nginx/ssl/web.crt";
const KEY: &str = "/etc/nginx/ssl/web.key";

fn manifest(certificates: &Value) -> Value {
    json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": certificates })
}

fn serial(host: &Host, placement: &str) -> String {
    let status = host.status().expect("a status");
    let found = status.placement(placement).expect("it is in the status");
    found.serial.clone().expect("it is installed")
}

#[test]
fn nginx_serves_every_key_algorithm_and_changes_from_one_to_the_next() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    let nginx = Nginx::install(&guest, FULLCHAIN, KEY).expect("nginx is installed");
    Nginx::place_snakeoil(&guest, FULLCHAIN, KEY).expect("written");
    nginx.unit().start().expect("nginx starts");
    let root = guest.path("/etc/nginx/ssl/root.crt");
    let mut placement = nginx.placement(&guest);
    placement["files"] = json!({
        "fullchain": { "path": FULLCHAIN }, "key": { "path": KEY }, "ca": { "path": "/etc/nginx/ssl/root.crt" },
    });
    let mut keys = BTreeSet::new();
    // What openssl says of the key (`x509 -text`).
    for (algorithm, words) in [
        ("ecdsa-p256", ["id-ecPublicKey", "prime256v1"]),
        ("ecdsa-p384", ["id-ecPublicKey", "secp384r1"]),
        ("ed25519", ["ED25519", "ED25519 Public-Key"]),
        ("rsa-2048", ["rsaEncryption", "(2048 bit)"]),
        ("rsa-3072", ["rsaEncryption", "(3072 bit)"]),
        ("rsa-4096", ["rsaEncryption", "(4096 bit)"]),
    ] {
        // Only the algorithm differs from what is there, which is reason enough.
        let certificate = json!({
            "name": "web", "common_name": NAME, "key": { "algorithm": algorithm }, "placements": [placement],
        });
        host.write_manifest(&manifest(&json!([certificate]))).expect("written");
        host.ensure(&["web"], "served").expect(algorithm);
        let serial = serial(&host, "web@1001");
        look::wait_served(nginx.address(), NAME, &root, &serial).expect(algorithm);
        let seen = openssl::s_client(nginx.address(), NAME, &root).expect("nginx answers");
        assert!(seen.verified && seen.serial == serial, "{algorithm}: {}", seen.output);
        let text = openssl::text(&seen.leaf).expect("openssl reads it");
        assert!(words.iter().all(|word| text.contains(word)), "{algorithm}: {text}");
        assert!(openssl::is_pair(&guest.path(FULLCHAIN), &guest.path(KEY)).expect("openssl reads both"));
        assert!(keys.insert(openssl::public_key(&seen.leaf).expect("a key")), "{algorithm} has a key of its own");
    }
    assert_eq!(nginx.unit().restarts(), 0, "reloads were enough");
}

#[test]
fn rotation_always_changes_the_key_and_never_keeps_it() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    let certificate = |name: &str, key: Value| {
        json!({ "name": name, "common_name": format!("{name}.internal.example"), "key": key,
                "placements": [{ "guest": 1001, "recipe": "files" }] })
    };
    let certificates = |algorithm: &str| {
        json!([
            certificate("usual", json!({})),
            certificate("always", json!({ "rotation": "always" })),
            certificate("never", json!({ "rotation": "never", "algorithm": algorithm })),
        ])
    };
    let read = |name: &str, end: &str| {
        let path = format!("/etc/pinion/certs/{name}.internal.example.{end}");
        guest.read(&path).expect("the file is there")
    };
    let public = |name: &str| openssl::public_key(&read(name, "crt")).expect("a certificate");
    host.write_manifest(&manifest(&certificates("ecdsa-p256"))).expect("written");
    host.ensure(&[], "reloaded").expect("everything is there");
    let names = ["usual", "always", "never"];
    let mut before = names.map(|name| (serial(&host, &format!("{name}@1001")), public(name), read(name, "key")));
    for _ in 0..2 {
        host.renew(&[], "reloaded").expect("renewed");
        let after = names.map(|name| (serial(&host, &format!("{name}@1001")), public(name), read(name, "key")));
        for ((old, new), name) in before.iter().zip(&after).zip(names) {
            assert_ne!(old.0, new.0, "{name} is another certificate");
            let kept = (old.1 == new.1, old.2 == new.2);
            assert_eq!(kept, (name == "never", name == "never"), "{name}");
        }
        before = after;
    }
    // Another algorithm needs another key.
    host.write_manifest(&manifest(&certificates("ecdsa-p384"))).expect("written");
    host.ensure(&["never"], "reloaded").expect("renewed");
    assert!(openssl::text(&read("never", "crt")).expect("openssl reads it").contains("secp384r1"));
}

#[test]
fn a_shared_certificate_has_one_key_in_all_its_places_through_renewals() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guests = [1001, 1002].map(|vmid| Guest::join(&host, vmid).expect("a guest"));
    let (fullchain, key) = ("/etc/ssl/shared/site.crt", "/etc/ssl/shared/site.key");
    let servers =
        guests.each_ref().map(|guest| TlsServer::install(guest, fullchain, key).expect("tls-server is built"));
    let placements: Vec<_> =
        guests.iter().zip(&servers).map(|(guest, server)| server.placement(guest, "reload")).collect();
    let certificates = json!([{ "name": "site", "common_name": NAME, "shared": true, "placements": placements }]);
    host.write_manifest(&manifest(&certificates)).expect("written");
    host.ensure(&[], "installed").expect("installed in both");
    for server in &servers {
        server.unit().start().expect("it starts");
    }
    host.ensure(&[], "served").expect("served in both");

    let mut seen_before = BTreeSet::new();
    for round in 0..3 {
        if round > 0 {
            host.renew(&[], "served").expect("renewed in both");
        }
        let looks = guests.iter().zip(&servers).map(|(guest, server)| {
            let root = guest.path(&server.ca());
            let serial = serial(&host, &format!("site@{}", guest.name()));
            look::wait_served(server.address(), NAME, &root, &serial).expect("served as `status` says");
            let seen = openssl::s_client(server.address(), NAME, &root).expect("it answers");
            assert!(seen.verified, "{}", seen.output);
            (openssl::public_key(&seen.leaf).expect("a key"), guest.read(key).expect("a key"))
        });
        let looks: Vec<_> = looks.collect();
        assert_eq!(looks[0], looks[1], "round {round}: one key in both");
        assert!(seen_before.insert(looks[0].0.clone()), "round {round}: a new key with every certificate");
    }
}
