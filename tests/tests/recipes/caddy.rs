//! Caddy with a pair of its own, reloaded as its unit does.

use anyhow::Result;
use pinion_tests::{
    guest::Guest,
    port::Port,
    program,
    unit::{ReloadBy, Unit, UnitSpec},
};
use serde_json::json;

use crate::fixture::{Place, goes_round, guest, placement};

/// Where its configuration is in the guest.
pub(crate) const CONFIGURATION: &str = "/etc/caddy/Caddyfile";

/// Caddy as a unit that is told over the port `admin`, and `caddy validate` as the hook `caddy-test`.
pub(crate) fn install(guest: &Guest, port: &Port, admin: &Port) -> Result<Unit> {
    guest.adopt_account("caddy")?;
    let path = |inside: &str| guest.path(inside).display().to_string();
    let caddyfile = format!(
        "{{\n\tadmin {}\n\tauto_https off\n\tservers {{\n\t\tprotocols h1 h2\n\t}}\n\tstorage file_system {}\n}}\n\
         https://web.internal.example:{} {{\n\tbind 127.0.0.1\n\ttls {} {}\n\trespond caddy\n}}\n",
        admin.address(),
        path("/var/lib/caddy"),
        port.number(),
        path("/etc/caddy/certs/web.internal.example.crt"),
        path("/etc/caddy/certs/web.internal.example.key"),
    );
    guest.write(CONFIGURATION, &caddyfile)?;
    let caddy = program::found("caddy")?.display().to_string();
    let config = path(CONFIGURATION);
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|&word| word.to_owned()).collect() };
    let copies = format!("XDG_CONFIG_HOME={}", path("/var/lib/caddy"));
    let test = format!("#!/bin/sh\nexec env {copies} {caddy} validate --config {config} --adapter caddyfile\n");
    guest.write_hook("caddy-test", &test)?;
    let address = admin.address().to_string();
    let spec = UnitSpec {
        name: "caddy.service".into(),
        // It keeps a copy of its configuration where it is told to.
        command: words(&["/usr/bin/env", &copies, &caddy, "run", "--config", &config, "--adapter", "caddyfile"]),
        reload: ReloadBy::Command(words(&[
            &caddy,
            "reload",
            "--config",
            &config,
            "--adapter",
            "caddyfile",
            "--address",
            &address,
            "--force",
        ])),
        listens: port.address(),
    };
    Unit::install(guest, spec)
}

#[test]
fn an_unchanged_caddyfile_reads_the_new_pair() {
    let guest = guest().expect("a guest");
    let (port, admin) = (Port::reserve().expect("a port"), Port::reserve().expect("a port"));
    let unit = install(&guest, &port, &admin).expect("caddy is installed");
    let listens = port.address();
    let server = placement(
        "caddy",
        json!({ "files": { "ca": { "path": "/etc/caddy/certs/ca.crt" } }, "probe": { "connect": listens } }),
    );
    let place = Place::join(guest, unit).expect("a place");
    let unit = &place.service;
    place.order(&[("web", &server)]).expect("a manifest");
    place.host.ensure(&[], "installed").expect("installed");
    goes_round(&place, "web", unit, listens, "/etc/caddy/certs/ca.crt").expect("served");
    assert_eq!(unit.restarts(), 0, "a reload is enough");
}
