//! Pinion, as it is shipped: a controller with its root process, an agent, step-ca behind a relay.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use pinion_proto::{clock::Timestamp, stage::Stage};
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    process::Process,
    program, wait,
};
use rustix::process::geteuid;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    authority::Authority,
    peer::{Failure, Part, Peer, RENEWALS, Renewals, Renewed, Resting, Wait, sleep_until},
    relay::Relay,
    server::{Pair, Seen, Server, place_snakeoil},
};

/// Pinion.
pub(super) struct Pinion;

/// A host, a guest and its nginx.
struct Installation {
    // In the order in which they are to end.
    server: Server,
    guest: Guest,
    root_process: Process,
    host: Host,
    link: Arc<Relay>,
    to_ca: Arc<Relay>,
}

impl Installation {
    /// With certificates that nginx serves.
    fn new(authority: &Authority, certificates: usize, policy: &Value) -> Result<Self> {
        let to_ca = Arc::new(Relay::to(authority.address())?);
        let options = HostOptions {
            // As without a word about it in the configuration.
            retry_initial: Duration::from_secs(30),
            retry_max: Duration::from_secs(3600),
            web: Some(String::new()),
            ..HostOptions::step_ca(authority.issuer(&to_ca)?, &json!([]))
        };
        let mut host = Host::prepare(&options)?;
        let link = Arc::new(Relay::to(host.address())?);
        advertise(&host, &link)?;
        // The package's user is not on every machine.
        host.configure(&format!("\n[channel]\nuser = \"{}\"\n", geteuid().as_raw()))?;
        let root_process = host.start_channel()?;
        host.start_again()?;

        let mut guest = Guest::prepare("101", &GuestOptions::default())?;
        // The tests' agents are more impatient than those that are shipped.
        fs::remove_file(guest.path("/etc/pinion/agent.toml")).context("remove the agent's configuration")?;
        guest.join_with(&host.token("101")?)?.succeeded()?;
        let pairs: Vec<Pair> = (0..certificates).map(|number| pair(&guest, number)).collect();
        pairs.iter().try_for_each(place_snakeoil)?;
        let directory = guest.path("/var/lib/nginx");
        fs::create_dir_all(&directory).context("make nginx's directory")?;
        let mut server = Server::prepare(&directory, &pairs)?;
        server.start()?;
        guest.write_hook("nginx.service", &hook(&server.reload()))?;
        guest.write_hook("nginx-test", &hook(&server.test()))?;
        guest.start()?;
        guest.wait_linked(&host)?;

        let entry = |number: usize| {
            let mut entry = json!({
                "name": format!("c{number}"), "common_name": name(number),
                "placements": [{
                    "guest": 101, "recipe": "nginx", "validate": { "hook": "nginx-test" },
                    "probe": { "connect": server.address() },
                }],
            });
            if let (Some(entry), Some(policy)) = (entry.as_object_mut(), policy.as_object()) {
                entry.extend(policy.clone());
            }
            entry
        };
        let entries: Vec<Value> = (0..certificates).map(entry).collect();
        host.write_manifest(&json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": entries }))?;
        host.ensure(&[], "served")?;
        Ok(Self { server, guest, root_process, host, link, to_ca })
    }

    /// When the only certificate is due.
    fn due(&self) -> Result<Timestamp> {
        let placement = self.host.wait_placement("c0@101", |placement| placement.stage == Stage::Served)?;
        placement.renew_at.context("a certificate that is served is due some time")
    }

    fn parts(&mut self) -> Result<Vec<Part>> {
        let below = |root: &Path, names: &[&str]| -> BTreeSet<PathBuf> {
            names.iter().map(|name| root.join(name)).filter(|path| path.exists()).collect()
        };
        let mut files = below(self.guest.root(), &["etc/pinion", "var/lib/pinion-agent"]);
        files.insert(program::own("pinion-agent")?);
        let agent = Part {
            name: "the agent, in each guest",
            processes: vec![self.guest.agent().context("the agent runs")?.id()],
            files,
            relays: vec![Arc::clone(&self.link)],
            ..Part::default()
        };
        let mut files = below(self.host.root(), &["etc/pinion", "var/lib/pinion", "var/lib/pinion-channel"]);
        files.insert(program::own("pinion")?);
        let controller = Part {
            name: "the controller, once on the host",
            processes: vec![self.host.controller().context("the controller runs")?.id()],
            files,
            relays: vec![Arc::clone(&self.to_ca)],
            ..Part::default()
        };
        // The same program; what it has is counted there.
        let root_process =
            Part { name: "its root process", processes: vec![self.root_process.id()], ..Part::default() };
        Ok(vec![agent, controller, root_process])
    }
}

impl Peer for Pinion {
    fn name(&self) -> &'static str {
        "Pinion"
    }

