//! The CA that all tools share: a real step-ca, with a provisioner for each way in.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use pinion_tests::{
    ca::StepCa,
    host::StepCaIssuer,
    port::Port,
    process::{self, Finished},
    program,
};
use serde_json::json;

use super::{relay::Relay, server::Pair};

/// The CA.
pub(super) struct Authority {
    ca: StepCa,
    address: SocketAddr,
    /// Where it looks for the answer to an ACME challenge.
    challenges: Port,
}

impl Authority {
    pub(super) fn start() -> Result<Self> {
        let challenges = Port::reserve()?;
        let port = challenges.number().to_string();
        // Both are for tests alone, says the CA: that challenges come at port 80 is a rule of ACME's.
        let ca = StepCa::start_as(&["--insecure", "--acme-http-port", &port], |config| {
            let long = json!({ "maxTLSCertDuration": "2160h" });
            config["authority"]["provisioners"][0]["claims"] = long;
            let acme = |name: &str, life: &str| {
                json!({
                    "type": "ACME", "name": name, "challenges": ["http-01"],
                    "claims": { "maxTLSCertDuration": life, "defaultTLSCertDuration": life },
                })
            };
            if let Some(provisioners) = config["authority"]["provisioners"].as_array_mut() {
                provisioners.extend([acme("acme", "2160h"), acme("acme-short", "5m")]);
            }
        })?;
        let address = ca.url().trim_start_matches("https://").parse().context("read the CA's address")?;
        Ok(Self { ca, address, challenges })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it looks for the answer to an ACME challenge.
    pub(super) fn challenges(&self) -> SocketAddr {
        self.challenges.address()
    }

    /// Its root, a PEM file.
    pub(super) fn root(&self) -> PathBuf {
        self.ca.root_file()
    }

    /// The certificate that signs, a PEM file.
    pub(super) fn intermediate(&self) -> PathBuf {
        self.root().with_file_name("intermediate_ca.crt")
    }

    /// How a controller finds it behind a relay.
    pub(super) fn issuer(&self, relay: &Relay) -> Result<StepCaIssuer> {
        Ok(StepCaIssuer { url: format!("https://{}", relay.address()), ..self.ca.issuer()? })
    }

    /// `step WORDS`, which finds the CA behind a relay and has its files in `home`.
    pub(super) fn step(&self, relay: &Relay, home: &Path, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(program::found("step")?);
        command.args(words).arg("--ca-url").arg(format!("https://{}", relay.address())).arg("--root").arg(self.root());
        // It would look at the person's own configuration.
        command.env("STEPPATH", home).env("HOME", home);
        Ok(command)
    }

    /// What tells `step` who asks.
    pub(super) fn provisioner(&self) -> [String; 4] {
        let password = self.ca.password_file().display().to_string();
        ["--provisioner".into(), "admin".into(), "--provisioner-password-file".into(), password]
    }

    /// A first certificate for `name`, valid for so long.
    pub(super) fn certificate(&self, relay: &Relay, pair: &Pair, home: &Path, valid: &str) -> Result<()> {
        let (chain, key) = (pair.chain.display().to_string(), pair.key.display().to_string());
        let words = ["ca", "certificate", &pair.name, &chain, &key, "--not-after", valid, "--force"];
        let mut command = self.step(relay, home, &words)?;
        finished(command.args(self.provisioner())).map(drop)
    }
}

/// Runs a command to its end, which has to be a good one.
pub(super) fn finished(command: &mut Command) -> Result<Finished> {
    process::run(command, b"", SOON)?.succeeded()
}

/// No command of any tool takes longer.
const SOON: Duration = Duration::from_secs(40);
