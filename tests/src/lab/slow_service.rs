//! A small TLS server under a booted host's systemd that takes its time, and counts how often it is started.
//!
//! Invariant: every start leaves a line, whoever started it; what is counted are these lines.

use std::time::Duration;

use anyhow::Result;
use pinion_proto::stage::Stage;
use serde_json::{Value, json};

use super::booted::Booted;

/// A service under the booted host's systemd.
#[derive(Debug, Clone, Copy)]
pub struct SlowService {
    /// Its name, and its unit's.
    pub name: &'static str,
    /// Where it listens, on loopback.
    pub port: u16,
    /// Of its unit: the type, and what else it says.
    pub unit: &'static str,
    /// What it does before it listens (sh(1)); `$D` is the directory of its pair.
    pub before: &'static str,
}

impl SlowService {
    /// Where its pair is.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("/srv/{}", self.name)
    }

    fn unit(&self) -> String {
        format!("{}.service", self.name)
    }

    /// Its entry in the manifest.
    #[must_use]
    pub fn certificate(&self) -> Value {
        let file =
            |name: &str| json!({ "path": format!("{}/{name}", self.directory()), "owner": "root", "group": "root" });
        json!({ "name": self.name, "common_name": format!("{}.internal.example", self.name), "placements": [{
            "host": true, "files": { "fullchain": file("cert.pem"), "key": file("key.pem") },
            "reload": { "restart": self.unit() }, "probe": { "connect": format!("127.0.0.1:{}", self.port) } }] })
    }

    /// Writes its unit and a pair that somebody made by hand, and starts it.
    ///
    /// # Errors
    /// The host does not take it, or it does not start.
    pub fn start(&self, host: &Booted) -> Result<()> {
        let directory = self.directory();
        let script = format!(
            "#!/bin/sh\nD={directory}\ndate +%s.%N >>/var/log/{name}.starts\n{before}\n\
             exec tls-server --listen 127.0.0.1:{port} --fullchain $D/cert.pem --key $D/key.pem\n",
            name = self.name,
            before = self.before,
            port = self.port,
        );
        host.write(&format!("/usr/local/bin/{}", self.name), 0o755, script.as_bytes())?;
        let unit =
            format!("[Unit]\nDescription={0}\n[Service]\n{1}\nExecStart=/usr/local/bin/{0}\n", self.name, self.unit);
        host.write(&format!("/etc/systemd/system/{}", self.unit()), 0o644, unit.as_bytes())?;
        host.write(&format!("{directory}/.keep"), 0o644, b"")?;
        let (key, cert) = (format!("{directory}/key.pem"), format!("{directory}/cert.pem"));
        let words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let rest = ["-days", "1", "-subj", "/CN=snakeoil.invalid", "-keyout", &key, "-out", &cert];
        host.well(&[&words[..], &rest].concat())?;
        host.well(&["systemctl", "daemon-reload"])?;
        host.well(&["systemctl", "start", "--no-block", &self.unit()]).map(drop)
    }

    /// How often it was started.
    #[must_use]
    pub fn starts(&self, host: &Booted) -> usize {
        let path = format!("/var/log/{}.starts", self.name);
        host.well(&["cat", &path]).map_or(0, |told| told.stdout.lines().count())
    }

    /// Its placement's name.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}@host", self.name)
    }

    /// Waits until it shows another certificate of Pinion's than this one: its serial number.
    ///
    /// # Errors
    /// That takes longer than `max`.
    pub fn wait_served(&self, host: &Booted, before: Option<&str>, max: Duration) -> Result<String> {
        host.wait_status(&format!("{} to be served", self.name), max, |status| {
            let placement = status.placement(&self.id())?;
            let serial = placement.serial.clone().filter(|serial| Some(serial.as_str()) != before)?;
            (placement.stage == Stage::Served && placement.trouble.is_none()).then_some(serial)
        })
    }
}

/// A booted host whose own agent has joined and has these services' certificates to look after: hooks have 4 s, which is less
/// than a slow service needs and than systemd gives it, and what is blocked is tried again after a minute.
///
/// # Errors
/// It does not come up, or a service does not start.
pub fn host_of(services: &[SlowService]) -> Result<Booted> {
    let manifest = |certificates: &[Value]| json!({ "version": 1, "defaults": { "issuer": "embedded" }, "certificates": certificates });
    let host = Booted::install(&manifest(&[]))?;
    let units: Vec<String> = services.iter().map(|service| format!("{:?}", service.unit())).collect();
    let agent = format!(
        "check_every = \"1s\"\nhook_timeout = \"4s\"\n[allow]\ndirectories = [\"/srv\"]\nunits = [{}]\n\
         [retry]\ninitial = \"1s\"\nmax = \"2s\"\nblocked = \"60s\"\n",
        units.join(", ")
    );
    host.write("/etc/pinion/agent.toml", 0o644, agent.as_bytes())?;
    host.boot()?;
    host.wait_well()?;
    services.iter().try_for_each(|service| service.start(&host))?;
    host.join()?;
    host.write_manifest(&manifest(&services.iter().map(SlowService::certificate).collect::<Vec<_>>()))?;
    Ok(host)
}
