//! nginx with its server pair and the client certificate that it shows to those it proxies for.

use std::fs;

use pinion_proto::stage::Stage;
use pinion_tests::{look, nginx::Nginx};
use serde_json::json;

use crate::fixture::{Place, goes_round, guest, placement};

#[test]
fn both_pairs_are_taken_by_reloads_and_a_stopped_nginx_is_waited_for() {
    let guest = guest().expect("a guest");
    let nginx =
        Nginx::install(&guest, "/etc/nginx/ssl/web.internal.example.crt", "/etc/nginx/ssl/web.internal.example.key")
            .expect("nginx is installed");
    let server = {
        let mut server = nginx.placement(&guest);
        server["files"] = json!({ "ca": { "path": "/etc/nginx/ssl/ca.crt" } });
        server
    };
    let client = placement("nginx-client", json!({ "validate": { "hook": "nginx-test" } }));
    let place = Place::join(guest, nginx).expect("a place");
    let nginx = &place.service;
    place.order(&[("web", &server), ("client", &client)]).expect("a manifest");
    // nginx does not run yet: the files of both wait for it.
    place.host.ensure(&[], "installed").expect("installed");
    place.waiting("client", "not there").expect("nobody to tell");

    goes_round(&place, "web", nginx.unit(), nginx.address(), "/etc/nginx/ssl/ca.crt").expect("served");
    place.comes_to("client", Stage::Reloaded).expect("told");
    let reloads = nginx.unit().reloads();
    let renewed = place.renew("client", "reloaded").expect("renewed");
    assert!(nginx.unit().reloads() > reloads, "a client certificate needs the reload too");
    assert_eq!(place.written("/etc/nginx/ssl/nginx-client.crt").expect("a certificate"), renewed);
    let mode = |file: &str| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(place.guest.path(file)).expect("the file is there").permissions().mode() & 0o777
    };
    assert_eq!((mode("/etc/nginx/ssl/nginx-client.crt"), mode("/etc/nginx/ssl/nginx-client.key")), (0o644, 0o640));

    // A reload that fails once is tried again.
    nginx.unit().refuse_next(1);
    let renewed = place.renew("web", "served").expect("served at the second try");
    let ca = place.guest.path("/etc/nginx/ssl/ca.crt");
    look::wait_served(nginx.address(), "web.internal.example", &ca, &renewed).expect("served");
}
