//! Putting a backup back.
//!
//! Invariant: all or nothing. Everything is written beside what is there, then exchanged with it, the shared area by one
//! rename; what fails before the end is exchanged back. What was there before stays, under a name of its own. Nothing is
//! done while a controller runs, and nothing that is there is replaced unless a person says so.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use pinion_proto::{clock::Timestamp, users::LocalUsers};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{BackupError, Entries, Entry, MAX_FILE, decode, failed};
use crate::{
    channel::identity::DIRECTORY as CHANNEL_DIRECTORY,
    store::{self, StoreError},
};

/// The user that the package makes.
const USER: &str = "pinion";

/// Files that anybody may read; all others in `/etc/pinion` are the daemon's alone.
const PUBLIC: [&str; 3] = ["controller.toml", "certificate-manifest.json", "identity-root"];

/// What was restored.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// When the backup was made.
    pub made_at: Timestamp,
    /// How many files were in it.
    pub entries: usize,
    /// Where what was there before is now.
    pub before: Vec<PathBuf>,
}

/// Puts a backup back below `root`. `replace` says that what is there may be replaced.
///
/// # Errors
/// The file is no whole backup, the controller runs, something is there already, or the disk refuses: then everything is
/// as it was.
pub fn restore(root: &Path, file: &Path, replace: bool, now: Timestamp) -> Result<Restored, BackupError> {
    let (entries, made_at) = read(file)?;
    let state = root.join("var/lib/pinion");
    let places = Places {
        shared: state.join("shared"),
        local: state.join("local"),
        channel: root.join(CHANNEL_DIRECTORY),
        etc: root.join("etc/pinion"),
    };
    let owner = owner(root, &state);
    for directory in [&state, &places.local, &places.etc] {
        make_directory(directory, if *directory == places.etc { None } else { owner })?;
    }
    let _lock = match store::lock_new(&places.local) {
        Err(StoreError::Locked { .. }) => return Err(BackupError::Running),
        other => other?,
    };
    own(&places.local.join("controller.lock"), owner)?;
    let _channel = places.lock_channel(&entries)?;
    if !replace && let Some(there) = places.in_use(&entries) {
        let text = format!(
            "{} is there already and would be replaced; `pinion restore {} --yes` does that, and keeps what is there beside it",
            there.display(),
            file.display()
        );
        return Err(BackupError::Refused(text));
    }
    let mut swaps = places.stage(&entries, owner).inspect_err(|_| places.clean(&entries))?;
    if let Err(error) = exchange(&mut swaps) {
        places.clean(&entries);
        return Err(error);
    }
    let before = keep_aside(swaps, now);
    Ok(Restored { made_at, entries: entries.len(), before })
}

/// Reads and checks the file before anything is touched.
fn read(file: &Path) -> Result<(Entries, Timestamp), BackupError> {
    let bad = |why: String| BackupError::Bad { path: file.into(), why };
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(file).map_err(failed("read", file))?;
    let found = opened.metadata().map_err(failed("look at", file))?;
    if !found.is_file() {
        return Err(bad("it is not a regular file".into()));
    }
    if found.len() > MAX_FILE {
        return Err(bad(format!("it is larger than {MAX_FILE} bytes")));
    }
    let mut text = Zeroizing::new(Vec::new());
    opened.take(MAX_FILE).read_to_end(&mut text).map_err(failed("read", file))?;
    decode(&text).map_err(bad)
}

/// Where the parts of a backup go.
struct Places {
    shared: PathBuf,
    local: PathBuf,
    /// The root process's.
    channel: PathBuf,
    etc: PathBuf,
}

/// What is there and what takes its place.
struct Swap {
    live: PathBuf,
    staged: PathBuf,
    /// Whether something was there.
    had: bool,
    done: bool,
}

impl Places {
    fn live(&self, path: &str) -> Option<PathBuf> {
        let (area, rest) = path.split_once('/')?;
        Some(match area {
            "shared" => self.shared.join(rest),
            "local" => self.local.join(rest),
            "channel" => self.channel.join(rest),
            _ => self.etc.join(rest),
        })
    }

    /// Something that would be replaced: any state, or a file that says something else.
    fn in_use(&self, entries: &Entries) -> Option<PathBuf> {
        let used = fs::read_dir(&self.shared).is_ok_and(|mut entries| entries.next().is_some());
        if used {
            return Some(self.shared.clone());
        }
        let other = |(path, entry): (&String, &Entry)| {
            let live = self.live(path)?;
            let there = fs::read(&live).ok()?;
            (there != *entry.content).then_some(live)
        };
        entries.iter().find_map(other)
    }

    /// Keeps the root process from using its directory meanwhile, if anything goes there.
    fn lock_channel(&self, entries: &Entries) -> Result<Option<File>, BackupError> {
        if !entries.keys().any(|path| path.starts_with("channel/")) {
            return Ok(None);
        }
        make_directory(&self.channel, None)?;
        fs::set_permissions(&self.channel, Permissions::from_mode(0o700)).map_err(failed("close", &self.channel))?;
        match store::lock_new(&self.channel) {
            Err(StoreError::Locked { .. }) => Err(BackupError::Running),
            other => Ok(Some(other?)),
        }
    }

    fn staged_shared(&self) -> PathBuf {
        self.shared.with_extension("restoring")
    }

