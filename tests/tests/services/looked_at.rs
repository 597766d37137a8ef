//! Services that answer, but not to a plain TLS handshake: each is spoken to as it wants, and what is in the way is said.

use std::time::Duration;

use pinion_proto::stage::{Halt, Stage, Trouble};
use pinion_tests::{
    guest::GuestOptions,
    host::Host,
    nginx::Nginx,
    outage::{Before, Client},
    port::Port,
    site,
};
use serde_json::{Value, json};

use super::{
    daemons,
    several::{counted, place},
};

fn options(units: &[&str]) -> GuestOptions {
    let soon = Duration::from_millis(200);
    let mut options = GuestOptions { check_every: Some(soon), retry_max: soon, ..GuestOptions::default() };
    options.units.extend(units.iter().map(|unit| format!("{unit}.service")));
    options
}

fn order(host: &Host, placements: &[(&str, &Value)]) {
    let certificate = |(name, placement): &(&str, &Value)| json!({ "name": name, "common_name": format!("{name}.internal.example"), "placements": [placement] });
    let all: Vec<Value> = placements.iter().map(certificate).collect();
    host.write_manifest(&site::manifest(json!(all))).expect("written");
}

/// Waits until this is in the way, and nobody is told to start the service.
fn in_the_way(host: &Host, name: &str, cause: &str) -> Trouble {
    let held = host.wait_placement(&format!("{name}@1001"), |found| {
        found.trouble.as_ref().is_some_and(|trouble| trouble.cause.contains(cause))
    });
    let trouble = held.unwrap_or_else(|error| panic!("{error:#}")).trouble.expect("a trouble");
    assert!(trouble.halt == Halt::Waiting && !trouble.remedy.contains("start the service"), "{trouble}");
    assert!(trouble.cause.contains("something answers there and does not speak TLS as expected"), "{trouble}");
    trouble
}

#[test]
fn databases_directories_and_file_servers_turn_to_tls_in_their_own_ways() {
    let (host, guest) = place(&options(&["mariadb", "slapd", "vsftpd"]));
    let ports = [(); 3].map(|()| Port::reserve().expect("a port"));
    let pair = |name: &str| match name {
        "db" => ("/etc/ssl/db/db.crt", "/etc/ssl/db/db.key"),
        "ldap" => ("/etc/ssl/ldap/ldap.crt", "/etc/ssl/ldap/ldap.key"),
        _ => ("/etc/ssl/ftp/ftp.crt", "/etc/ssl/ftp/ftp.key"),
    };
    let units = [
        daemons::mariadb(&guest, pair("db"), &ports[0]).expect("mariadb is installed"),
        daemons::slapd(&guest, pair("ldap"), &ports[1]).expect("slapd is installed"),
        daemons::vsftpd(&guest, pair("ftp"), &ports[2]).expect("vsftpd is installed"),
    ];
    let servers = [("db", "mariadb", Some("mysql")), ("ldap", "slapd", Some("ldap")), ("ftp", "vsftpd", Some("ftp"))];
    let placements = |starttls: bool| {
        let all = servers.iter().zip(&ports).map(|((name, unit, protocol), port)| {
            let (certificate, key) = pair(name);
            let mut probe = json!({ "connect": port.address() });
            if let (true, Some(protocol)) = (starttls, protocol) {
                probe["starttls"] = json!(protocol);
            }
            let placement = json!({ "guest": 1001, "probe": probe, "reload": { "restart": format!("{unit}.service") },
                "files": { "fullchain": { "path": certificate }, "key": { "path": key } } });
            (*name, placement)
        });
        all.collect::<Vec<_>>()
    };
    let ordered = |starttls: bool| {
        let all = placements(starttls);
        order(&host, &all.iter().map(|(name, placement)| (*name, placement)).collect::<Vec<_>>());
    };
    ordered(false);
    host.ensure(&[], "installed").expect("installed");
    for unit in &units {
        unit.start().unwrap_or_else(|error| panic!("{error:#}\n{}", unit.log()));
    }
    for (name, ..) in &servers {
        let trouble = in_the_way(&host, name, "does not speak TLS as expected");
        assert!(
            trouble.remedy.contains("`starttls`") && trouble.remedy.contains("\"probe\": \"nothing\""),
            "{trouble}"
        );
    }
    ordered(true);
    host.ensure(&[], "served").unwrap_or_else(|error| panic!("{error:#}"));
    let before = units.each_ref().map(|unit| unit.restarts());
    let clients = placements(true).into_iter().map(|(name, placement)| {
        (name, Client::of_probe(&placement["probe"], &format!("{name}.internal.example")).expect("a client"))
    });
    let clients: Vec<_> = clients.collect();
    host.renew(&[], "served").unwrap_or_else(|error| panic!("{error:#}"));
    let after = units.each_ref().map(|unit| unit.restarts());
    for (name, client) in clients {
        client.end(&format!("STARTTLS, {name}"), counted((0, 1))).expect("measured");
    }
    assert_eq!(after, before.map(|restarts| restarts + 1), "each once for the renewed one");
}

