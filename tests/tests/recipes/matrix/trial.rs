//! A service with its place, and what is asked of both in the stories.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pinion_proto::stage::{Halt, Stage};
use pinion_tests::{
    guest::{Guest, GuestOptions},
    look, process,
    status::PlacementJson,
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

use super::subject::{Seen, Subject};
use crate::{
    fixture::{Place, common_name},
    postgresql,
};

/// What differs from service to service.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) recipe: &'static str,
    /// Where its files are in the guest, and their names there.
    pub(super) directory: &'static str,
    pub(super) files: &'static [&'static str],
    /// The issuer's root in the guest.
    pub(super) ca: &'static str,
    pub(super) placement: Value,
    /// Placements that it needs besides.
    pub(super) others: Vec<(&'static str, Value)>,
    pub(super) seen: Seen,
    pub(super) check: Check,
    /// Whether its recipe has a stronger way than the first.
    pub(super) escalates: bool,
    /// Who reads its files, where that is not root.
    pub(super) user: Option<&'static str>,
}

/// What checks the files in place, and how it comes to say no.
pub(super) enum Check {
    /// The service's own program, which reads this file of the guest's: what is added to it, and what it then says.
    Program { reads: &'static str, nonsense: &'static str, says: &'static str },
    /// A hook.
    Hook,
}

pub(super) struct Trial {
    pub(super) row: Row,
    pub(super) place: Place<Box<dyn Subject>>,
}

/// The name of the check where the service has none, and what it says.
pub(super) const CHECK: &str = "check";
const NO: &str = "somebody's check says no";

impl Trial {
    /// The service is there and serves its first certificate.
    pub(super) fn begin(guest: Guest, row: Row, subject: Box<dyn Subject>) -> Result<Self> {
        guest.write_hook(CHECK, "#!/bin/sh\nexit 0\n")?;
        impatient(&guest, row.recipe)?;
        let trial = Self { place: Place::join(guest, subject)?, row };
        trial.order(None)?;
        trial.place.host.ensure(&[], "installed")?;
        trial.place.service.prepare()?;
        // Until then the agent may restart what the service runs in.
        for (name, _) in &trial.row.others {
            trial.place.comes_to(name, Stage::Served).with_context(|| trial.place.guest.log_tail())?;
        }
        trial.place.service.begin(&trial.place.guest)?;
        trial.place.comes_to(trial.row.name, Stage::Served).with_context(|| trial.place.guest.log_tail())?;
        Ok(trial)
    }

    /// Asks for it, in a layout of its own if one is named.
    pub(super) fn order(&self, layout: Option<&str>) -> Result<()> {
        let mut placement = self.row.placement.clone();
        if let Some(layout) = layout {
            placement["layout"] = json!(layout);
        }
        let others = self.row.others.iter().map(|(name, other)| (*name, other));
        self.place.order(&others.chain([(self.row.name, &placement)]).collect::<Vec<_>>())
    }

    pub(super) fn subject(&self) -> &dyn Subject {
        &*self.place.service
    }

    /// The serial number that a client sees.
    pub(super) fn shown(&self) -> Result<String> {
        match self.row.seen {
            Seen::Tls(address) => {
                let ca = self.place.guest.path(self.row.ca);
                Ok(look::served(address, &common_name(self.row.name), &ca)?.serial().to_owned())
            }
            Seen::Postgres(address) => postgresql::shown(address),
        }
    }

    /// It comes to be served without a word from anybody, and it is another certificate than this.
    pub(super) fn comes_to_be_served(&self, before: &str) -> Result<()> {
        self.place.comes_to(self.row.name, Stage::Served)?;
        let serial = self.place.serial(self.row.name)?;
        ensure!(serial != before, "{before} is still in place");
        self.comes_to_show(&serial)
    }

    /// The serial number that clients see, and no other any more.
    pub(super) fn settled(&self) -> Result<String> {
        let serial = self.place.serial(self.row.name)?;
        self.comes_to_show(&serial)?;
        Ok(serial)
    }

    /// Clients come to see this certificate, and no other any more: after a reload, old workers answer for a moment.
    pub(super) fn comes_to_show(&self, serial: &str) -> Result<()> {
        let mut since: Option<Instant> = None;
        wait::until(&format!("clients to see {serial}"), PATIENCE, || match self.shown() {
            Ok(shown) if shown == serial => match since.get_or_insert_with(Instant::now).elapsed() {
                held if held >= SETTLED => Ok(()),
                held => Err(format!("{serial}, for {held:?} now")),
            },
            other => {
                since = None;
                Err(format!("{other:?}"))
            }
        })
    }

    /// A renewal that is refused: a person is needed, for this reason.
    pub(super) fn is_refused(&self, reason: &str) -> Result<()> {
        let refused =
            self.place.host.pinion(&["ensure", self.row.name, "--renew", "--until", "served", "--timeout", "25s"])?;
        ensure!(refused.code() == 4, "it was to be blocked: {refused}");
        self.halts(Halt::Blocked, reason)
    }

