//! A real Traefik and its two pairs: the server's by touching what it watches, the provider's by a restart.

use pinion_proto::stage::Stage;
use pinion_tests::{
    look,
    port::Port,
    traefik::{DYNAMIC, Traefik},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

use crate::{
    client_certificates::Asked,
    fixture::{Place, common_name, goes_round, guest, placement},
};

const CERTIFICATE: &str = "/etc/traefik/certs/web.internal.example.crt";
const KEY: &str = "/etc/traefik/certs/web.internal.example.key";
const CA: &str = "/etc/traefik/certs/web.ca.crt";

fn server(traefik: &Traefik) -> Value {
    placement("traefik", json!({ "files": { "ca": { "path": CA } }, "probe": { "connect": traefik.address() } }))
}

#[test]
fn a_touched_directory_is_enough_for_a_renewed_pair_to_be_served() {
    let guest = guest().expect("a guest");
    let traefik = Traefik::install(&guest, &json!({})).expect("Traefik is built");
    let web = server(&traefik);
    let place = Place::join(guest, traefik).expect("a place");
    let (traefik, guest) = (&place.service, &place.guest);
    place.order(&[("web", &web)]).expect("a manifest");
    place.host.ensure(&["web"], "installed").expect("installed");
    traefik.unit().start().unwrap_or_else(|error| panic!("{error:#}"));
    // It shows a certificate of its own making, until it is told of the pair.
    place.waiting("web", "").expect("another certificate is served");
    Traefik::serve_pair(guest, CERTIFICATE, KEY).expect("written");
    place.comes_to("web", Stage::Served).unwrap_or_else(|error| panic!("{error:#}\n{}", traefik.unit().log()));

    let (before, restarts) = (traefik.unit().id(), traefik.unit().restarts());
    let configuration = guest.read(&format!("{DYNAMIC}/tls.yml")).expect("read");
    for _ in 0..2 {
        let renewed =
            place.renew("web", "served").unwrap_or_else(|error| panic!("{error:#}\n{}", traefik.unit().log()));
        look::wait_served(traefik.address(), &common_name("web"), &guest.path(CA), &renewed).expect("served");
    }
    assert_eq!((traefik.unit().id(), traefik.unit().restarts()), (before, restarts), "a touch is enough");
    assert_eq!(
        guest.read(&format!("{DYNAMIC}/tls.yml")).expect("read"),
        configuration,
        "its content is the operator's"
    );
    goes_round(&place, "web", traefik.unit(), traefik.address(), CA).expect("served");
}

#[test]
fn without_its_watched_directory_traefik_is_waited_for() {
    let guest = guest().expect("a guest");
    let place = Place::join(guest, ()).expect("a place");
    place.order(&[("web", &placement("traefik", json!({ "probe": "nothing" })))]).expect("a manifest");
    place.host.ensure(&["web"], "installed").expect("installed");
    place.waiting("web", "is not there").expect("nothing to touch");
    place.guest.write(&format!("{DYNAMIC}/tls.yml"), "tls: {}\n").expect("written");
    place.comes_to("web", Stage::Reloaded).expect("told by itself");
}

#[test]
fn a_provider_is_asked_with_the_renewed_pair_after_a_restart() {
    let guest = guest().expect("a guest");
    let port = Port::reserve().expect("a port");
    let path = |name: &str| guest.path(&format!("/etc/traefik/certs/{name}.pem"));
    let tls = json!({ "ca": path("ca"), "cert": path("client-cert"), "key": path("client-key") });
    let endpoint = format!("https://{}/dynamic", port.address());
    let provider = json!({ "http": { "endpoint": endpoint, "pollInterval": "200ms", "tls": tls } });
    let traefik = Traefik::install(&guest, &provider).expect("Traefik is built");
    let (client, provider) = (placement("traefik-client", json!({})), placement("files", json!({})));
    let place = Place::join(guest, traefik).expect("a place");
    let (traefik, guest) = (&place.service, &place.guest);
    place.order(&[("client", &client), ("provider", &provider)]).expect("a manifest");
    place.host.ensure(&[], "installed").expect("installed");
    place.waiting("client", "not there").expect("nobody to tell");

    let pair = |end: &str| guest.path(&format!("/etc/pinion/certs/provider.internal.example.{end}"));
    let asked = Asked::listen(&port, &pair("crt"), &pair("key"), &pair("ca.crt")).expect("it listens");
    traefik.unit().start().unwrap_or_else(|error| panic!("{error:#}"));
    place.comes_to("client", Stage::Reloaded).expect("told by itself");
    let by = |serial: &str| {
        wait::until(&format!("the provider to be asked with {serial}"), PATIENCE, || match asked.last() {
            Some(last) if last == serial => Ok(()),
            other => Err(format!("{other:?}")),
        })
    };
    by(&place.serial("client").expect("installed"))
        .unwrap_or_else(|error| panic!("{error:#}\n{}", traefik.unit().log()));

    let (before, restarts) = (traefik.unit().id(), traefik.unit().restarts());
    let renewed = place.renew("client", "reloaded").expect("renewed");
    by(&renewed).unwrap_or_else(|error| panic!("{error:#}\n{}", traefik.unit().log()));
    assert_eq!(traefik.unit().restarts(), restarts + 1);
    assert_ne!(traefik.unit().id(), before);
}
