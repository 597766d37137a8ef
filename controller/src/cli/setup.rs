//! `pinion setup`: the first configuration of a host, and starting it.
//!
//! Invariant: nothing is written before everything is known and the CA has been checked with it.

mod args;
mod password;
mod questions;
mod report;

use std::{
    path::Path,
    process,
    sync::Arc,
    time::{Duration, Instant},
};

use pinion_proto::{causes::chain, clock::SystemClock, exit::Exit, keyboard, spec::PlainName, users::LocalUsers};
use rustix::process::geteuid;
use tokio::signal::ctrl_c;

pub(super) use args::SetupArgs;
use questions::Stopped;
pub(super) use report::Report;

use super::{Session, ask, issuer::words};
use crate::{
    admin::protocol::IssuerReport,
    channel::client::Client,
    config::{self, Config},
    issuer::{IssuerConfig, Password},
    manifest::{file, source::Source},
    setup::{Wanted, example::example, files::write_new, services, wanted},
};

/// The user that the package makes.
const USER: &str = "pinion";

/// Until a controller that systemd has started answers: it is ready by then, or waits for the root process at most.
const ANSWER_TIME: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What the root process needs to read which guests there are.
const LIST_TIME: Duration = Duration::from_secs(5);

/// Asks what is not given, writes what is not there, and starts what does not run.
pub(super) async fn setup(root: &Path, args: SetupArgs, json: bool) -> Exit {
    let mut report = Report::new(json);
    let done = tokio::select! {
        done = Setup { root, report: &mut report }.run(args) => done,
        // After a secret was asked for, nobody else listens for it.
        _ = ctrl_c() => process::exit(keyboard::INTERRUPTED),
    };
    let exit = done.unwrap_or_else(|Stopped { exit, why }| {
        if !why.is_empty() {
            report.problem(exit, &why);
        }
        exit
    });
    report.end(exit);
    exit
}

/// One run.
struct Setup<'a> {
    root: &'a Path,
    report: &'a mut Report,
}

