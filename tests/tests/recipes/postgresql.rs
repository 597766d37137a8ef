//! PostgreSQL, which begins its connections without TLS.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use pinion_proto::stage::Stage;
use pinion_tests::{
    guest::Guest,
    port::Port,
    process, program,
    unit::{ReloadBy, Unit, UnitSpec},
    wait::PATIENCE,
};
use rustix::process::Signal;
use serde_json::json;

use crate::fixture::{Place, guest, placement};

/// The server's programs, which Debian keeps off PATH.
fn server_program(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("postgresql is installed")?;
    let candidates = versions.filter_map(|version| Some(version.ok()?.path().join("bin").join(name)));
    candidates.filter(|path| path.is_file()).max().with_context(|| format!("postgresql has no {name}"))
}

/// Where its configuration is in the guest.
pub(crate) const CONFIGURATION: &str = "/var/lib/postgresql/data/postgresql.auto.conf";

/// A server of its own in the guest, as the user postgres: it refuses to run as root. It says what it makes of its
/// configuration in the hook `postgresql-test`.
pub(crate) fn install(guest: &Guest, port: &Port) -> Result<Unit> {
    guest.adopt_account("postgres")?;
    let data = guest.path("/var/lib/postgresql/data");
    let as_postgres = |program: &Path, arguments: &[&str]| -> Result<Vec<String>> {
        let own = ["--reuid=postgres", "--regid=postgres", "--init-groups"].map(str::to_owned);
        let mut words = vec![program::found("setpriv")?.display().to_string()];
        words.extend(own);
        words.push(program.display().to_string());
        words.extend(arguments.iter().map(|&word| word.to_owned()));
        Ok(words)
    };
    let directory = guest.path("/var/lib/postgresql");
    fs::create_dir_all(&directory)?;
    let mut give = Command::new("chown");
    process::run(give.arg("postgres:postgres").arg(&directory), b"", PATIENCE)?.succeeded()?;
    let directory = data.display().to_string();
    let words =
        as_postgres(&server_program("initdb")?, &["-D", &directory, "-A", "trust", "-N", "-E", "UTF8", "--locale=C"])?;
    let (program, arguments) = words.split_first().context("a command has a program")?;
    process::run(Command::new(program).args(arguments).current_dir("/"), b"", PATIENCE)?.succeeded()?;
    let file =
        |name: &str| guest.path(&format!("/etc/postgresql/tls/db.internal.example.{name}")).display().to_string();
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\nfsync = off\nssl = on\n\
         ssl_cert_file = '{}'\nssl_key_file = '{}'\n",
        port.number(),
        file("crt"),
        file("key"),
    );
    guest.write(CONFIGURATION, &settings)?;
    let test = as_postgres(&server_program("postgres")?, &["-D", &directory, "-C", "ssl_cert_file"])?.join(" ");
    guest.write_hook("postgresql-test", &format!("#!/bin/sh\ncd / && exec {test}\n"))?;
    let spec = UnitSpec {
        name: "postgresql.service".into(),
        command: as_postgres(&server_program("postgres")?, &["-D", &directory])?,
        reload: ReloadBy::Signal(Signal::HUP),
        listens: port.address(),
    };
    Unit::install(guest, spec)
}

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
