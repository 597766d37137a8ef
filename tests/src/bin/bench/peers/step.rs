//! Smallstep's own clients: `step ca renew --daemon`, and its systemd timer.
//!
//! No systemd runs here: what the timer's unit does is done in its order (`systemd/cert-renewer@.service` of its sources), and
//! what the timer adds is computed.

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use pinion_tests::{interrupt, process, process::Process, program};
use tempfile::TempDir;

use super::{
    authority::{Authority, finished},
    peer::{Failure, Part, Peer, RENEWALS, Renewals, Renewed, Resting, Wait},
    relay::Relay,
    server::{Pair, Seen, Server},
};

/// `step ca renew --daemon`: a process for each certificate.
pub(super) struct StepDaemon;

/// `step ca renew` by a timer, for each certificate.
pub(super) struct StepTimer;

/// Certificates from the CA, in a directory.
struct Site {
    relay: Arc<Relay>,
    pairs: Vec<Pair>,
    directory: TempDir,
}

impl Site {
    fn new(authority: &Authority, certificates: usize, valid: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("pinion-step-").tempdir().context("make step's directory")?;
        let relay = Arc::new(Relay::to(authority.address())?);
        let pair = |number: usize| Pair {
            name: format!("c{number}.internal.example"),
            chain: directory.path().join(format!("c{number}.crt")),
            key: directory.path().join(format!("c{number}.key")),
        };
        let pairs: Vec<Pair> = (0..certificates).map(pair).collect();
        for pair in &pairs {
            authority.certificate(&relay, pair, directory.path(), valid)?;
        }
        Ok(Self { relay, pairs, directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn part(&self) -> Result<Part> {
        let files = [program::found("step")?, self.path().to_owned()].into();
        Ok(Part { files, relays: vec![Arc::clone(&self.relay)], ..Part::default() })
    }

    /// `step ca renew`.
    fn renew(&self, authority: &Authority, pair: &Pair, words: &[&str]) -> Result<Command> {
        let files = [pair.chain.display().to_string(), pair.key.display().to_string()];
        let words = [&["ca", "renew", &files[0], &files[1]], words].concat();
        authority.step(&self.relay, self.path(), &words)
    }

    /// `step certificate needs-renewal`: its exit code is 0 if so, and 1 if not.
    fn needs_renewal(&self, pair: &Pair, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(program::found("step")?);
        command.args(["certificate", "needs-renewal"]).arg(&pair.chain).args(words);
        command.env("STEPPATH", self.path()).env("HOME", self.path());
        Ok(command)
    }

    fn only(&self) -> Result<&Pair> {
        self.pairs.first().context("there is a certificate")
    }

    /// What serves the only certificate.
    fn serve(&self) -> Result<Server> {
        let mut server = Server::prepare(self.path(), std::slice::from_ref(self.only()?))?;
        server.start()?;
        Ok(server)
    }
}

/// What it is built of, which Go knows, or else what it says of itself: one that was built by `go install` says nothing.
fn version() -> Result<String> {
    let step = program::found("step")?;
    if let Ok(go) = program::found("go")
        && let Ok(built) = finished(Command::new(go).args(["version", "-m"]).arg(&step))
    {
        // `	mod	github.com/smallstep/cli	v0.30.2	h1:…`
        let line = built.stdout.lines().find_map(|line| line.trim().strip_prefix("mod\t"));
        if let Some(version) = line.and_then(|line| line.split('\t').nth(1)) {
            return Ok(format!("step {}", version.trim_start_matches('v')));
        }
    }
    let text = finished(Command::new(step).arg("version"))?.stdout;
    // `Smallstep CLI/0.30.2 (linux/amd64)`
    let word = text.split_whitespace().find_map(|word| word.strip_prefix("CLI/"));
    Ok(format!("step {}", word.with_context(|| format!("read {text:?}"))?))
}

impl Peer for StepDaemon {
    fn name(&self) -> &'static str {
        "step ca renew --daemon"
    }

    fn version(&self) -> Result<String> {
        version()
    }

    fn has_schedule(&self) -> bool {
        true
    }

    fn rest(&self, authority: &Authority, certificates: usize) -> Result<Option<Resting>> {
        let site = Site::new(authority, certificates, "24h")?;
        let mut daemons = Vec::new();
        for pair in &site.pairs {
            let mut command = site.renew(authority, pair, &["--daemon", "--exec", "/bin/true"])?;
            daemons.push(Process::spawn("step", &mut command, &site.path().join("log"))?);
        }
        let processes = daemons.iter().map(Process::id).collect();
        let part = Part { processes, ..site.part()? };
        // In this order: the daemons use the directory.
        Ok(Some(Resting { parts: vec![part], held: Box::new((daemons, site)) }))
    }

    fn renew(&self, authority: &Authority, until: Instant) -> Result<Renewed> {
        let site = Site::new(authority, 1, "5m")?;
        let (pair, server) = (site.only()?, site.serve()?);
        let reload = server.reload().display().to_string();
        let words = ["--daemon", "--expires-in", EXPIRES_IN, "--exec", &reload];
        let mut command = site.renew(authority, pair, &words)?;
        let root = authority.root();
        let seen = Seen { address: server.address(), name: &pair.name, root: &root };
        let mut renewals = Renewals::begin(seen, vec![("the CA", Arc::clone(&site.relay))], until)?;
        site.relay.forget();
        let mut daemon = Process::spawn("step", &mut command, &site.path().join("log"))?;
        for _ in 0..RENEWALS {
            renewals.one(|renewals| {
                // Its timer makes it due and begins it at once; what it writes down of that has no fraction of a second.
                wait(&mut daemon, renewals.until(), || site.relay.first())
            })?;
            site.relay.forget();
        }
        server.fail_next()?;
        let failed = wait(&mut daemon, until, || server.has_failed().then(Instant::now))?;
        let (since, _) = renewals.seen.wait_other(renewals.leaf(), until)?;
        Ok(renewals.end(Wait::default(), Failure::NextRenewal(since.saturating_duration_since(failed))))
    }
}

/// Half a minute after it was issued a certificate of five minutes is due, and that is the shortest that a CA gives by default.
pub(super) const EXPIRES_IN: &str = "4m30s";

/// Looks often, for a moment from which is measured.
fn wait(daemon: &mut Process, until: Instant, mut look: impl FnMut() -> Option<Instant>) -> Result<Instant> {
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        daemon.check_running()?;
        if Instant::now() >= until || interrupt::requested() {
            bail!("the daemon does not renew; its log ends:\n{}", daemon.log_tail());
        }
        thread::sleep(Duration::from_millis(2));
    }
}

impl StepTimer {
    /// `OnCalendar=` and `RandomizedDelaySec=` of `systemd/cert-renewer@.timer`.
    const PERIOD: Duration = Duration::from_secs(15 * 60);
    const RANDOM: Duration = Duration::from_secs(5 * 60);
}

impl Peer for StepTimer {
    fn name(&self) -> &'static str {
        "step ca renew, by its timer"
    }

