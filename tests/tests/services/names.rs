//! Names: what the manifest asks for is in the certificate that is served, of every kind and in any number.

use std::collections::BTreeSet;

use pinion_tests::{
    ca::StepCa,
    guest::Guest,
    host::{Host, HostOptions},
    openssl,
    tls_server::TlsServer,
};
use serde_json::{Value, json};

const NAME: &str = "web.internal.example";

/// The names that OpenSSL sees in what is served after `ensure`.
fn served_names(options: HostOptions, sans: &[String]) -> BTreeSet<String> {
    let host = Host::start(&options).expect("a host");
    let guest = Guest::join(&host, 1001).expect("a guest");
    let server = TlsServer::install(&guest, "/etc/ssl/web.crt", "/etc/ssl/web.key").expect("tls-server is built");
    let mut manifest: Value = options.manifest;
    manifest["certificates"] = json!([
        { "name": "web", "common_name": NAME, "sans": sans, "placements": [server.placement(&guest, "reload")] },
    ]);
    host.write_manifest(&manifest).expect("written");
    host.ensure(&["web"], "installed").expect("installed");
    server.unit().start().expect("it starts");
    host.ensure(&["web"], "served").expect("served");
    let seen = openssl::s_client(server.address(), NAME, &guest.path(&server.ca())).expect("it answers");
    assert!(seen.verified, "{}", seen.output);
    let text = openssl::text(&seen.leaf).expect("openssl reads it");
    assert!(text.contains(&format!("Subject: CN = {NAME}")), "{text}");
    let names = openssl::subject_alt_names(&seen.leaf).expect("it has names");
    let set: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(set.len(), names.len(), "none twice: {names:?}");
    set
}

/// Every kind of name as the manifest has it, and as `openssl x509 -ext subjectAltName` prints it.
const KINDS: [(&str, &str); 12] = [
    ("*.internal.example", "DNS:*.internal.example"),
    ("other.example", "DNS:other.example"),
    ("10.0.0.111", "IP Address:10.0.0.111"),
    ("127.0.0.1", "IP Address:127.0.0.1"),
    ("fd00::17", "IP Address:FD00:0:0:0:0:0:0:17"),
    ("::1", "IP Address:0:0:0:0:0:0:0:1"),
    ("spiffe://internal.example/service/web", "URI:spiffe://internal.example/service/web"),
    ("admin@internal.example", "email:admin@internal.example"),
    // As step-ca writes what people write.
    ("::ffff:10.0.0.5", "IP Address:10.0.0.5"),
    ("HTTP://OK.lan", "URI:http://ok.lan"),
    ("Https://Web.LAN:8443/Path%2fA?X=Y", "URI:https://web.lan:8443/Path%2fA?X=Y"),
    ("uri:URN:Test:X", "URI:urn:Test:X"),
];

fn every_kind_is_served(options: HostOptions) {
    let sans: Vec<_> = KINDS.iter().map(|(asked, _)| (*asked).to_owned()).collect();
    let mut wanted: BTreeSet<_> = KINDS.iter().map(|(_, seen)| (*seen).to_owned()).collect();
    wanted.insert(format!("DNS:{NAME}"));
    assert_eq!(served_names(options, &sans), wanted);
}

#[test]
fn names_of_every_kind_are_served_under_the_embedded_ca() {
    every_kind_is_served(HostOptions::default());
}

#[test]
fn names_of_every_kind_are_served_under_step_ca() {
    let ca = StepCa::start().expect("step-ca is installed");
    every_kind_is_served(HostOptions::step_ca(ca.issuer().expect("a root"), &json!([])));
}

#[test]
fn a_hundred_names_are_served() {
    let sans: Vec<_> = (1..100).map(|number| format!("host-{number}.internal.example")).collect();
    let mut wanted: BTreeSet<_> = sans.iter().map(|name| format!("DNS:{name}")).collect();
    wanted.insert(format!("DNS:{NAME}"));
    assert_eq!(wanted.len(), 100);
    assert_eq!(served_names(HostOptions::default(), &sans), wanted);
}
