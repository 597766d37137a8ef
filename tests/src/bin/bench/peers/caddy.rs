//! Caddy, a web server that renews its own certificates (ACME), and so needs no reload.
//!
//! It looks every ten minutes which certificate is due (`DefaultRenewCheckInterval` of certmagic). Here it looks every five
//! seconds while its renewals are measured, and what it takes by default is computed.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use pinion_tests::{
    port::Port,
    process::Process,
    program,
    wait::{self, PATIENCE},
};
use serde_json::json;
use tempfile::TempDir;

use super::{
    authority::Authority,
    peer::{Failure, Part, Peer, RENEWALS, Renewals, Renewed, Resting, Wait, package_version, sleep_until},
    relay::Relay,
    server::Seen,
};

/// Caddy.
pub(super) struct Caddy;

/// It, with a certificate.
struct Site {
    process: Process,
    authority: Arc<Relay>,
    /// The CA's connection to the answer to its challenge.
    challenge: Arc<Relay>,
    root: PathBuf,
    directory: TempDir,
    address: SocketAddr,
    _ports: [Port; 2],
}

impl Site {
    /// With a certificate of this provisioner, due when so much of its life is left.
    fn new(authority: &Authority, provisioner: &str, window: f64, looks: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("pinion-caddy-").tempdir().context("make Caddy's directory")?;
        let (answers, port) = (Port::reserve()?, Port::reserve()?);
        let challenge = Arc::new(Relay::at(authority.challenges(), answers.address())?);
        let relay = Arc::new(Relay::to(authority.address())?);
        let root = authority.root();
        let issuer = json!({
            "module": "acme", "email": "root@internal.example", "trusted_roots_pem_files": [root],
            "ca": format!("https://{}/acme/{provisioner}/directory", relay.address()),
            "challenges": { "tls-alpn": { "disabled": true }, "http": { "alternate_port": answers.number() } },
        });
        let server = json!({
            "listen": [port.address().to_string()], "protocols": ["h1"], "automatic_https": { "disable_redirects": true },
            "routes": [{
                "match": [{ "host": [NAME] }], "handle": [{ "handler": "static_response", "status_code": 204 }],
            }],
        });
        let automation = json!({
            "renew_interval": looks,
            "policies": [{ "subjects": [NAME], "issuers": [issuer], "renewal_window_ratio": window }],
        });
        let configuration = json!({
            "admin": { "disabled": true },
            "storage": { "module": "file_system", "root": directory.path().join("storage") },
            "apps": {
                "http": { "http_port": answers.number(), "https_port": port.number(), "servers": { "only": server } },
                "tls": { "automation": automation },
            },
        });
        let file = directory.path().join("caddy.json");
        fs::write(&file, format!("{configuration:#}\n")).context("configure Caddy")?;
        let mut command = Command::new(program::found("caddy")?);
        command.args(["run", "--config"]).arg(&file).env("HOME", directory.path());
        command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        let process = Process::spawn("caddy", &mut command, &directory.path().join("log"))?;
        let address = port.address();
        let mut site = Self { process, authority: relay, challenge, root, directory, address, _ports: [answers, port] };
        let shown = wait::until("Caddy's certificate", PATIENCE, || match site.process.check_running() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => site.seen().leaf().map(Ok).map_err(|error| format!("{error:#}")),
        });
        match shown.and_then(|leaf| leaf) {
            Ok(_) => Ok(site),
            Err(error) => Err(error.context(site.process.log_tail())),
        }
    }

    fn seen(&self) -> Seen<'_> {
        Seen { address: self.address, name: NAME, root: &self.root }
    }
}

impl Peer for Caddy {
    fn name(&self) -> &'static str {
        "Caddy (ACME), which is the server"
    }

    fn version(&self) -> Result<String> {
        package_version("caddy")
    }

    fn has_schedule(&self) -> bool {
        true
    }

    fn rest(&self, authority: &Authority, certificates: usize) -> Result<Option<Resting>> {
        // The CA finds one name here.
        if certificates > 1 {
            return Ok(None);
        }
        let site = Site::new(authority, "acme", 1.0 / 3.0, "10m")?;
        let part = Part {
            processes: vec![site.process.id()],
            files: BTreeSet::from([program::found("caddy")?, site.directory.path().join("storage")]),
            relays: vec![Arc::clone(&site.authority), Arc::clone(&site.challenge)],
            ..Part::default()
        };
        Ok(Some(Resting { parts: vec![part], held: Box::new(site) }))
    }

    fn renew(&self, authority: &Authority, until: Instant) -> Result<Renewed> {
        let site = Site::new(authority, "acme-short", 0.9, "5s")?;
        let relays = vec![("the CA", Arc::clone(&site.authority)), ("the challenge", Arc::clone(&site.challenge))];
        let mut renewals = Renewals::begin(site.seen(), relays, until)?;
        for _ in 0..RENEWALS {
            site.authority.forget();
            renewals.one(|renewals| {
                loop {
                    if let Some(begun) = site.authority.first() {
                        return Ok(begun);
                    }
                    let now = Instant::now();
                    if now >= renewals.until() {
                        bail!("Caddy does not renew");
                    }
                    sleep_until(now + Duration::from_millis(2))?;
                }
            })?;
        }
        Ok(renewals.end(Wait::timer(LOOKS, Duration::ZERO), Failure::NothingToReload))
    }
}

/// The CA connects to what it is to certify, which has to be this machine.
const NAME: &str = "localhost";

/// Caddy's `renew_interval`, by default.
const LOOKS: Duration = Duration::from_secs(10 * 60);