    fn version(&self) -> Result<String> {
        version()
    }

    fn rest(&self, authority: &Authority, certificates: usize) -> Result<Option<Resting>> {
        let site = Site::new(authority, certificates, "24h")?;
        let mut part = site.part()?;
        let per_hour = 3600.0 / Self::PERIOD.as_secs_f64();
        for pair in &site.pairs {
            part.commands.push((site.needs_renewal(pair, &[])?, site.path().join("log"), per_hour));
        }
        Ok(Some(Resting { parts: vec![part], held: Box::new(site) }))
    }

    fn renew(&self, authority: &Authority, until: Instant) -> Result<Renewed> {
        let site = Site::new(authority, 1, "5m")?;
        let (pair, server) = (site.only()?, site.serve()?);
        // The unit's three commands; whether the first says that a renewal is due, and then whether the last succeeds.
        let unit = |words: &[&str]| -> Result<Option<bool>> {
            let check = process::run(&mut site.needs_renewal(pair, words)?, b"", Duration::from_secs(30))?;
            if check.code() == 1 {
                return Ok(None);
            }
            check.succeeded()?;
            finished(&mut site.renew(authority, pair, &["--force"])?)?;
            Ok(Some(process::run(&mut Command::new(server.reload()), b"", Duration::from_secs(30))?.code() == 0))
        };
        let due = ["--expires-in", "5m"];
        let root = authority.root();
        let seen = Seen { address: server.address(), name: &pair.name, root: &root };
        let mut renewals = Renewals::begin(seen, vec![("the CA", Arc::clone(&site.relay))], until)?;
        for _ in 0..RENEWALS {
            renewals.one(|_| {
                let begun = Instant::now();
                ensure!(unit(&due)? == Some(true), "the unit fails");
                Ok(begun)
            })?;
        }
        server.fail_next()?;
        ensure!(unit(&due)? == Some(false), "the reload is to fail");
        for _ in 0..RENEWALS {
            // As the unit is: due when two thirds of the life are over.
            ensure!(unit(&[])?.is_none(), "a certificate that was just renewed is due");
        }
        let same = renewals.seen.leaf()?.serial() == renewals.leaf().serial();
        ensure!(same, "nginx serves a leaf that it was not told of");
        Ok(renewals.end(Wait::timer(Self::PERIOD, Self::RANDOM), Failure::NotBeforeNextRenewal))
    }
}