    /// A renewal that does not come to be served soon.
    pub(super) fn hangs(&self) -> Result<()> {
        let hangs =
            self.place.host.pinion(&["ensure", self.row.name, "--renew", "--until", "served", "--timeout", "1s"])?;
        ensure!([3, 4].contains(&hangs.code()), "it was taken: {hangs}");
        Ok(())
    }

    /// It comes to be held up for this reason.
    pub(super) fn halts(&self, halt: Halt, reason: &str) -> Result<()> {
        let held_up = |placement: &PlacementJson| {
            placement.trouble.as_ref().is_some_and(|held| held.halt == halt && held.cause.contains(reason))
        };
        self.place.host.wait_placement(&self.id(), held_up).map(drop).with_context(|| format!("held up by {reason:?}"))
    }

    pub(super) fn id(&self) -> String {
        self.place.id(self.row.name)
    }

    /// It is told so many times more.
    pub(super) fn is_told_again(&self, times: usize) -> Result<()> {
        let enough = self.subject().told() + times;
        wait::until("the service to be told again", PATIENCE, || match self.subject().told() {
            told if told >= enough => Ok(()),
            told => Err(format!("told {told} times of {enough}")),
        })
    }

    /// The files have these contents, or come to have them.
    pub(super) fn has_files(&self, files: &[String]) -> Result<()> {
        wait::until("the old files to be back", PATIENCE, || match self.files() {
            Ok(found) if found == files => Ok(()),
            Ok(_) => Err("other contents".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        })
    }

    pub(super) fn files(&self) -> Result<Vec<String>> {
        self.paths().iter().map(|path| fs::read_to_string(path).context("read a file in place")).collect()
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let directory = self.place.guest.path(self.row.directory);
        self.row.files.iter().map(|file| directory.join(file)).collect()
    }

    /// Owner, group and mode of each file.
    pub(super) fn rights(&self) -> Result<Vec<(u32, u32, u32)>> {
        let rights = |path: &PathBuf| {
            let found = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
            Ok((found.uid(), found.gid(), found.permissions().mode() & 0o7777))
        };
        self.paths().iter().map(rights).collect()
    }

    /// Gives the directory of the files to a user.
    pub(super) fn give_directory(&self, user: u32) -> Result<()> {
        let directory = self.place.guest.path(self.row.directory);
        chown(&directory, Some(user), None).with_context(|| format!("give {} away", directory.display()))
    }

    /// Makes the check fail; what it then says.
    pub(super) fn spoil(&self) -> Result<&'static str> {
        match self.row.check {
            Check::Program { reads, nonsense, says } => {
                let guest = &self.place.guest;
                guest.write(reads, &(guest.read(reads)? + nonsense))?;
                Ok(says)
            }
            Check::Hook => {
                self.place.guest.write_hook(CHECK, &format!("#!/bin/sh\necho \"{NO}\" >&2\nexit 1\n"))?;
                Ok(NO)
            }
        }
    }

    /// Makes it pass again.
    pub(super) fn mend(&self) -> Result<()> {
        match self.row.check {
            Check::Program { reads, nonsense, .. } => {
                let text = self.place.guest.read(reads)?;
                self.place.guest.write(reads, text.strip_suffix(nonsense).context("the nonsense is there")?)
            }
            Check::Hook => self.place.guest.write_hook(CHECK, "#!/bin/sh\nexit 0\n"),
        }
    }

    /// Copies what is in place now, for whoever goes on with it: the two directories as the machine sees them.
    pub(super) fn copy_of_old(&self) -> Result<(String, String)> {
        let text = |inside: &str| self.place.guest.path(inside).display().to_string();
        let (from, to) = (text(self.row.directory), text("/srv/old"));
        fs::create_dir_all(&to).context("make a directory for the old files")?;
        let mut copy = Command::new("cp");
        process::run(copy.args(["-aL", &format!("{from}/."), &to]), b"", PATIENCE)?.succeeded()?;
        Ok((from, to))
    }
}

/// nginx's old and new workers accept side by side for 100 ms after a reload (`ngx_master_process_cycle`).
const SETTLED: Duration = Duration::from_millis(250);

/// A guest whose agent tries again soon.
pub(super) fn options() -> GuestOptions {
    let soon = Duration::from_millis(400);
    GuestOptions {
        retry_initial: Duration::from_millis(50),
        retry_max: soon,
        retry_blocked: Some(soon),
        check_every: Some(soon),
        ..GuestOptions::default()
    }
}

/// The shipped recipe, with less time for a service to show what it was told of.
fn impatient(guest: &Guest, recipe: &str) -> Result<()> {
    let shipped = format!("{}/../agent/recipes/{recipe}.toml", env!("CARGO_MANIFEST_DIR"));
    let shipped = fs::read_to_string(&shipped).with_context(|| format!("read {shipped}"))?;
    let lines = shipped.lines().map(|line| if line.starts_with("settle = ") { "settle = \"1s\"" } else { line });
    let text = lines.collect::<Vec<_>>().join("\n");
    guest.write(&format!("/etc/pinion/recipes.d/{recipe}.toml"), &text)
}
