//! PostgreSQL, which begins its connections without TLS.

use std::{net::SocketAddr, process::Command};

use anyhow::{Context, Result};
use pinion_proto::stage::Stage;
pub(crate) use pinion_tests::postgresql::{CONFIGURATION, install};
use pinion_tests::{port::Port, process, program, wait::PATIENCE};
use serde_json::json;

use crate::fixture::{Place, guest, placement};

/// The serial number that `openssl s_client -starttls postgres` is shown.
pub(crate) fn shown(address: SocketAddr) -> Result<String> {
    let mut client = Command::new(program::found("openssl")?);
    client.args(["s_client", "-starttls", "postgres", "-connect", &address.to_string()]);
    let seen = process::run(&mut client, b"", PATIENCE)?.stdout;
    let begin = seen.find("-----BEGIN CERTIFICATE-----").with_context(|| format!("no certificate: {seen}"))?;
    pinion_tests::openssl::serial(seen.get(begin..).unwrap_or_default())
}

#[test]
fn it_is_asked_for_its_certificate_in_its_own_way() {
    let guest = guest().expect("a guest");
    let port = Port::reserve().expect("a port");
    let unit = install(&guest, &port).expect("a server");
    let probe = json!({ "connect": port.address(), "starttls": "postgres" });
    let server = placement("postgresql", json!({ "probe": probe }));
    let place = Place::join(guest, unit).expect("a place");
    let unit = &place.service;
    place.order(&[("db", &server)]).expect("a manifest");
    place.host.ensure(&[], "installed").expect("installed");
    place.waiting("db", "").expect("it does not run yet");

    unit.start().unwrap_or_else(|error| panic!("{error:#}"));
    place.comes_to("db", Stage::Served).unwrap_or_else(|error| panic!("{error:#}\n{}", unit.log()));
    assert_eq!(shown(port.address()).expect("openssl sees it"), place.serial("db").expect("installed"));
    let renewed = place.renew("db", "served").expect("renewed");
    assert_eq!(shown(port.address()).expect("openssl sees it"), renewed);
    assert_eq!(unit.restarts(), 0, "a reload is enough");

    unit.stop().expect("stopped");
    place.host.renew(&["db"], "installed").expect("installed");
    place.waiting("db", "").expect("it is waited for");
    unit.start().expect("started");
    place.comes_to("db", Stage::Served).expect("by itself");
    assert_eq!(shown(port.address()).expect("openssl sees it"), place.serial("db").expect("installed"));
}
