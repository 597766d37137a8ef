//! A real nginx as a guest's `nginx.service`, on a loopback port, with the files that the recipe writes.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result};
use rcgen::generate_simple_self_signed;
use serde_json::{Value, json};

use crate::{
    guest::Guest,
    port::Port,
    process, program,
    unit::{ReloadBy, Unit, UnitSpec},
    wait::PATIENCE,
};

/// nginx in a guest.
#[derive(Debug)]
pub struct Nginx {
    unit: Unit,
    command: Vec<String>,
    port: Port,
}

impl Nginx {
    /// Writes its configuration for one pair, at paths inside the guest, and its hooks; starts nothing.
    ///
    /// # Errors
    /// nginx is not installed, or a file cannot be written.
    pub fn install(guest: &Guest, certificate: &str, key: &str) -> Result<Self> {
        let port = Port::reserve()?;
        let server = server(guest, &port, "_", certificate, key);
        guest.write("etc/nginx/nginx.conf", &with_servers(&guest.path("/var/lib/nginx"), &[server]))?;
        guest.write("var/lib/nginx/.keep", "")?;
        let command = vec![
            program::found("nginx")?.display().to_string(),
            "-p".into(),
            guest.path("/var/lib/nginx").display().to_string(),
            "-c".into(),
            guest.path("/etc/nginx/nginx.conf").display().to_string(),
            // Before it has read where its log is, it would write to the system's.
            "-e".into(),
            "stderr".into(),
        ];
        let with =
            |more: &[&str]| command.iter().map(String::as_str).chain(more.iter().copied()).map(str::to_owned).collect();
        let spec = UnitSpec {
            name: "nginx.service".into(),
            command: with(&[]),
            reload: ReloadBy::Command(with(&["-s", "reload"])),
            listens: port.address(),
        };
        guest.write_hook("nginx-test", &format!("#!/bin/sh\nexec {} -t\n", command.join(" ")))?;
        Ok(Self { unit: Unit::install(guest, spec)?, port, command })
    }

    /// Puts a self-signed pair where the configuration looks, as packages do, so that nginx can start
    /// before Pinion has come.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn place_snakeoil(guest: &Guest, certificate: &str, key: &str) -> Result<()> {
        let made = generate_simple_self_signed(["snakeoil.invalid".to_owned()]).context("make a self-signed pair")?;
        guest.write(certificate, &made.cert.pem())?;
        guest.write(key, &made.signing_key.serialize_pem())
    }

    /// The manifest's placement for it, by the shipped recipe, with what differs from a guest of its own:
    /// where it listens, and how it is tested.
    #[must_use]
    pub fn placement(&self, guest: &Guest) -> Value {
        json!({
            "guest": guest.manifest_name(), "recipe": "nginx",
            "validate": { "hook": "nginx-test" }, "probe": { "connect": self.address() },
        })
    }

    /// Before it starts: it also serves `name` with a second pair, at paths inside the guest. Who asks for any other name is
    /// shown the first.
    ///
    /// # Errors
    /// Its configuration cannot be written.
    pub fn add_server(&self, guest: &Guest, name: &str, first: [&str; 2], second: [&str; 2]) -> Result<()> {
        let servers = [("_", first), (name, second)]
            .map(|(name, [certificate, key])| server(guest, &self.port, name, certificate, key));
        guest.write("etc/nginx/nginx.conf", &with_servers(&guest.path("/var/lib/nginx"), &servers))
    }

    /// From now on a reload is `nginx -s reload` and nothing else, so that nothing else takes time. nginx must be running.
    ///
    /// # Errors
    /// The hook cannot be written.
    pub fn reload_directly(&self, guest: &Guest) -> Result<()> {
        guest.write_hook("nginx.service", &format!("#!/bin/sh\nexec {} -s reload\n", self.command.join(" ")))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The unit: start, stop, count reloads.
    #[must_use]
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// `nginx -t`.
    ///
    /// # Errors
    /// nginx does not accept its configuration or files.
    pub fn test(&self) -> Result<()> {
        let (program, arguments) = self.command.split_first().context("a command has a program")?;
        let mut command = std::process::Command::new(Path::new(program));
        process::run(command.args(arguments).arg("-t"), b"", PATIENCE)?.succeeded().map(drop)
    }
}

/// The lines of one server.
fn server(guest: &Guest, port: &Port, name: &str, certificate: &str, key: &str) -> String {
    let path = |inside: &str| guest.path(inside).display().to_string();
    format!(
        "\t\tlisten {} ssl;\n\
         \t\tserver_name {name};\n\
         \t\tssl_certificate {};\n\
         \t\tssl_certificate_key {};\n\
         \t\treturn 200 \"a guest's nginx\\n\";\n",
        port.address(),
        path(certificate),
        path(key),
    )
}

/// A configuration that keeps all of nginx's files below a directory, with these lines in its servers.
pub(crate) fn with_servers(root: &Path, servers: &[String]) -> String {
    let root = root.display();
    let servers: String = servers.iter().map(|server| format!("\tserver {{\n{server}\t}}\n")).collect();
    format!(
        "daemon off;\nworker_processes 1;\npid {root}/nginx.pid;\nerror_log stderr notice;\n\
         events {{ worker_connections 64; }}\n\
         http {{\n\
         \taccess_log off;\n\
         \tclient_body_temp_path {root}/body;\n\
         \tproxy_temp_path {root}/proxy;\n\
         \tfastcgi_temp_path {root}/fastcgi;\n\
         \tuwsgi_temp_path {root}/uwsgi;\n\
         \tscgi_temp_path {root}/scgi;\n\
         {servers}\
         }}\n"
    )
}
