//! One pair of files for several services, or for one on several ports: who is notified, and which one does not show it.

use std::{net::SocketAddr, time::Duration};

use pinion_proto::stage::Halt;
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    nginx::Nginx,
    outage::{Before, Client},
    port::Port,
    process::Finished,
    site,
    wait::{self, PATIENCE},
};
use serde_json::json;

use super::daemons;

const NAME: &str = "web.internal.example";
const PAIR: (&str, &str) = ("/etc/nginx/ssl/web.crt", "/etc/nginx/ssl/web.key");
const OLD: (&str, &str) = ("/etc/nginx/ssl/old.crt", "/etc/nginx/ssl/old.key");

/// A guest that has joined, and its host.
pub(super) fn place(options: &GuestOptions) -> (Host, Guest) {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let mut guest = Guest::prepare("1001", options).expect("a guest");
    guest.join_with(&host.token("1001").expect("a token")).and_then(Finished::succeeded).expect("joined");
    guest.start().expect("started");
    guest.wait_linked(&host).expect("linked");
    (host, guest)
}

/// Reloads and restarts, for people.
pub(super) fn counted((reloads, restarts): (usize, usize)) -> String {
    format!("{reloads} reloads, {restarts} restarts")
}

/// Has nginx listen on a second port, with this pair.
fn listen_too(guest: &Guest, at: SocketAddr, pair: (&str, &str)) {
    let text = guest.read("/etc/nginx/nginx.conf").expect("its configuration");
    let path = |inside: &str| guest.path(inside).display().to_string();
    let server = format!(
        "\tserver {{ listen {at} ssl; ssl_certificate {}; ssl_certificate_key {}; }}\n\tserver {{",
        path(pair.0),
        path(pair.1)
    );
    guest.write("etc/nginx/nginx.conf", &text.replacen("\tserver {", &server, 1)).expect("written");
}

#[test]
fn nginx_is_served_when_both_of_its_ports_show_the_certificate() {
    let soon = Duration::from_millis(200);
    let (host, guest) = place(&GuestOptions { check_every: Some(soon), retry_max: soon, ..GuestOptions::default() });
    let nginx = Nginx::install(&guest, PAIR.0, PAIR.1).expect("nginx is installed");
    let single = guest.read("/etc/nginx/nginx.conf").expect("its configuration");
    let second = Port::reserve().expect("a port");
    listen_too(&guest, second.address(), PAIR);
    let mut placement = nginx.placement(&guest);
    placement["files"] = json!({ "fullchain": { "path": PAIR.0 }, "key": { "path": PAIR.1 } });
    placement["probe"] = json!([{ "connect": nginx.address() }, { "connect": second.address() }]);
    let web = json!({ "name": "web", "common_name": "web.internal.example", "placements": [placement] });
    host.write_manifest(&site::manifest(json!([web]))).expect("written");
    host.ensure(&[], "installed").expect("installed");
    nginx.unit().start().expect("nginx starts");
    host.ensure(&[], "served").expect("on both ports");
    let reloads = nginx.unit().reloads();
    let clients = [nginx.address(), second.address()].map(|at| Client::start(at, NAME, Before::Nothing));
    host.renew(&["web"], "served").expect("renewed on both ports");
    for (client, which) in clients.into_iter().zip(["first", "second"]) {
        let told = counted((nginx.unit().reloads() - reloads, nginx.unit().restarts()));
        client.and_then(|client| client.end(&format!("nginx on two ports, the {which}"), told)).expect("measured");
    }
    assert_eq!((nginx.unit().reloads(), nginx.unit().restarts()), (reloads + 1, 0), "{}", nginx.unit().log());

    // The second port keeps another pair: it is named, and nginx is not restarted for it.
    Nginx::place_snakeoil(&guest, OLD.0, OLD.1).expect("written");
    guest.write("etc/nginx/nginx.conf", &single).expect("written");
    listen_too(&guest, second.address(), OLD);
    host.renew(&["web"], "reloaded").expect("reloaded");
    let at = second.address().to_string();
    let held = host.wait_placement("web@1001", |found| {
        found.trouble.as_ref().is_some_and(|trouble| trouble.attempt.contains(&at))
    });
    let trouble = held.expect("it is reported").trouble.expect("a trouble");
    assert!(trouble.halt == Halt::Waiting && !trouble.to_string().contains(&nginx.address().to_string()), "{trouble}");
    assert_eq!(nginx.unit().restarts(), 0, "{}", nginx.unit().log());
    // Nor is it taken for served at a later look, of which there are several in that time.
    let waited = host.pinion(&["ensure", "web", "--until", "served", "--timeout", "3s"]).expect("it runs");
    assert!(waited.succeeded().is_err(), "the second port does not show it");

    guest.write("etc/nginx/nginx.conf", &single).expect("written");
    listen_too(&guest, second.address(), PAIR);
    host.renew(&["web"], "served").expect("on both ports again");
    assert_eq!(nginx.unit().restarts(), 0, "{}", nginx.unit().log());
}

