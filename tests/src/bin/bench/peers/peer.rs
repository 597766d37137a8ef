//! What every tool is asked to do, and what is measured of it.

use std::{
    any::Any,
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use pinion_proto::bundle::Leaf;
use pinion_tests::{interrupt, process};

use super::{authority::Authority, relay::Relay, server::Seen};

/// A tool that renews certificates.
pub(super) trait Peer: Sync {
    /// As the table calls it.
    fn name(&self) -> &'static str;

    /// Its program and version.
    fn version(&self) -> Result<String>;

    /// Has so many certificates, none of which is due soon; none if another one at rest is the same.
    fn rest(&self, authority: &Authority, certificates: usize) -> Result<Option<Resting>>;

    /// Renews [`RENEWALS`] times, and once with a reload that fails.
    fn renew(&self, authority: &Authority, until: Instant) -> Result<Renewed>;

    /// Whether it renews when its own schedule says so, and not when it is called.
    fn has_schedule(&self) -> bool {
        false
    }
}

/// What a tool has while nothing is to be done; it ends with its value.
pub(super) struct Resting {
    pub(super) parts: Vec<Part>,
    /// What has to live as long.
    pub(super) held: Box<dyn Any>,
}

/// A part of a tool that runs somewhere.
#[derive(Default)]
pub(super) struct Part {
    /// Where, or what; nothing if there is one part only.
    pub(super) name: &'static str,
    /// What runs all the time.
    pub(super) processes: Vec<u32>,
    /// What runs now and then: a command, its log, and how often in an hour.
    pub(super) commands: Vec<(Command, PathBuf, f64)>,
    /// Programs and data.
    pub(super) files: BTreeSet<PathBuf>,
    /// Where its traffic goes through.
    pub(super) relays: Vec<Arc<Relay>>,
}

/// What became of its renewals.
#[derive(Debug)]
pub(super) struct Renewed {
    /// How long it takes a tool to begin when a certificate is due; nothing where `took` is counted from there.
    pub(super) wait: Wait,
    /// From the beginning until the service shows the new leaf, and no other one.
    pub(super) took: Vec<Duration>,
    /// What went over each wire in a renewal, on average (bytes).
    pub(super) wire: Vec<(&'static str, u64)>,
    /// Whether each renewal made a new key.
    pub(super) fresh_key: bool,
    pub(super) failure: Failure,
}

/// What a tool's schedule puts between "due" and "begun".
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wait {
    pub(super) mean: Duration,
    pub(super) max: Duration,
}

impl Wait {
    /// A timer's that elapses with this period, each time late by a random delay of up to `random`; a certificate is due at any
    /// moment. The mean is that of what is left of an interval in which one falls: E(interval²) / 2 E(interval).
    pub(super) fn timer(period: Duration, random: Duration) -> Self {
        let (period_s, random_s) = (period.as_secs_f64(), random.as_secs_f64());
        // Two delays that are even from 0 to `random` differ with a variance of `random²` / 6.
        let mean = (period_s.powi(2) + random_s.powi(2) / 6.0) / (2.0 * period_s);
        Self { mean: Duration::from_secs_f64(mean), max: period + random }
    }

    /// And then so long again, at most.
    pub(super) fn and_up_to(self, more: Duration) -> Self {
        Self { mean: self.mean + more / 2, max: self.max + more }
    }
}

/// When nginx served the new leaf although its first reload failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// So long after the failure, because the tool tried again.
    Retried(Duration),
    /// So long after it, and only because the next renewal came.
    NextRenewal(Duration),
    /// There is no reload, because the tool is the server.
    NothingToReload,
    /// Not while it was looked at, in which the tool was called again as its timer does.
    NotBeforeNextRenewal,
}

/// How often is renewed.
pub(super) const RENEWALS: usize = 5;

/// What is measured in renewals, one after the other.
pub(super) struct Renewals<'r> {
    pub(super) seen: Seen<'r>,
    relays: Vec<(&'static str, Arc<Relay>)>,
    until: Instant,
    leaf: Leaf,
    took: Vec<Duration>,
    wire: Vec<u64>,
    fresh_key: bool,
}

impl<'r> Renewals<'r> {
    /// Begins when nginx serves a first leaf of the tool's.
    pub(super) fn begin(seen: Seen<'r>, relays: Vec<(&'static str, Arc<Relay>)>, until: Instant) -> Result<Self> {
        let leaf = seen.wait_first()?;
        let wire = vec![0; relays.len()];
        Ok(Self { seen, relays, until, leaf, took: Vec::new(), wire, fresh_key: true })
    }

    /// The leaf that is served.
    pub(super) fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// By then everything is over.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// One renewal: `begin` returns when it has begun, and since when.
    pub(super) fn one(&mut self, begin: impl FnOnce(&Self) -> Result<Instant>) -> Result<()> {
        let before: Vec<u64> = self.relays.iter().map(|(_, relay)| relay.bytes()).collect();
        let begun = begin(self)?;
        let (since, leaf) = self.seen.wait_other(&self.leaf, self.until)?;
        self.took.push(since.saturating_duration_since(begun));
        self.fresh_key &= leaf.key() != self.leaf.key();
        self.leaf = leaf;
        // Reports and the ends of connections belong to it.
        sleep_until(Instant::now() + REPORTS)?;
        for ((sum, (_, relay)), before) in self.wire.iter_mut().zip(&self.relays).zip(before) {
            *sum += relay.bytes() - before;
        }
        Ok(())
    }

    /// What was measured.
    pub(super) fn end(self, wait: Wait, failure: Failure) -> Renewed {
        let count = u64::try_from(self.took.len()).unwrap_or(1).max(1);
        let wire = self.relays.iter().zip(self.wire).map(|((name, _), sum)| (*name, sum / count)).collect();
        Renewed { wait, took: self.took, wire, fresh_key: self.fresh_key, failure }
    }
}

/// Pinion's agent reports within this time of what it reports about; others say nothing more.
const REPORTS: Duration = Duration::from_secs(2);

/// Sleeps, unless somebody wants an end.
pub(super) fn sleep_until(end: Instant) -> Result<()> {
    while Instant::now() < end {
        if interrupt::requested() {
            bail!("interrupted");
        }
        thread::sleep(Duration::from_millis(100).min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

/// A Debian package and its version.
pub(super) fn package_version(package: &str) -> Result<String> {
    let mut command = Command::new("dpkg-query");
    let finished = process::run(command.args(["-W", "-f", "${Version}", package]), b"", Duration::from_secs(10))?;
    Ok(format!("{package} {} (Debian)", finished.succeeded()?.stdout.trim()))
}

/// The files of a Debian package.
pub(super) fn package_files(package: &str) -> Result<BTreeSet<PathBuf>> {
    let mut command = Command::new("dpkg-query");
    let finished = process::run(command.args(["-L", package]), b"", Duration::from_secs(10))?.succeeded()?;
    Ok(finished.stdout.lines().map(PathBuf::from).filter(|path| is_file(path)).collect())
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
}
