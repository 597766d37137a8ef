//! The rows of the matrix: each service with its recipe.

use anyhow::Result;
use pinion_tests::{docker::Docker, guest::Guest, nginx::Nginx, port::Port, tls_server::TlsServer, unit::Unit};
use serde_json::{Value, json};

use super::{
    container::InContainer,
    subject::{ByUnit, Seen, Subject},
    trial::{CHECK, Check, Row, Trial, options},
    watched::Watched,
};
use crate::{caddy, fixture::placement, haproxy, postgresql, units::node_directory};

/// For clients, where the recipe has no place for the issuer's root.
const CA: &str = "/etc/ssl/ca.crt";

const PAIR: [&str; 2] = ["web.internal.example.crt", "web.internal.example.key"];

fn guest() -> Result<Guest> {
    Guest::prepare("1001", &options())
}

fn with_ca(recipe: &str, check: &str, seen: &Port, more: Value) -> Value {
    let mut placement = placement(
        recipe,
        json!({
            "files": { "ca": { "path": CA } }, "validate": { "hook": check }, "probe": { "connect": seen.address() },
        }),
    );
    if let (Some(fields), Value::Object(more)) = (placement.as_object_mut(), more) {
        fields.extend(more);
    }
    placement
}

pub(super) fn nginx() -> Result<Trial> {
    let guest = guest()?;
    let directory = "/etc/nginx/ssl";
    let [chain, key] = PAIR.map(|file| format!("{directory}/{file}"));
    let nginx = Nginx::install(&guest, &chain, &key)?;
    let mut placement = nginx.placement(&guest);
    placement["files"] = json!({ "ca": { "path": CA } });
    let row = Row {
        name: "web",
        recipe: "nginx",
        directory,
        files: &PAIR,
        ca: CA,
        placement,
        others: Vec::new(),
        seen: Seen::Tls(nginx.address()),
        check: Check::Program {
            reads: "/etc/nginx/nginx.conf",
            nonsense: "nonsense;\n",
            says: "unknown directive \"nonsense\"",
        },
        escalates: true,
        user: Some("www-data"),
    };
    let configuration = Some(guest.path("/etc/nginx/nginx.conf"));
    Trial::begin(guest, row, Box::new(ByUnit { kept: nginx, unit: Nginx::unit, configuration }))
}

/// A unit and the ports that it listens on.
struct Listening {
    unit: Unit,
    _ports: Vec<Port>,
}

impl Listening {
    fn unit(&self) -> &Unit {
        &self.unit
    }
}

pub(super) fn haproxy() -> Result<Trial> {
    let (guest, port) = (guest()?, Port::reserve()?);
    let unit = haproxy::install(&guest, &port)?;
    let row = Row {
        name: "web",
        recipe: "haproxy",
        directory: "/etc/haproxy/certs",
        files: &["web.internal.example.pem"],
        ca: CA,
        placement: with_ca("haproxy", "haproxy-test", &port, json!({})),
        others: Vec::new(),
        seen: Seen::Tls(port.address()),
        check: Check::Program { reads: haproxy::CONFIGURATION, nonsense: "  nonsense\n", says: "'nonsense'" },
        escalates: true,
        user: None,
    };
    let configuration = Some(guest.path(haproxy::CONFIGURATION));
    let kept = Listening { unit, _ports: vec![port] };
    Trial::begin(guest, row, Box::new(ByUnit { kept, unit: Listening::unit, configuration }))
}

pub(super) fn caddy() -> Result<Trial> {
    let (guest, port, admin) = (guest()?, Port::reserve()?, Port::reserve()?);
    let unit = caddy::install(&guest, &port, &admin)?;
    let row = Row {
        name: "web",
        recipe: "caddy",
        directory: "/etc/caddy/certs",
        files: &PAIR,
        ca: CA,
        placement: with_ca("caddy", "caddy-test", &port, json!({})),
        others: Vec::new(),
        seen: Seen::Tls(port.address()),
        check: Check::Program {
            reads: caddy::CONFIGURATION,
            nonsense: "https://other.internal.example {\n\tnonsense\n}\n",
            says: "nonsense",
        },
        escalates: true,
        user: Some("caddy"),
    };
    let configuration = Some(guest.path(caddy::CONFIGURATION));
    let kept = Listening { unit, _ports: vec![port, admin] };
    Trial::begin(guest, row, Box::new(ByUnit { kept, unit: Listening::unit, configuration }))
}