    /// Writes everything beside what is there.
    fn stage(&self, entries: &Entries, owner: Option<(u32, u32)>) -> Result<Vec<Swap>, BackupError> {
        self.clean(entries);
        let shared = self.staged_shared();
        make_directory(&shared, owner)?;
        let swap = |live: PathBuf, staged: PathBuf| Swap { live, staged, had: false, done: false };
        let mut swaps = vec![swap(self.shared.clone(), shared.clone())];
        for (path, entry) in entries {
            let Some(live) = self.live(path) else { continue };
            if let Some(rest) = path.strip_prefix("shared/") {
                let staged = shared.join(rest);
                self.make_parents(&staged, &shared, owner)?;
                write(&staged, entry, 0o600, owner)?;
                continue;
            }
            let staged = staged(&live);
            if let Some(name) = path.strip_prefix("etc/") {
                let public = PUBLIC.contains(&name);
                let mode = entry.mode & if public { 0o644 } else { 0o640 };
                // Who reads a password is the daemon; settings are root's.
                write(&staged, entry, mode, if public { None } else { owner })?;
            } else if path.starts_with("channel/") {
                self.make_parents(&live, &self.channel, None)?;
                write(&staged, entry, 0o600, None)?;
            } else {
                self.make_parents(&live, &self.local, owner)?;
                write(&staged, entry, 0o600, owner)?;
            }
            swaps.push(swap(live, staged));
        }
        Ok(swaps)
    }

    fn make_parents(&self, file: &Path, top: &Path, owner: Option<(u32, u32)>) -> Result<(), BackupError> {
        let mut missing: Vec<_> = file.ancestors().skip(1).take_while(|parent| *parent != top).collect();
        missing.reverse();
        missing.into_iter().try_for_each(|parent| make_directory(parent, owner))
    }

    /// Removes what an earlier restoration has left.
    fn clean(&self, entries: &Entries) {
        fs::remove_dir_all(self.staged_shared()).ok();
        let others = entries.keys().filter(|path| !path.starts_with("shared/")).filter_map(|path| self.live(path));
        for live in others {
            fs::remove_file(staged(&live)).ok();
        }
    }
}

fn staged(live: &Path) -> PathBuf {
    let name = live.file_name().unwrap_or_default().to_string_lossy().into_owned();
    live.with_file_name(format!(".{name}.restoring"))
}

/// Exchanges all, or none.
fn exchange(swaps: &mut [Swap]) -> Result<(), BackupError> {
    for index in 0..swaps.len() {
        let Some(swap) = swaps.get_mut(index) else { break };
        swap.had = swap.live.symlink_metadata().is_ok();
        let flags = if swap.had { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        match renameat_with(CWD, &swap.staged, CWD, &swap.live, flags) {
            Ok(()) => swap.done = true,
            Err(errno) => {
                let error = failed("replace", swap.live.clone())(errno.into());
                undo(swaps);
                return Err(error);
            }
        }
    }
    for directory in swaps.iter().filter_map(|swap| swap.live.parent()) {
        // What is not synced is there all the same, unless the power fails now.
        File::open(directory).and_then(|directory| directory.sync_all()).ok();
    }
    Ok(())
}

fn undo(swaps: &[Swap]) {
    for swap in swaps.iter().rev().filter(|swap| swap.done) {
        let flags = if swap.had { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        if let Err(error) = renameat_with(CWD, &swap.live, CWD, &swap.staged, flags) {
            tracing::error!(live = %swap.live.display(), before = %swap.staged.display(), %error, "Cannot put back what was there before");
        }
    }
}

/// Gives what was there before a name by which it is found.
fn keep_aside(swaps: Vec<Swap>, now: Timestamp) -> Vec<PathBuf> {
    let mut before = Vec::new();
    for swap in swaps.into_iter().filter(|swap| swap.had) {
        if fs::read(&swap.live).is_ok_and(|new| fs::read(&swap.staged).is_ok_and(|old| old == new)) {
            fs::remove_file(&swap.staged).ok();
            continue;
        }
        let name = swap.live.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = swap.live.with_file_name(format!("{name}.before-restore-{}", now.unix()));
        // It is there under the name that it has now otherwise.
        let kept = fs::rename(&swap.staged, &aside).map_or(swap.staged, |()| aside);
        before.push(kept);
    }
    before
}

/// Whose the state is: as it is now or, where there is none, the package's user's. None for whoever is not root.
fn owner(root: &Path, state: &Path) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    if let Ok(found) = fs::metadata(state) {
        return Some((found.uid(), found.gid()));
    }
    let users = LocalUsers::read(root).ok()?;
    let user = users.number(USER)?;
    Some((user, user))
}

fn own(path: &Path, owner: Option<(u32, u32)>) -> Result<(), BackupError> {
    let Some((user, group)) = owner else { return Ok(()) };
    chown(path, Some(user), Some(group)).map_err(failed("give its owner to", path))
}

fn make_directory(path: &Path, owner: Option<(u32, u32)>) -> Result<(), BackupError> {
    if path.is_dir() {
        return Ok(());
    }
    let mode = if owner.is_some() { 0o700 } else { 0o755 };
    match DirBuilder::new().recursive(true).mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(failed("make directory", path))?,
    }
    own(path, owner)
}

fn write(path: &Path, entry: &Entry, mode: u32, owner: Option<(u32, u32)>) -> Result<(), BackupError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut made = made.map_err(failed("make", path))?;
    let written = made.write_all(&entry.content).and_then(|()| made.sync_all());
    written.and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode))).map_err(failed("write", path))?;
    own(path, owner)
}
