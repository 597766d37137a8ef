//! A real nginx before a step-ca: with a certificate of the CA's or of its own, and the CA below a path.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result};
use rcgen::generate_simple_self_signed;

use super::{StepCa, rollover::create};
use crate::{
    nginx::with_servers,
    port::{self, Port},
    process::Process,
    program, wait,
};

/// A loaded machine needs a moment to start it.
const START: Duration = Duration::from_secs(30);

/// nginx before a CA; it ends with its value.
#[derive(Debug)]
pub struct CaProxy {
    // Before the directory that it uses.
    process: Process,
    port: Port,
    _directory: tempfile::TempDir,
}

impl CaProxy {
    /// One with a certificate that the CA's intermediate has signed.
    ///
    /// # Errors
    /// nginx or `step` is not there, or does not work.
    pub fn with_certificate_of(ca: &StepCa) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for nginx")?;
        let path = |name: &str| directory.path().join(name).display().to_string();
        let subject = ["127.0.0.1", &path("proxy.crt"), &path("proxy.key"), "--profile", "leaf", "--bundle"];
        let signer = ["--ca", "certs/intermediate_ca.crt", "--ca-key", "secrets/intermediate_ca_key"];
        let more = ["--ca-password-file", "password", "--no-password", "--insecure", "--not-after", "24h"];
        create(ca.directory.path(), &[&subject[..], &signer[..], &more[..]].concat())?;
        Self::start(directory, ca)
    }

    /// One with a certificate of its own.
    ///
    /// # Errors
    /// nginx is not there, or does not work.
    pub fn with_own_certificate(ca: &StepCa) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for nginx")?;
        let made = generate_simple_self_signed(["127.0.0.1".to_owned()]).context("make a self-signed pair")?;
        fs::write(directory.path().join("proxy.crt"), made.cert.pem())?;
        fs::write(directory.path().join("proxy.key"), made.signing_key.serialize_pem())?;
        Self::start(directory, ca)
    }

    /// `https://127.0.0.1:PORT`, and this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.port.address())
    }

    fn start(directory: tempfile::TempDir, ca: &StepCa) -> Result<Self> {
        let port = Port::reserve()?;
        let root = directory.path();
        fs::write(root.join("nginx.conf"), configuration(root, &port, &ca.url())).context("configure nginx")?;
        let mut command = Command::new(program::found("nginx")?);
        command.arg("-p").arg(root).arg("-c").arg(root.join("nginx.conf")).args(["-e", "stderr"]);
        let mut process = Process::spawn("nginx before the CA", &mut command, &root.join("log"))?;
        wait::until("nginx to listen", START, || {
            process.check_running().map_err(|error| format!("{error:#}"))?;
            if port::is_listening(process.id(), port.address()) { Ok(()) } else { Err(process.log_tail()) }
        })?;
        Ok(Self { process, port, _directory: directory })
    }

    /// The id of its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// The CA is below `/step/`, and also where it expects to be.
fn configuration(root: &Path, port: &Port, ca: &str) -> String {
    let to_ca = |place: &str| format!("\t\tlocation {place} {{ proxy_pass {ca}/; proxy_ssl_verify off; }}\n");
    let server = format!(
        "\t\tlisten {} ssl;\n\
         \t\tssl_certificate {1}/proxy.crt;\n\
         \t\tssl_certificate_key {1}/proxy.key;\n{2}{3}",
        port.address(),
        root.display(),
        to_ca("/step/"),
        to_ca("/"),
    );
    with_servers(root, &[server])
}