pub(super) fn postgresql() -> Result<Trial> {
    let (guest, port) = (guest()?, Port::reserve()?);
    let unit = postgresql::install(&guest, &port)?;
    let probe = json!({ "connect": port.address(), "starttls": "postgres" });
    let row = Row {
        name: "db",
        recipe: "postgresql",
        directory: "/etc/postgresql/tls",
        files: &["db.internal.example.crt", "db.internal.example.key"],
        ca: CA,
        placement: with_ca("postgresql", "postgresql-test", &port, json!({ "probe": probe })),
        others: Vec::new(),
        seen: Seen::Postgres(port.address()),
        check: Check::Program { reads: postgresql::CONFIGURATION, nonsense: "nonsense\n", says: "syntax error" },
        escalates: true,
        user: Some("postgres"),
    };
    let configuration = Some(guest.path(postgresql::CONFIGURATION));
    let kept = Listening { unit, _ports: vec![port] };
    Trial::begin(guest, row, Box::new(ByUnit { kept, unit: Listening::unit, configuration }))
}

pub(super) fn dockerd() -> Result<Trial> {
    let guest = guest()?;
    let docker = Docker::install(&guest, "/etc/docker/tls")?;
    let mut placement = docker.placement(&guest);
    placement["validate"] = json!({ "hook": CHECK });
    let row = Row {
        name: "docker",
        recipe: "docker",
        directory: "/etc/docker/tls",
        files: &["cert.pem", "key.pem"],
        ca: "/etc/docker/tls/ca.pem",
        placement,
        others: Vec::new(),
        seen: Seen::Tls(docker.address()),
        check: Check::Hook,
        escalates: false,
        user: None,
    };
    Trial::begin(guest, row, Box::new(ByUnit { kept: docker, unit: Docker::unit, configuration: None }))
}

pub(super) fn portainer() -> Result<Trial> {
    let guest = guest()?;
    let docker = Docker::install(&guest, "/etc/docker/tls")?;
    let server = docker.placement(&guest);
    let portainer = InContainer::of(&guest, docker)?;
    let probe = json!({ "connect": portainer.address() });
    let row = Row {
        name: "ui",
        recipe: "portainer",
        directory: "/etc/portainer/certs",
        files: &["cert.pem", "key.pem"],
        ca: "/etc/portainer/certs/ca.pem",
        placement: placement("portainer", json!({ "validate": { "hook": CHECK }, "probe": probe })),
        others: vec![("docker", server)],
        seen: Seen::Tls(portainer.address()),
        check: Check::Hook,
        escalates: false,
        user: None,
    };
    Trial::begin(guest, row, Box::new(portainer))
}

/// The small TLS server as a unit, by a recipe that has a pair; `told` is what the placement says of that.
fn stand_in(
    guest: Guest,
    unit: &str,
    recipe: &'static str,
    directory: &'static str,
    files: &'static [&'static str; 2],
    told: Value,
    subject: impl FnOnce(&Guest, TlsServer) -> Result<Box<dyn Subject>>,
) -> Result<Trial> {
    let [chain, key] = files.map(|file| format!("{directory}/{file}"));
    let server = TlsServer::install_as(&guest, unit, &chain, &key)?;
    let mut placement = placement(
        recipe,
        json!({
            "files": { "ca": { "path": CA } }, "validate": { "hook": CHECK }, "probe": { "connect": server.address() },
        }),
    );
    let escalates = told.is_null();
    if !escalates {
        placement["reload"] = told;
    }
    let row = Row {
        name: "web",
        recipe,
        directory,
        files,
        ca: CA,
        placement,
        others: Vec::new(),
        seen: Seen::Tls(server.address()),
        check: Check::Hook,
        escalates,
        user: None,
    };
    let subject = subject(&guest, server)?;
    Trial::begin(guest, row, subject)
}

fn by_unit(_: &Guest, server: TlsServer) -> Result<Box<dyn Subject>> {
    Ok(Box::new(ByUnit { kept: server, unit: TlsServer::unit, configuration: None }))
}

pub(super) fn systemd_unit() -> Result<Trial> {
    let told = json!({ "restart": "tls-server.service" });
    stand_in(guest()?, "tls-server.service", "systemd-unit", "/etc/pinion/certs", &PAIR, told, by_unit)
}

pub(super) fn traefik() -> Result<Trial> {
    let watched = |guest: &Guest, server| Ok(Box::new(Watched::of(guest, server)?) as Box<dyn Subject>);
    stand_in(guest()?, "traefik.service", "traefik", "/etc/traefik/certs", &PAIR, Value::Null, watched)
}

pub(super) fn pveproxy() -> Result<Trial> {
    let mut options = options();
    options.directories.push("/etc/pve/local".into());
    options.units.push("pveproxy.service".into());
    let guest = Guest::prepare("1001", &options)?;
    node_directory(&guest)?;
    let files = &["pveproxy-ssl.pem", "pveproxy-ssl.key"];
    stand_in(guest, "pveproxy.service", "pveproxy", "/etc/pve/local", files, Value::Null, by_unit)
}
