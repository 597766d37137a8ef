//! HAProxy in its master-worker mode, with pair and chain in one file.

use anyhow::Result;
use pinion_tests::{
    guest::Guest,
    port::Port,
    program,
    unit::{ReloadBy, Unit, UnitSpec},
};
use rustix::process::Signal;
use serde_json::json;

use crate::fixture::{Place, goes_round, guest, placement};

/// Where its configuration is in the guest.
pub(crate) const CONFIGURATION: &str = "/etc/haproxy/haproxy.cfg";

/// HAProxy as a unit, and `haproxy -c` as the hook `haproxy-test`.
pub(crate) fn install(guest: &Guest, port: &Port) -> Result<Unit> {
    let file = guest.path("/etc/haproxy/certs/web.internal.example.pem");
    let configuration = format!(
        "global\n  maxconn 64\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend web\n  bind {} ssl crt {}\n  http-request return status 200 content-type text/plain string haproxy\n",
        port.address(),
        file.display()
    );
    guest.write(CONFIGURATION, &configuration)?;
    let haproxy = program::found("haproxy")?.display().to_string();
    let config = guest.path(CONFIGURATION).display().to_string();
    guest.write_hook("haproxy-test", &format!("#!/bin/sh\nexec {haproxy} -c -f {config}\n"))?;
    let spec = UnitSpec {
        name: "haproxy.service".into(),
        command: [haproxy.as_str(), "-W", "-db", "-f", &config].map(str::to_owned).to_vec(),
        // As Debian's unit does.
        reload: ReloadBy::Signal(Signal::USR2),
        listens: port.address(),
    };
    Unit::install(guest, spec)
}

#[test]
fn the_combined_file_is_taken_by_a_reload() {
    let guest = guest().expect("a guest");
    let port = Port::reserve().expect("a port");
    let unit = install(&guest, &port).expect("haproxy is installed");
    let server = placement(
        "haproxy",
        json!({
            "files": { "ca": { "path": "/etc/haproxy/certs/ca.crt" } },
            "validate": { "hook": "haproxy-test" }, "probe": { "connect": port.address() },
        }),
    );
    let place = Place::join(guest, unit).expect("a place");
    let unit = &place.service;
    place.order(&[("web", &server)]).expect("a manifest");
    place.host.ensure(&[], "installed").expect("installed");
    goes_round(&place, "web", unit, port.address(), "/etc/haproxy/certs/ca.crt").expect("served");
    assert_eq!(unit.restarts(), 0, "a reload is enough");
}