    fn version(&self) -> Result<String> {
        Ok(format!("Pinion {}", env!("CARGO_PKG_VERSION")))
    }

    fn has_schedule(&self) -> bool {
        true
    }

    fn rest(&self, authority: &Authority, certificates: usize) -> Result<Option<Resting>> {
        let mut installation = Installation::new(authority, certificates, &json!({ "duration": "24h" }))?;
        let parts = installation.parts()?;
        Ok(Some(Resting { parts, held: Box::new(installation) }))
    }

    fn renew(&self, authority: &Authority, until: Instant) -> Result<Renewed> {
        let policy = json!({ "duration": "5m", "renew_before": super::step::EXPIRES_IN });
        let installation = Installation::new(authority, 1, &policy)?;
        let (name, root) = (name(0), authority.root());
        let seen = Seen { address: installation.server.address(), name: &name, root: &root };
        let relays = vec![
            ("guest and host", Arc::clone(&installation.link)),
            ("host and the CA", Arc::clone(&installation.to_ca)),
        ];
        let mut renewals = Renewals::begin(seen, relays, until)?;
        let wait_due = |renewals: &Renewals<'_>| {
            let due = installation.due()?;
            let now = Timestamp::from(SystemTime::now());
            ensure!(due > now, "it was due before anybody looked");
            let due = Instant::now() + until_second(due)?;
            ensure!(due < renewals.until(), "it is due too late");
            sleep_until(due)?;
            Ok(due)
        };
        for _ in 0..RENEWALS {
            renewals.one(wait_due)?;
        }
        installation.server.fail_next()?;
        wait_due(&renewals)?;
        wait::until("the reload that fails", wait::PATIENCE, || {
            installation.server.has_failed().then_some(()).ok_or("not yet")
        })?;
        let failed = Instant::now();
        let (since, _) = renewals.seen.wait_other(renewals.leaf(), until)?;
        Ok(renewals.end(Wait::default(), Failure::Retried(since.saturating_duration_since(failed))))
    }
}

/// How long it is until a second begins.
fn until_second(second: Timestamp) -> Result<Duration> {
    let then = SystemTime::from(OffsetDateTime::from(second));
    then.duration_since(SystemTime::now()).context("that second is over")
}

fn name(number: usize) -> String {
    format!("c{number}.internal.example")
}

/// Where the recipe has it.
fn pair(guest: &Guest, number: usize) -> Pair {
    let name = name(number);
    let file = |kind: &str| guest.path(&format!("/etc/nginx/ssl/{name}.{kind}"));
    Pair { chain: file("crt"), key: file("key"), name }
}

/// What takes the place of `systemctl reload nginx` and `nginx -t` in a guest without systemd.
fn hook(command: &Path) -> String {
    format!("#!/bin/sh\nexec {}\n", command.display())
}

/// Agents are to dial the relay.
fn advertise(host: &Host, relay: &Relay) -> Result<()> {
    let path = host.root().join("etc/pinion/controller.toml");
    let text = fs::read_to_string(&path).context("read the configuration")?;
    let line = |address| format!("advertise = [\"{address}\"]");
    let changed = text.replace(&line(host.address()), &line(relay.address()));
    ensure!(changed != text, "the configuration says nothing of {}", host.address());
    fs::write(&path, changed).context("write the configuration")
}
