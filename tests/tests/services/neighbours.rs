//! nginx with more certificates than one on its port: which is asked for, and whom it disturbs when another is shown.

use std::time::Duration;

use pinion_proto::stage::{Halt, Stage};
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    look,
    nginx::Nginx,
    outage::{Before, Client},
    process::Finished,
    site,
};
use serde_json::{Value, json};

use super::several::counted;

/// The certificate's and the key's path.
type Pair = (&'static str, &'static str);

const MINE: Pair = ("/etc/nginx/ssl/mine.crt", "/etc/nginx/ssl/mine.key");
const OTHER: Pair = ("/etc/nginx/ssl/other.crt", "/etc/nginx/ssl/other.key");
const ROOT: &str = "/etc/nginx/ssl/root.crt";

fn place() -> (Host, Guest, Nginx) {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let soon = Duration::from_millis(200);
    let options = GuestOptions { check_every: Some(soon), retry_max: soon, ..GuestOptions::default() };
    let mut guest = Guest::prepare("1001", &options).expect("a guest");
    guest.join_with(&host.token("1001").expect("a token")).and_then(Finished::succeeded).expect("joined");
    guest.start().expect("started");
    guest.wait_linked(&host).expect("linked");
    let nginx = Nginx::install(&guest, MINE.0, MINE.1).expect("nginx is installed");
    (host, guest, nginx)
}

/// Adds something to nginx's configuration.
fn configure(guest: &Guest, before: &str, added: &str) {
    let text = guest.read("/etc/nginx/nginx.conf").expect("its configuration");
    let added =
        added.replace("/etc/", &format!("{}/etc/", guest.path("/").display().to_string().trim_end_matches('/')));
    guest.write("etc/nginx/nginx.conf", &text.replacen(before, &format!("{added}{before}"), 1)).expect("written");
}

fn placement(nginx: &Nginx, guest: &Guest, pair: Pair, ca: &str) -> Value {
    let mut placement = nginx.placement(guest);
    placement["files"] = json!({ "fullchain": { "path": pair.0 }, "key": { "path": pair.1 }, "ca": { "path": ca } });
    placement
}

#[test]
fn a_pair_of_each_kind_of_key_is_seen_on_one_port() {
    let (host, guest, nginx) = place();
    let second = format!("\t\tssl_certificate {};\n\t\tssl_certificate_key {};\n", OTHER.0, OTHER.1);
    configure(&guest, "\t\treturn 200", &second);
    let certificate = |name: &str, algorithm: &str, pair: Pair, ca: &str| {
        json!({ "name": name, "common_name": "web.internal.example", "key": { "algorithm": algorithm },
                "placements": [placement(&nginx, &guest, pair, ca)] })
    };
    let both = json!([
        certificate("ec", "ecdsa-p256", MINE, ROOT),
        certificate("rsa", "rsa-2048", OTHER, "/etc/nginx/ssl/root2.crt"),
    ]);
    host.write_manifest(&site::manifest(both)).expect("written");
    host.ensure(&[], "installed").expect("installed");
    nginx.unit().start().expect("nginx starts");
    host.ensure(&[], "served").expect("both are seen");
    let reloads = nginx.unit().reloads();
    let client = Client::start(nginx.address(), "web.internal.example", Before::Nothing).expect("a client");
    for _ in 0..2 {
        host.ensure(&[], "served").expect("both are seen");
        host.renew(&[], "served").expect("and both renewed ones");
    }
    let told = counted((nginx.unit().reloads() - reloads, nginx.unit().restarts()));
    client.end("an RSA and an ECDSA pair on one port, two renewals of both", told).expect("measured");
    assert_eq!(nginx.unit().restarts(), 0, "{}", nginx.unit().log());
}

#[test]
fn a_wildcard_that_the_default_server_hides_is_asked_for_by_its_name_and_disturbs_nobody() {
    let (host, guest, nginx) = place();
    Nginx::place_snakeoil(&guest, OTHER.0, OTHER.1).expect("written");
    let default = format!(
        "\tserver {{\n\t\tlisten {} ssl default_server;\n\t\tssl_certificate {};\n\t\tssl_certificate_key {};\n\t}}\n",
        nginx.address(),
        OTHER.0,
        OTHER.1,
    );
    configure(&guest, "\tserver {", &default);
    configure(&guest, "\t\treturn 200", "\t\tserver_name a.apps.internal.example;\n");
    let ordered = |sans: &Value, server_name: Option<&str>| {
        let mut placement = placement(&nginx, &guest, MINE, ROOT);
        if let Some(name) = server_name {
            placement["probe"]["server_name"] = json!(name);
        }
        let wildcard = json!({ "name": "apps", "common_name": "*.apps.internal.example", "sans": sans, "placements": [placement] });
        host.write_manifest(&site::manifest(json!([wildcard]))).expect("written");
    };
    ordered(&json!([]), None);
    host.ensure(&[], "installed").expect("installed");
    nginx.unit().start().expect("nginx starts");
    let hidden = |asked: &str| {
        let held = host.wait_placement("apps@1001", |found| {
            found.trouble.as_ref().is_some_and(|held| held.cause.contains("never was in this place"))
        });
        let trouble = held.expect("it is reported").trouble.expect("a trouble");
        assert!(trouble.halt == Halt::Waiting && trouble.remedy.contains("`server_name`"), "{trouble}");
        assert!(trouble.cause.contains(&format!("asked for {asked}")), "{trouble}");
    };
    hidden("pinion-probe.apps.internal.example");
    let told = nginx.unit().reloads();
    let client = Client::start(nginx.address(), "a.apps.internal.example", Before::Nothing).expect("a client");
    // Each renewal is told once, and none so firmly that nginx is restarted.
    for _ in 0..4 {
        host.renew(&["apps"], "reloaded").expect("renewed");
        hidden("pinion-probe.apps.internal.example");
    }
    assert_eq!((nginx.unit().reloads(), nginx.unit().restarts()), (told + 4, 0), "{}", nginx.unit().log());
    client.end("a wildcard that is not the default server, four renewals", counted((4, 0))).expect("measured");

    ordered(&json!([]), Some("a.apps.internal.example"));
    host.ensure(&["apps"], "served").expect("asked for by the name that the manifest says");
    // And by a name of its own, where it has one.
    ordered(&json!(["a.apps.internal.example"]), None);
    host.ensure(&["apps"], "served").expect("asked for by its other name");
    let serial = host.status().expect("a status").placement("apps@1001").and_then(|found| found.serial.clone());
    let root = guest.path(ROOT);
    look::wait_served(nginx.address(), "a.apps.internal.example", &root, &serial.expect("installed")).expect("served");
    assert_eq!(nginx.unit().restarts(), 0, "{}", nginx.unit().log());
    assert_eq!(host.status().expect("a status").placement("apps@1001").map(|found| found.stage), Some(Stage::Served));
}
