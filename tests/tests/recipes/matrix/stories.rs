//! What goes wrong, and what is promised then.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use pinion_proto::stage::{Halt, Stage};
use pinion_tests::{
    account::Account,
    pair::{Pair, Reads},
    wait::{self, PATIENCE},
};

use super::trial::Trial;

type Story = fn(&mut Trial) -> Result<()>;

pub(super) const STORIES: [(&str, Story); 9] = [
    ("what is renewed is served", renewed),
    ("what does not validate is taken back", invalid),
    ("a service that fails to be told once is told again", refused_once),
    ("a service that is never told keeps the old certificate", never_told),
    ("a service that is stopped is waited for", stopped),
    ("a service that goes on with old files is never called served", replaced),
    ("owner and mode are put right", spoilt_rights),
    ("a directory that is somebody else's is refused", foreign_directory),
    ("the service's user can read its files at any moment", readers),
];

fn renewed(trial: &mut Trial) -> Result<()> {
    let renewed = trial.place.renew(trial.row.name, "served")?;
    trial.comes_to_show(&renewed)
}

fn invalid(trial: &mut Trial) -> Result<()> {
    let (before, files, told) = (trial.settled()?, trial.files()?, trial.subject().told());
    let says = trial.spoil()?;
    trial.is_refused(says)?;
    trial.halts(Halt::Blocked, "the old files are back in place")?;
    ensure!(trial.shown()? == before, "the old certificate is not served");
    trial.has_files(&files)?;
    ensure!(trial.subject().told() == told, "it was told of files that did not validate");
    trial.mend()?;
    trial.comes_to_be_served(&before)
}

fn refused_once(trial: &mut Trial) -> Result<()> {
    let told = trial.subject().told();
    if !trial.subject().refuse_once()? {
        return Ok(());
    }
    let renewed = trial.place.renew(trial.row.name, "served")?;
    // Once in vain, once of the old files, once for good.
    ensure!(trial.subject().told() >= told + 3, "told {} times only", trial.subject().told() - told);
    trial.comes_to_show(&renewed)
}

fn never_told(trial: &mut Trial) -> Result<()> {
    let (before, files, firmly) = (trial.settled()?, trial.files()?, trial.subject().told_firmly());
    trial.subject().refuse(true)?;
    trial.hangs()?;
    trial.halts(Halt::Blocked, REFUSAL)?;
    trial.halts(Halt::Blocked, "the old files are back in place")?;
    if trial.row.escalates {
        wait::until("the service to be told more firmly", PATIENCE, || match trial.subject().told_firmly() {
            told if told > firmly => Ok(()),
            told => Err(format!("{told} times")),
        })?;
    }
    ensure!(trial.shown()? == before, "the old certificate is not served");
    trial.has_files(&files)?;

    trial.place.guest.restart()?;
    trial.halts(Halt::Blocked, "the old files are back in place")?;
    trial.is_told_again(2)?;
    ensure!(trial.shown()? == before, "the old certificate is not served after the agent's restart");
    trial.has_files(&files)?;

    trial.subject().refuse(false)?;
    trial.comes_to_be_served(&before)
}

fn stopped(trial: &mut Trial) -> Result<()> {
    let (name, before) = (trial.row.name, trial.settled()?);
    trial.subject().stop()?;
    trial.place.host.renew(&[name], "installed")?;
    let trouble = trial.place.waiting(name, "")?;
    ensure!(!trouble.cause.is_empty(), "nothing says what is waited for");
    ensure!(trial.place.serial(name)? != before, "the files do not wait for the service");
    trial.subject().start()?;
    trial.comes_to_be_served(&before)
}

fn replaced(trial: &mut Trial) -> Result<()> {
    let (name, before) = (trial.row.name, trial.settled()?);
    let (from, to) = trial.copy_of_old()?;
    trial.subject().replace(&from, &to)?;
    ensure!(trial.shown()? == before, "the other one does not go on with the old files");
    trial.hangs()?;
    trial.halts(Halt::Waiting, &format!("it serves the certificate with serial {before}"))?;
    let enough = trial.subject().told() + 2;
    wait::until("the service to be told again", PATIENCE, || {
        let status = trial.place.host.status().map_err(|error| format!("{error:#}"))?;
        let placement = status.placement(&trial.id()).ok_or("there is no such placement")?;
        if placement.stage == Stage::Served {
            return Ok(Err(anyhow!("{before} is served, and it is called served")));
        }
        match trial.subject().told() {
            told if told >= enough => Ok(Ok(())),
            told => Err(format!("told {told} times of {enough}")),
        }
    })??;
    ensure!(trial.place.serial(name)? != before, "the new files are not in place");
    trial.subject().put_back(&from, &to)?;
    trial.comes_to_be_served(&before)
}

