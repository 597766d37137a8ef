//! The shipped recipes of Debian's servers, each with the real server: it comes up with its certificate and shows the renewed
//! one, told in the recipe's own way and no other. Where it can be, it is configured by the lines of `recipe show`.

use std::fs;

use anyhow::{Context, Result, ensure};
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::Host,
    outage::Client,
    port::Port,
    process::Finished,
    site,
    unit::{ReloadBy, Unit},
};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    daemons::{self, install},
    large_daemons,
    several::{counted, place},
};

const NAME: &str = "web.internal.example";

/// How often a renewal reloads and restarts the service.
const RELOADED: (usize, usize) = (1, 0);
const RESTARTED: (usize, usize) = (0, 1);
const LEFT_ALONE: (usize, usize) = (0, 0);

/// A guest in which the recipe alone says what it needs, whose server has this account.
fn guest(account: Option<&str>) -> (Host, Guest) {
    let (host, guest) = place(&GuestOptions::default());
    if let Some(account) = account {
        guest.adopt_account(account).expect("the server's package has made it");
    }
    (host, guest)
}

/// The lines that `recipe show` gives for the service's own configuration, with the paths as they are outside.
fn lines(guest: &Guest, recipe: &str, directory: &str) -> Result<String> {
    let shown = guest.pinion_agent(&["recipe", "show", recipe, "--common-name", NAME, "--json"])?;
    let shown: Value = serde_json::from_str(&shown.succeeded()?.stdout)?;
    let lines = shown["configure"].as_str().context("the recipe has lines")?;
    Ok(lines.replace(directory, &guest.path(directory).display().to_string()))
}

/// Comes to be served, and is served again after a renewal, with so many reloads and restarts.
fn goes_round(
    host: &Host,
    guest: &Guest,
    unit: &Unit,
    recipe: &str,
    more: Value,
    expected: (usize, usize),
) -> Result<()> {
    let mut placement = json!({ "guest": 1001, "recipe": recipe });
    let probe = more["probe"].clone();
    let (fields, Value::Object(more)) = (placement.as_object_mut().context("an object")?, more) else { return Ok(()) };
    fields.extend(more);
    let web = json!({ "name": "web", "common_name": NAME, "placements": [placement] });
    host.write_manifest(&site::manifest(json!([web])))?;
    host.ensure(&[], "installed").with_context(|| guest.log_tail())?;
    unit.start().with_context(|| unit.log())?;
    let log = || format!("{}\n{}", guest.log_tail(), unit.log());
    host.ensure(&[], "served").with_context(log)?;
    let before = (unit.reloads(), unit.restarts());
    let client = Client::of_probe(&probe, NAME)?;
    host.renew(&["web"], "served").with_context(log)?;
    let told = (unit.reloads() - before.0, unit.restarts() - before.1);
    client.end(&format!("recipe {recipe}"), counted(told))?;
    ensure!(told == expected, "{recipe}: {told:?} reloads and restarts\n{}", log());
    Ok(())
}

fn probe(port: &Port) -> Value {
    json!({ "probe": { "connect": port.address() } })
}

fn probe_after(port: &Port, starttls: &str) -> Value {
    json!({ "probe": { "connect": port.address(), "starttls": starttls } })
}