impl Setup<'_> {
    async fn run(mut self, args: SetupArgs) -> Result<Exit, Stopped> {
        let owner = self.owner()?;
        let settings = config::path(self.root);
        let no_start = args.no_start;
        let (exit, is_new) = if settings.symlink_metadata().is_ok() {
            (self.keep(&settings, &args).await?, false)
        } else {
            self.write(&settings, args, owner).await?;
            (Exit::Reached, true)
        };
        let config = Config::load(self.root).map_err(|error| Stopped::usage(chain(&error)))?;
        for finding in config::check::check(self.root).findings {
            self.report.warning(&finding.to_string());
        }
        let session = Session { config, json: self.report.json };
        let answers = self.start(&session, no_start, is_new).await?;
        self.next(&session, answers).await;
        Ok(exit)
    }

    /// Whose the password's file is to be. None where this process can give nothing away, or there is no such user.
    fn owner(&self) -> Result<Option<u32>, Stopped> {
        let is_host = self.root == Path::new("/");
        if !geteuid().is_root() {
            let why = "`pinion setup` needs root: it writes to /etc/pinion and starts services; run it with sudo";
            return if is_host { Err(Stopped::blocked(why)) } else { Ok(None) };
        }
        let users = LocalUsers::read(self.root).map_err(|error| Stopped::internal(chain(&error)))?;
        match users.number(USER) {
            None if is_host => Err(Stopped::blocked(format!(
                "this host has no user {USER}, who runs the controller: install Pinion's package, or its file in \
                 /usr/lib/sysusers.d and run `systemd-sysusers`"
            ))),
            number => Ok(number),
        }
    }

    /// Checks the settings that are there, which stay.
    async fn keep(&mut self, settings: &Path, args: &SetupArgs) -> Result<Exit, Stopped> {
        self.report.kept(settings);
        if args.names_settings() {
            self.report.warning(&format!("what you gave is not used: edit {} instead", settings.display()));
        }
        let config = Config::load(self.root).map_err(|error| Stopped::usage(chain(&error)))?;
        // One that uses the embedded CA alone has no issuers.
        let mut worst = Exit::Reached;
        for (name, issuer) in &config.issuers {
            if let Err(stopped) = self.check(name, issuer, None).await {
                worst = if worst == Exit::Blocked { worst } else { stopped.exit };
            }
        }
        self.write_manifest(&wanted::empty_manifest(config.issuers.keys().map(PlainName::as_str).next()))?;
        Ok(worst)
    }

    /// Finds out what is wanted, checks it, and writes it.
    async fn write(&mut self, settings: &Path, args: SetupArgs, owner: Option<u32>) -> Result<(), Stopped> {
        let wanted = questions::answers(args, self.report).await?;
        let nothing = |Stopped { exit, why }| Stopped {
            exit,
            why: format!("{why}{}nothing was written: correct that, and run `pinion setup` again", separator(&why)),
        };
        let text = wanted.settings(self.root).map_err(Stopped::usage)?;
        let password = self.password(&wanted).await?;
        if let Some((name, issuer)) = wanted.issuer(self.root).map_err(Stopped::usage)? {
            self.check(&name, &issuer, password.clone()).await.map_err(nothing)?;
        }
        if let Some(password) = password {
            let line = zeroize::Zeroizing::new(format!("{}\n", password.reveal()));
            self.write_file(&self.password_file(), line.as_bytes(), 0o600, owner)?;
        }
        self.write_manifest(&wanted.manifest())?;
        // The last: the units start where it is.
        self.write_file(settings, text.as_bytes(), 0o644, None)
    }

    fn password_file(&self) -> std::path::PathBuf {
        self.root.join(wanted::password_file(self.root))
    }

    /// The provisioner's password, where one is needed that is not there yet.
    async fn password(&mut self, wanted: &Wanted) -> Result<Option<Password>, Stopped> {
        let file = self.password_file();
        let Some(provisioner) = wanted.provisioner() else { return Ok(None) };
        if file.symlink_metadata().is_ok() {
            self.report.kept(&file);
            return Ok(None);
        }
        password::given(provisioner).await.map(Some)
    }

    /// Looks whether an issuer could sign, and says what it says of itself.
    async fn check(
        &mut self,
        name: &PlainName,
        issuer: &IssuerConfig,
        password: Option<Password>,
    ) -> Result<(), Stopped> {
        let started = Instant::now();
        let outcome = issuer.check(name, password, Arc::new(SystemClock), self.root).await;
        let (check, trouble) = match outcome {
            Ok(None) => return Ok(()),
            Ok(Some(check)) => (Some(check), None),
            Err(error) => {
                let mut trouble = error.trouble(format!("check issuer {name}"), None);
                if error.halt() == pinion_proto::stage::Halt::Waiting {
                    trouble.remedy = "check its address, and that it runs and this host can reach it".into();
                }
                (None, Some(trouble))
            }
        };
        let found = IssuerReport { name: name.to_string(), check, trouble, took: started.elapsed() };
        self.report.issuer(&words(&found), &found);
        match found.trouble.map(|trouble| trouble.halt) {
            None => Ok(()),
            Some(pinion_proto::stage::Halt::Waiting) => Err(Stopped { exit: Exit::TimedOut, why: String::new() }),
            Some(pinion_proto::stage::Halt::Blocked) => Err(Stopped { exit: Exit::Blocked, why: String::new() }),
        }
    }

    fn write_manifest(&mut self, text: &str) -> Result<(), Stopped> {
        let path = self.root.join("etc/pinion/certificate-manifest.json");
        let source = Source::of(&path);
        // They are the manifest, and may have the defaults.
        if !path.exists() && source.more_files().is_ok_and(|files| !files.is_empty()) {
            self.report.kept(&source.directory());
            return Ok(());
        }
        self.write_file(&path, text.as_bytes(), 0o644, None)
    }

    fn write_file(&mut self, path: &Path, bytes: &[u8], mode: u32, owner: Option<u32>) -> Result<(), Stopped> {
        match write_new(path, bytes, mode, owner) {
            Ok(true) => self.report.written(path),
            Ok(false) => self.report.kept(path),
            Err(error) => return Err(Stopped::internal(format!("cannot write {}: {error}", path.display()))),
        }
        Ok(())
    }

    /// Has both daemons started; whether the controller answers.
    async fn start(&mut self, session: &Session, no_start: bool, is_new: bool) -> Result<bool, Stopped> {
        let by_hand = if self.root != Path::new("/") {
            let root = self.root.display();
            Some(format!(
                "nothing is started below {root}: run `pinion --root {root} channel` as root and `pinion --root {root} serve`"
            ))
        } else if !services::are_systemds(self.root) {
            Some(format!(
                "systemd does not run here: start `pinion channel` as root and `pinion serve` as the user {USER}"
            ))
        } else if no_start {
            Some("nothing is started: run `systemctl enable --now pinion-channel pinion`".to_owned())
        } else {
            None
        };
        if let Some(by_hand) = by_hand {
            self.report.line(&by_hand);
            return Ok(ask::answers(session).await);
        }
        let failed = |why: String| Stopped {
            exit: Exit::Unreachable,
            why: format!("{why}; `journalctl -u pinion-channel -u pinion` says more"),
        };
        services::start(is_new).await.map_err(failed)?;
        let deadline = Instant::now() + ANSWER_TIME;
        while !ask::answers(session).await {
            if Instant::now() >= deadline {
                return Err(failed(format!("the controller does not answer within {} s", ANSWER_TIME.as_secs())));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.report.started();
        Ok(true)
    }

    /// Says what to do next.
    async fn next(&mut self, session: &Session, answers: bool) {
        let manifest = &session.config.manifest;
        let (issuer, is_empty) = match file::load(manifest) {
            Ok(file::Loaded { manifest, .. }) => {
                (manifest.defaults.issuer.to_string(), manifest.certificates.is_empty())
            }
            Err(error) => return self.report.warning(&chain(&error)),
        };
        if !is_empty {
            return self.report.next_with_manifest();
        }
        let mut guests = Vec::new();
        if answers {
            let client = Client::new(&session.config.channel.socket);
            let listed = tokio::time::timeout(LIST_TIME, client.guests(None)).await;
            guests = listed.ok().and_then(Result::ok).and_then(|listing| listing.guests).unwrap_or_default();
        }
        self.report.next(manifest, &example(&guests, &issuer));
    }
}

fn separator(why: &str) -> &'static str {
    if why.is_empty() { "" } else { "\n" }
}