fn spoilt_rights(trial: &mut Trial) -> Result<()> {
    let (before, rights) = (trial.settled()?, trial.rights()?);
    for path in trial.paths() {
        chown(&path, Some(NOBODY), Some(NOBODY)).with_context(|| format!("give {} away", path.display()))?;
        let open = fs::Permissions::from_mode(0o606);
        fs::set_permissions(&path, open).with_context(|| format!("open {}", path.display()))?;
    }
    wait::until("owners and modes to be put right", PATIENCE, || match trial.rights() {
        Ok(found) if found == rights => Ok(()),
        other => Err(format!("{other:?} and not {rights:?}")),
    })?;
    trial.place.comes_to(trial.row.name, Stage::Served)?;
    trial.comes_to_show(&before)
}

fn foreign_directory(trial: &mut Trial) -> Result<()> {
    let (before, files, told) = (trial.settled()?, trial.files()?, trial.subject().told());
    trial.give_directory(NOBODY)?;
    trial.is_refused(&format!("belongs to user {NOBODY}"))?;
    ensure!(trial.shown()? == before && trial.files()? == files, "something has changed");
    ensure!(trial.subject().told() == told, "it was told of nothing");
    trial.give_directory(0)?;
    trial.comes_to_be_served(&before)
}

/// In both layouts, and while one becomes the other.
fn readers(trial: &mut Trial) -> Result<()> {
    let Some(user) = trial.row.user else { return Ok(()) };
    let (account, trial) = (Account::of(user)?, &*trial);
    let paths = trial.paths();
    let [chain, key] = paths.as_slice() else { return Err(anyhow!("{user} reads two files")) };
    let generations = trial.place.guest.path(trial.row.directory).join(format!(".pinion/{}/current", trial.row.name));
    let (linked, going_on) = (&AtomicBool::new(true), &AtomicBool::new(true));
    let (by_handle, by_path, renewals) = thread::scope(|scope| {
        let by_handle = scope.spawn(|| {
            let (Some(key), Some(chain)) = (key.file_name(), chain.file_name()) else {
                return Err(anyhow!("files have names"));
            };
            read(account, linked, || Pair::by_handle(&generations, key, chain))
        });
        let by_path = scope.spawn(|| read(account, going_on, || Pair::by_path(key, chain).map(Some)));
        let renewals = (|| {
            for _ in 0..RENEWALS {
                trial.place.renew(trial.row.name, "served")?;
            }
            linked.store(false, Ordering::Relaxed);
            trial.order(Some("copy"))?;
            for _ in 0..RENEWALS {
                trial.place.renew(trial.row.name, "served")?;
            }
            ensure!(!key.is_symlink(), "it is still a link");
            Ok(())
        })();
        linked.store(false, Ordering::Relaxed);
        going_on.store(false, Ordering::Relaxed);
        (by_handle.join(), by_path.join(), renewals)
    });
    renewals?;
    for (how, reads) in [("through the directory", by_handle), ("by their paths", by_path)] {
        let reads: Reads = reads.map_err(|_| anyhow!("a reader panicked"))??;
        ensure!(reads.pairs > 0 && reads.unreadable == 0, "{user} {how}: {reads:?}");
        ensure!(how == "by their paths" || reads.mismatched == 0, "{user} {how}: {reads:?}");
    }
    Ok(())
}

/// Reads as this user for as long as it goes on.
fn read(
    account: Account,
    goes_on: &AtomicBool,
    mut pair: impl FnMut() -> std::io::Result<Option<Pair>>,
) -> Result<Reads> {
    account.take_over()?;
    let mut reads = Reads::default();
    while goes_on.load(Ordering::Relaxed) {
        reads.count(pair());
        thread::yield_now();
    }
    Ok(reads)
}

/// What a unit, or docker, says when a test has it refuse.
const REFUSAL: &str = "the test wants this";

const NOBODY: u32 = 65_534;

/// In each layout.
const RENEWALS: usize = 3;