fn says(told: Result<()>) {
    told.unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn apache_is_reloaded() {
    let (directory, port) = ("/etc/apache2/tls", Port::reserve().expect("a port"));
    let (host, guest) = guest(None);
    let run = guest.path("/run/apache2");
    fs::create_dir_all(&run).expect("made");
    let lines = lines(&guest, "apache", directory).expect("shown").replace("*:443", &port.address().to_string());
    let module = |name: &str| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n");
    let modules: String = ["mpm_event", "authz_core", "socache_shmcb", "ssl"].map(module).concat();
    let text = format!(
        "ServerRoot {0}\nDefaultRuntimeDir {0}\nPidFile {0}/pid\nErrorLog {0}/error.log\nServerName {NAME}\n\
         User www-data\nGroup www-data\nListen {1}\n{modules}{lines}\n",
        run.display(),
        port.address()
    );
    guest.write("etc/apache2/apache2.conf", &text).expect("written");
    let configuration = guest.path("/etc/apache2/apache2.conf").display().to_string();
    guest.write_hook("apache-test", &format!("#!/bin/sh\nexec apache2 -t -f {configuration}\n")).expect("written");
    let command = ["apache2", "-DFOREGROUND", "-f", &configuration];
    let unit = install(&guest, "apache2", &command, ReloadBy::Signal(Signal::USR1), port.address()).expect("a unit");
    let mut more = probe(&port);
    more["validate"] = json!({ "hook": "apache-test" });
    says(goes_round(&host, &guest, &unit, "apache", more, RELOADED));
}

#[test]
fn mosquitto_is_reloaded() {
    let (directory, port) = ("/etc/mosquitto/tls", Port::reserve().expect("a port"));
    let (host, guest) = guest(Some("mosquitto"));
    let lines = lines(&guest, "mosquitto", directory).expect("shown");
    let lines = lines.replace("listener 8883", &format!("listener {} 127.0.0.1", port.number()));
    guest
        .write("etc/mosquitto/mosquitto.conf", &format!("{lines}\nallow_anonymous true\nuser root\n"))
        .expect("written");
    let configuration = guest.path("/etc/mosquitto/mosquitto.conf").display().to_string();
    let command = ["mosquitto", "-c", &configuration];
    let unit = install(&guest, "mosquitto", &command, ReloadBy::Signal(Signal::HUP), port.address()).expect("a unit");
    says(goes_round(&host, &guest, &unit, "mosquitto", probe(&port), RELOADED));
}

#[test]
fn redis_is_restarted() {
    let (directory, port) = ("/etc/redis/tls", Port::reserve().expect("a port"));
    let (host, guest) = guest(Some("redis"));
    let lines = lines(&guest, "redis", directory).expect("shown");
    let lines = lines.replace("tls-port 6379", &format!("tls-port {}\nbind 127.0.0.1\nsave \"\"", port.number()));
    guest.write("etc/redis/redis.conf", &format!("{lines}\n")).expect("written");
    let configuration = guest.path("/etc/redis/redis.conf").display().to_string();
    let command = ["redis-server", &configuration];
    let unit = install(&guest, "redis-server", &command, ReloadBy::Nothing, port.address()).expect("a unit");
    says(goes_round(&host, &guest, &unit, "redis", probe(&port), RESTARTED));
}

#[test]
fn postfix_and_dovecot_are_reloaded_each_by_its_recipe() {
    let [smtp, imap, pop3] = [(); 3].map(|()| Port::reserve().expect("a port"));
    let (host, guest) = guest(None);
    let pair = ("/etc/postfix/tls/web.internal.example.crt", "/etc/postfix/tls/web.internal.example.key");
    let unit = daemons::postfix(&guest, pair, &smtp).expect("postfix is installed");
    says(goes_round(&host, &guest, &unit, "postfix", probe_after(&smtp, "smtp"), RELOADED));

    let (host, guest) = self::guest(None);
    let pair = ("/etc/dovecot/tls/web.internal.example.crt", "/etc/dovecot/tls/web.internal.example.key");
    let unit = daemons::dovecot(&guest, pair, &imap, &pop3).expect("dovecot is installed");
    says(goes_round(&host, &guest, &unit, "dovecot", probe_after(&imap, "imap"), RELOADED));
}

#[test]
fn mariadb_and_openldap_are_restarted_each_by_its_recipe() {
    let [database, ldap] = [(); 2].map(|()| Port::reserve().expect("a port"));
    let (host, guest) = guest(None);
    let pair = ("/etc/mysql/tls/web.internal.example.crt", "/etc/mysql/tls/web.internal.example.key");
    let unit = daemons::mariadb(&guest, pair, &database).expect("mariadb is installed");
    let mut more = probe_after(&database, "mysql");
    // Its server's package alone makes no account.
    more["files"] = json!({ "key": { "group": "root" } });
    says(goes_round(&host, &guest, &unit, "mariadb", more, RESTARTED));

    let (host, guest) = self::guest(Some("openldap"));
    let pair = ("/etc/ldap/tls/web.internal.example.crt", "/etc/ldap/tls/web.internal.example.key");
    let unit = daemons::slapd(&guest, pair, &ldap).expect("slapd is installed");
    says(goes_round(&host, &guest, &unit, "openldap", probe_after(&ldap, "ldap"), RESTARTED));
}

#[test]
fn rabbitmq_notices_the_new_pair_itself() {
    let [amqp, names, node] = [(); 3].map(|()| Port::reserve().expect("a port"));
    let directory = "/etc/rabbitmq/tls";
    let (host, guest) = guest(Some("rabbitmq"));
    // As Debian's package has it: nobody else's files would be safe from its owner there.
    fs::create_dir_all(guest.path("/etc/rabbitmq")).expect("made");
    daemons::give("rabbitmq", &[&guest.path("/etc/rabbitmq")]).expect("given");
    let lines = lines(&guest, "rabbitmq", directory).expect("shown");
    let rabbitmq = large_daemons::rabbitmq(&guest, &lines, &amqp, [&names, &node]).expect("rabbitmq is installed");
    says(goes_round(&host, &guest, &rabbitmq.unit, "rabbitmq", probe(&amqp), LEFT_ALONE));
}

#[test]
fn cups_reads_the_pair_for_each_connection() {
    let (directory, port) = ("/etc/cups/ssl", Port::reserve().expect("a port"));
    let (host, guest) = guest(None);
    let lines = lines(&guest, "cups", directory).expect("shown");
    let unit = large_daemons::cups(&guest, &lines, &port).expect("cups is installed");
    says(goes_round(&host, &guest, &unit, "cups", probe(&port), LEFT_ALONE));
}

#[test]
fn samba_is_restarted() {
    let (directory, port) = ("/etc/samba/tls", Port::reserve().expect("a port"));
    let (host, guest) = guest(None);
    let lines = lines(&guest, "samba", directory).expect("shown");
    let listens = large_daemons::ldaps(&port);
    let unit = large_daemons::samba(&guest, &lines, listens).expect("samba is installed");
    says(goes_round(&host, &guest, &unit, "samba", json!({ "probe": { "connect": listens } }), RESTARTED));
}

#[test]
fn a_recipe_is_shown_and_an_unknown_one_is_said_to_be_unknown() {
    let (_host, guest) = guest(None);
    let run = |arguments: &[&str]| guest.pinion_agent(arguments).expect("it runs");
    let nginx = run(&["recipe", "show", "nginx", "--common-name", NAME]);
    let words = format!("ssl_certificate     /etc/nginx/ssl/{NAME}.crt;");
    assert!(nginx.code() == 0 && nginx.stdout.contains(&words), "{nginx}");
    let untried = run(&["recipe", "show", "proxmox-backup"]).succeeded().expect("shipped").stdout;
    assert!(untried.contains("not run with it") && untried.contains("fingerprint"), "{untried}");
    let unknown = run(&["recipe", "show", "ngnix"]);
    assert!(unknown.code() == 6 && unknown.stderr.contains("there is no recipe `ngnix`"), "{unknown}");
    let listed = run(&["recipe", "list"]).succeeded().map(|listed: Finished| listed.stdout);
    assert!(listed.is_ok_and(|listed| listed.contains("proxmox-datacenter-manager")));
}
