//! Traefik's two pairs: the server's by touching what it watches, the provider's by a restart.
//!
//! Traefik itself is not among Debian's packages. In its place stands the small TLS server under the unit's name; that
//! a touched directory is an event to whoever watches it is shown with inotify itself, as Traefik uses it.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use pinion_proto::stage::Stage;
use pinion_tests::tls_server::TlsServer;
use rustix::fs::inotify;
use serde_json::json;

use crate::place::{Place, guest, placement};

const DYNAMIC: &str = "/etc/traefik/dynamic";

#[test]
fn the_watched_directory_is_touched_and_its_content_is_not() {
    let guest = guest().expect("a guest");
    let server = placement("traefik", json!({ "probe": "nothing" }));
    let place = Place::join(guest, ()).expect("a place");
    place.order(&[("web", &server)]).expect("a manifest");
    place.host.ensure(&["web"], "installed").expect("installed");
    // Traefik has not been set up yet.
    place.waiting("web", "is not there").expect("nothing to touch");

    let file = format!("{DYNAMIC}/tls.yml");
    place.guest.write(&file, "tls: {}\n").expect("written");
    place.comes_to("web", Stage::Reloaded).expect("told by itself");

    let old = SystemTime::now() - Duration::from_secs(86_400);
    let directory = place.guest.path(DYNAMIC);
    fs::File::open(&directory).and_then(|opened| opened.set_modified(old)).expect("an old directory");
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).expect("inotify");
    // What fsnotify asks for includes it (fsnotify, backend_inotify.go).
    inotify::add_watch(&watch, &directory, inotify::WatchFlags::ATTRIB).expect("a watch");
    let renewed = place.renew("web", "reloaded").expect("renewed");
    let mut buffer = [0; 4096];
    let seen =
        rustix::io::read(&watch, &mut buffer).unwrap_or_else(|error| panic!("{error}\n{}", place.guest.log_tail()));
    assert!(seen > 0, "whoever watches the directory hears of it");
    let age = fs::metadata(&directory).and_then(|found| found.modified()).expect("a time").elapsed();
    assert!(age.unwrap_or_default() < Duration::from_secs(3600));
    assert_eq!(place.guest.read(&file).expect("read"), "tls: {}\n");
    let written = place.written("/etc/traefik/certs/web.internal.example.crt");
    assert_eq!(written.expect("a certificate"), renewed);
}

#[test]
fn the_providers_pair_needs_a_restart() {
    let guest = guest().expect("a guest");
    let (fullchain, key) = ("/etc/traefik/certs/client-cert.pem", "/etc/traefik/certs/client-key.pem");
    let traefik = TlsServer::install_as(&guest, "traefik.service", fullchain, key).expect("built");
    let client = placement("traefik-client", json!({}));
    let place = Place::join(guest, traefik).expect("a place");
    let traefik = &place.service;
    place.order(&[("client", &client)]).expect("a manifest");
    place.host.ensure(&["client"], "installed").expect("installed");
    place.waiting("client", "not there").expect("nobody to tell");
    traefik.unit().start().expect("started");
    place.comes_to("client", Stage::Reloaded).expect("told by itself");
    let (restarts, reloads) = (traefik.unit().restarts(), traefik.unit().reloads());
    let renewed = place.renew("client", "reloaded").expect("renewed");
    assert_eq!((traefik.unit().restarts(), traefik.unit().reloads()), (restarts + 1, reloads));
    assert_eq!(place.written(fullchain).expect("a certificate"), renewed);
    assert!(place.guest.path("/etc/traefik/certs/ca.pem").is_file());
}