#[test]
fn postfix_and_dovecot_share_a_pair_and_each_is_reloaded_once() {
    let soon = Duration::from_millis(200);
    let mut options = GuestOptions { check_every: Some(soon), retry_max: soon, ..GuestOptions::default() };
    options.units.extend(["postfix.service".to_owned(), "dovecot.service".to_owned()]);
    let (host, guest) = place(&options);
    let pair = ("/etc/ssl/mail/mail.crt", "/etc/ssl/mail/mail.key");
    let [smtp, imap, pop3] = [(); 3].map(|()| Port::reserve().expect("a port"));
    let postfix = daemons::postfix(&guest, pair, &smtp).expect("postfix is installed");
    let dovecot = daemons::dovecot(&guest, pair, &imap, &pop3).expect("dovecot is installed");
    let mail = json!({ "name": "mail", "common_name": "mail.internal.example", "placements": [{ "guest": 1001,
        "files": { "fullchain": { "path": pair.0 }, "key": { "path": pair.1 } },
        "reload": [{ "reload": "postfix.service" }, { "reload": "dovecot.service" }],
        "probe": [{ "connect": smtp.address(), "starttls": "smtp" }, { "connect": imap.address(), "starttls": "imap" },
                  { "connect": pop3.address(), "starttls": "pop3" }] }] });
    host.write_manifest(&site::manifest(json!([mail]))).expect("written");
    host.ensure(&[], "installed").expect("installed");
    for unit in [&postfix, &dovecot] {
        unit.start().unwrap_or_else(|error| panic!("{error:#}\n{}", unit.log()));
    }
    let counts = || [&postfix, &dovecot].map(|unit| (unit.reloads(), unit.restarts()));
    let log = || format!("{}\n{}\n{}", guest.log_tail(), postfix.log(), dovecot.log());
    host.ensure(&[], "served").unwrap_or_else(|error| panic!("{error:#}\n{}", log()));
    let before = counts();
    let clients = [(&smtp, "smtp"), (&imap, "imap"), (&pop3, "pop3")]
        .map(|(port, protocol)| (Client::start(port.address(), NAME, Before::StartTls(protocol)), protocol));
    host.renew(&[], "served").unwrap_or_else(|error| panic!("{error:#}\n{}", log()));
    for (client, protocol) in clients {
        let told = "1 reload of each, 0 restarts";
        client.and_then(|client| client.end(&format!("Postfix and Dovecot, {protocol}"), told)).expect("measured");
    }
    assert_eq!(counts(), before.map(|(reloads, restarts)| (reloads + 1, restarts)), "{}", log());

    // One that is stopped is waited for, and the other one is reloaded once all the same.
    dovecot.stop().expect("stopped");
    let before = counts();
    host.renew(&[], "installed").expect("installed");
    let held = host.wait_placement("mail@1001", |found| {
        found.trouble.as_ref().is_some_and(|trouble| trouble.attempt.contains("dovecot.service"))
    });
    let trouble = held.expect("it is reported").trouble.expect("a trouble");
    assert_eq!(trouble.halt, Halt::Waiting, "{trouble}");
    dovecot.start().expect("started");
    host.ensure(&[], "served").unwrap_or_else(|error| panic!("{error:#}\n{}", log()));
    let [(reloads, restarts), (_, dovecots)] = counts();
    assert_eq!((reloads, restarts, dovecots), (before[0].0 + 1, 0, 0), "{}", log());
}