#[test]
fn a_service_behind_the_proxy_protocol_is_asked_by_it_when_the_manifest_says_so() {
    let (host, guest) = place(&options(&[]));
    let port = Port::reserve().expect("a port");
    let file = "/etc/haproxy/certs/web.pem";
    let unit = daemons::haproxy(&guest, file, &port, "accept-proxy").expect("haproxy is installed");
    let ordered = |version: Option<&str>| {
        let mut probe = json!({ "connect": port.address() });
        if let Some(version) = version {
            probe["proxy_protocol"] = json!(version);
        }
        let placement = json!({ "guest": 1001, "recipe": "haproxy", "probe": probe, "validate": { "hook": "haproxy-test" },
            "files": { "combined": { "path": file } } });
        order(&host, &[("web", &placement)]);
    };
    ordered(None);
    host.ensure(&[], "installed").expect("installed");
    unit.start().expect("haproxy starts");
    let trouble = in_the_way(&host, "web", "does not speak TLS as expected");
    assert!(trouble.remedy.contains("`accept-proxy`") && trouble.remedy.contains("`proxy_protocol`"), "{trouble}");
    for version in ["v1", "v2"] {
        ordered(Some(version));
        host.ensure(&[], "served").unwrap_or_else(|error| panic!("{version}: {error:#}\n{}", unit.log()));
        let reloads = unit.reloads();
        let client = Client::start(port.address(), "web.internal.example", Before::Proxy).expect("a client");
        host.renew(&[], "served").expect("renewed");
        let told = counted((unit.reloads() - reloads, unit.restarts()));
        client.end(&format!("the PROXY protocol, {version}"), told).expect("measured");
    }
    assert_eq!(unit.restarts(), 0, "{}", unit.log());
}

#[test]
fn a_name_that_is_wanted_and_algorithms_that_are_not_shared_are_said_and_an_operator_may_do_without() {
    let (host, guest) = place(&options(&[]));
    const PAIR: (&str, &str) = ("/etc/nginx/ssl/web.crt", "/etc/nginx/ssl/web.key");
    let nginx = Nginx::install(&guest, PAIR.0, PAIR.1).expect("nginx is installed");
    let plain = guest.read("/etc/nginx/nginx.conf").expect("its configuration");
    let with = |settings: &str| {
        let text = plain.replacen("\t\treturn 200", &format!("\t\t{settings}\n\t\treturn 200"), 1);
        guest.write("etc/nginx/nginx.conf", &text).expect("written");
    };
    let mut placement = nginx.placement(&guest);
    placement["files"] = json!({ "fullchain": { "path": PAIR.0 }, "key": { "path": PAIR.1 } });
    order(&host, &[("web", &placement)]);
    host.ensure(&[], "installed").expect("installed");
    // The default server refuses every name that it does not know.
    let reject =
        format!("\tserver {{ listen {} ssl default_server; ssl_reject_handshake on; }}\n\tserver {{", nginx.address());
    let named = plain.replacen("\t\treturn 200", "\t\tserver_name other.internal.example;\n\t\treturn 200", 1);
    guest.write("etc/nginx/nginx.conf", &named.replacen("\tserver {", &reject, 1)).expect("written");
    nginx.unit().start().unwrap_or_else(|error| panic!("{error:#}"));
    let trouble = in_the_way(&host, "web", "no certificate for web.internal.example");
    assert!(trouble.remedy.contains("`server_name`"), "{trouble}");
    placement["probe"]["server_name"] = json!("other.internal.example");
    order(&host, &[("web", &placement)]);
    host.ensure(&[], "served").expect("asked for by the name that it knows");

    for settings in ["ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-SHA;", "ssl_ecdh_curve secp521r1;"] {
        with(settings);
        nginx.unit().stop().and_then(|()| nginx.unit().start()).expect("it starts");
        let trouble = in_the_way(&host, "web", "no TLS version, cipher suite or curve in common");
        assert!(trouble.remedy.contains("\"probe\": \"nothing\""), "{trouble}");
    }
    placement["probe"] = json!("nothing");
    order(&host, &[("web", &placement)]);
    host.ensure(&[], "served").expect("its goal is less");
    let found = host.status().expect("a status").placement("web@1001").cloned().expect("there");
    assert_eq!((found.stage, found.goal, found.trouble), (Stage::Reloaded, Some(Stage::Reloaded), None));
    let shown = host.pinion(&["status"]).expect("it runs").stdout;
    assert!(shown.contains("reloaded (not probed)"), "{shown}");
    assert_eq!(nginx.unit().restarts(), 0, "{}", nginx.unit().log());
}
