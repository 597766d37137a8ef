//! lego, an ACME client, called once a day by a timer.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pinion_tests::{port::Port, process, program};
use tempfile::TempDir;

use super::{
    authority::{Authority, finished},
    peer::{Failure, Part, Peer, RENEWALS, Renewals, Renewed, Resting, Wait, package_version},
    relay::Relay,
    server::{Pair, Seen, Server},
};

/// lego.
pub(super) struct Lego;

/// Its directory, and where its traffic goes.
struct Site {
    authority: Arc<Relay>,
    /// The CA's connection to the answer to its challenge.
    challenge: Option<Arc<Relay>>,
    answers: Port,
    root: std::path::PathBuf,
    directory: TempDir,
}

impl Site {
    fn new(authority: &Authority) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("pinion-lego-").tempdir().context("make lego's directory")?;
        let answers = Port::reserve()?;
        let challenge = Arc::new(Relay::at(authority.challenges(), answers.address())?);
        let relay = Arc::new(Relay::to(authority.address())?);
        let site = Self { authority: relay, challenge: Some(challenge), answers, root: authority.root(), directory };
        finished(&mut site.lego(&["run"])?)?;
        Ok(site)
    }

    fn lego(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(program::found("lego")?);
        command.args(["--accept-tos", "--email", "root@internal.example", "--domains", NAME, "--http", "--http.port"]);
        command.arg(self.answers.address().to_string()).arg("--path").arg(self.directory.path());
        command.arg("--server").arg(format!("https://{}/acme/acme/directory", self.authority.address())).args(words);
        command.env("LEGO_CA_CERTIFICATES", &self.root).env("HOME", self.directory.path());
        Ok(command)
    }

    fn pair(&self) -> Pair {
        let file = |kind: &str| self.directory.path().join(format!("certificates/{NAME}.{kind}"));
        Pair { name: NAME.into(), chain: file("crt"), key: file("key") }
    }
}

impl Peer for Lego {
    fn name(&self) -> &'static str {
        "lego (ACME), by a daily timer"
    }

    fn version(&self) -> Result<String> {
        package_version("lego")
    }

    fn rest(&self, authority: &Authority, certificates: usize) -> Result<Option<Resting>> {
        let mut site = Site::new(authority)?;
        // The address of challenges is one for all who are asked one; a certificate that is not due needs none.
        site.challenge = None;
        // Each certificate has its own call a day; the files of one are the files of all here.
        let call = || Ok((site.lego(&CHECK)?, site.directory.path().join("log"), 1.0 / 24.0));
        let commands = (0..certificates).map(|_| call()).collect::<Result<_>>()?;
        let files = [program::found("lego")?, site.directory.path().to_owned()].into();
        let relays = vec![Arc::clone(&site.authority)];
        let part = Part { commands, files, relays, ..Part::default() };
        Ok(Some(Resting { parts: vec![part], held: Box::new(site) }))
    }

    fn renew(&self, authority: &Authority, until: Instant) -> Result<Renewed> {
        let site = Site::new(authority)?;
        let pair = site.pair();
        let mut server = Server::prepare(site.directory.path(), std::slice::from_ref(&pair))?;
        server.start()?;
        let reload = server.reload().display().to_string();
        // The certificate lives 90 days: with this it is due at once, and with what is usual not before two months.
        let due = ["renew", "--no-random-sleep", "--days", "91", "--renew-hook", &reload];
        let usual = ["renew", "--no-random-sleep", "--days", "30", "--renew-hook", &reload];
        let root = site.root.clone();
        let seen = Seen { address: server.address(), name: NAME, root: &root };
        let challenge = site.challenge.clone().map(|relay| ("the challenge", relay));
        let relays = [("the CA", Arc::clone(&site.authority))].into_iter().chain(challenge).collect();
        let mut renewals = Renewals::begin(seen, relays, until)?;
        for _ in 0..RENEWALS {
            renewals.one(|_| {
                let begun = Instant::now();
                finished(&mut site.lego(&due)?)?;
                Ok(begun)
            })?;
        }
        server.fail_next()?;
        process::run(&mut site.lego(&due)?, b"", Duration::from_secs(30))?;
        ensure!(server.has_failed(), "the reload is to fail");
        for _ in 0..RENEWALS {
            finished(&mut site.lego(&usual)?)?;
        }
        let same = renewals.seen.leaf()?.serial() == renewals.leaf().serial();
        ensure!(same, "nginx serves a leaf that it was not told of");
        Ok(renewals.end(Wait::timer(DAY, Duration::ZERO).and_up_to(SLEEP), Failure::NotBeforeNextRenewal))
    }
}

/// The CA connects to what it is to certify, which has to be this machine.
const NAME: &str = "localhost";

/// What a timer calls.
const CHECK: [&str; 4] = ["renew", "--no-random-sleep", "--days", "30"];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where nobody watches, it sleeps up to this long before it renews (`cmd_renew.go` of its sources).
const SLEEP: Duration = Duration::from_secs(8 * 60);