/// Postfix and Dovecot with one pair, both restarted for a new certificate, and served; Dovecot then keeps the certificate
/// that it has, although it is reloaded and restarted. How often each has been restarted.
fn dovecot_keeps_its_own(units: [Option<&str>; 3], check: impl Fn(&Host, &dyn Fn() -> [usize; 2], &SocketAddr)) {
    let soon = Duration::from_millis(200);
    let mut options = GuestOptions { check_every: Some(soon), retry_max: soon, ..GuestOptions::default() };
    options.units.extend(["postfix.service".to_owned(), "dovecot.service".to_owned()]);
    let (host, guest) = place(&options);
    let (pair, own) = (("/etc/ssl/mail/mail.crt", "/etc/ssl/mail/mail.key"), ("/etc/ssl/own.crt", "/etc/ssl/own.key"));
    let [smtp, imap, pop3] = [(); 3].map(|()| Port::reserve().expect("a port"));
    let postfix = daemons::postfix(&guest, pair, &smtp).expect("postfix is installed");
    let dovecot = daemons::dovecot(&guest, pair, &imap, &pop3).expect("dovecot is installed");
    let mut probes = [(&imap, "imap"), (&pop3, "pop3"), (&smtp, "smtp")]
        .map(|(port, starttls)| json!({ "connect": port.address(), "starttls": starttls }));
    for (probe, unit) in probes.iter_mut().zip(units) {
        if let Some(unit) = unit {
            probe["unit"] = unit.into();
        }
    }
    let mail = json!({ "name": "mail", "common_name": "mail.internal.example", "placements": [{ "guest": 1001,
        "files": { "fullchain": { "path": pair.0 }, "key": { "path": pair.1 } },
        "reload": [{ "restart": "postfix.service" }, { "restart": "dovecot.service" }], "probe": probes }] });
    host.write_manifest(&site::manifest(json!([mail]))).expect("written");
    host.ensure(&[], "installed").expect("installed");
    for unit in [&postfix, &dovecot] {
        unit.start().unwrap_or_else(|error| panic!("{error:#}\n{}", unit.log()));
    }
    let log = || format!("{}\n{}\n{}", guest.log_tail(), postfix.log(), dovecot.log());
    host.ensure(&[], "served").unwrap_or_else(|error| panic!("{error:#}\n{}", log()));

    let mut text = guest.read("/etc/dovecot/dovecot.conf").expect("its configuration");
    for (from, to) in [(pair.0, own.0), (pair.1, own.1)] {
        guest.write(to.trim_start_matches('/'), &guest.read(from).expect("a file")).expect("written");
        text = text.replace(&guest.path(from).display().to_string(), &guest.path(to).display().to_string());
    }
    guest.write("etc/dovecot/dovecot.conf", &text).expect("written");
    let before = [postfix.restarts(), dovecot.restarts()];
    host.renew(&["mail"], "reloaded").unwrap_or_else(|error| panic!("{error:#}\n{}", log()));
    check(&host, &|| [postfix.restarts() - before[0], dovecot.restarts() - before[1]], &imap.address());
}

#[test]
fn dovecot_that_keeps_its_certificate_is_restarted_again_and_postfix_is_not() {
    let (postfix, dovecot) = (Some("postfix.service"), Some("dovecot.service"));
    // What names no unit is behind the one that no other probe names.
    for units in [[dovecot, dovecot, postfix], [None, None, postfix]] {
        dovecot_keeps_its_own(units, |host, restarts, _| {
            wait::until("dovecot to be restarted again", PATIENCE, || match restarts() {
                [1, dovecot] if dovecot > 1 => Ok(()),
                other => Err(format!("{other:?} restarts of postfix and dovecot")),
            })
            .unwrap_or_else(|error| panic!("{units:?}: {error:#}"));
            let waited = host.pinion(&["ensure", "mail", "--until", "served", "--timeout", "3s"]).expect("it runs");
            assert!(waited.succeeded().is_err() && restarts()[0] == 1, "{units:?}: {:?}", restarts());
        });
    }
}

#[test]
fn neither_postfix_nor_dovecot_is_restarted_again_where_either_may_be_behind_a_probe() {
    dovecot_keeps_its_own([None; 3], |host, restarts, imap| {
        let held = host.wait_placement("mail@1001", |found| {
            found.trouble.as_ref().is_some_and(|trouble| trouble.attempt.contains(&imap.to_string()))
        });
        let trouble = held.expect("it is reported").trouble.expect("a trouble");
        assert!(trouble.cause.contains("postfix.service or dovecot.service may be behind it"), "{trouble}");
        assert!(trouble.remedy.contains("`unit`"), "{trouble}");
        let waited = host.pinion(&["ensure", "mail", "--until", "served", "--timeout", "3s"]).expect("it runs");
        assert!(waited.succeeded().is_err() && restarts() == [1, 1], "once for the new certificate: {:?}", restarts());
    });
}
