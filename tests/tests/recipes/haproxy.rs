//! HAProxy in its master-worker mode, with pair and chain in one file.

use pinion_tests::{
    port::Port,
    program,
    unit::{ReloadBy, Unit, UnitSpec},
};
use rustix::process::Signal;
use serde_json::json;

use crate::place::{Place, goes_round, guest, placement, refusal_keeps_the_old_one};

#[test]
fn the_combined_file_is_taken_by_a_reload() {
    let guest = guest().expect("a guest");
    let port = Port::reserve().expect("a port");
    let file = guest.path("/etc/haproxy/certs/web.internal.example.pem");
    let configuration = format!(
        "global\n  maxconn 64\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend web\n  bind {} ssl crt {}\n  http-request return status 200 content-type text/plain string haproxy\n",
        port.address(),
        file.display()
    );
    guest.write("etc/haproxy/haproxy.cfg", &configuration).expect("written");
    let haproxy = program::found("haproxy").expect("haproxy is installed").display().to_string();
    let config = guest.path("/etc/haproxy/haproxy.cfg").display().to_string();
    guest.write_hook("haproxy-test", &format!("#!/bin/sh\nexec {haproxy} -c -q -f {config}\n")).expect("a hook");
    let spec = UnitSpec {
        name: "haproxy.service".into(),
        command: [haproxy.as_str(), "-W", "-db", "-f", &config].map(str::to_owned).to_vec(),
        // As Debian's unit does.
        reload: ReloadBy::Signal(Signal::USR2),
        listens: port.address(),
    };
    let unit = Unit::install(&guest, spec).expect("a unit");
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

    // A configuration that HAProxy does not accept: it is not told, and serves what it has.
    refusal_keeps_the_old_one(&place, "web", port.address(), "/etc/haproxy/certs/ca.crt", || {
        place.guest.write("etc/haproxy/haproxy.cfg", &format!("{configuration}  nonsense\n"))
    })
    .expect("the old one");
    place.guest.write("etc/haproxy/haproxy.cfg", &configuration).expect("written");
    place.comes_to("web", pinion_proto::stage::Stage::Served).expect("as soon as it is accepted");
}
