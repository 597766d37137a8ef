//! A PostgreSQL of its own in a guest, which begins its connections without TLS.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::{
    guest::Guest,
    port::Port,
    process, program,
    unit::{ReloadBy, Unit, UnitSpec},
    wait::PATIENCE,
};

/// The server's programs, which Debian keeps off PATH.
fn server_program(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("postgresql is installed")?;
    let candidates = versions.filter_map(|version| Some(version.ok()?.path().join("bin").join(name)));
    candidates.filter(|path| path.is_file()).max().with_context(|| format!("postgresql has no {name}"))
}

/// Where its configuration is in the guest.
pub const CONFIGURATION: &str = "/var/lib/postgresql/data/postgresql.auto.conf";

/// A server of its own in the guest, as the user postgres: it refuses to run as root. It says what it makes of its
/// configuration in the hook `postgresql-test`. Its pair is in `/etc/postgresql/tls`.
///
/// # Errors
/// It is not installed, or its directory cannot be made.
pub fn install(guest: &Guest, port: &Port) -> Result<Unit> {
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
        "listen_addresses = '{}'\nport = {}\nunix_socket_directories = ''\nfsync = off\nssl = on\n\
         ssl_cert_file = '{}'\nssl_key_file = '{}'\n",
        port.address().ip(),
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
