//! Putting a backup back.
//!
//! Invariant: all or nothing. Everything is written beside what is there, then exchanged with it, the shared area by one
//! rename; what fails before the end is exchanged back. What was there before stays, under a name of its own. Nothing is
//! done while a controller runs, and nothing that is there is replaced unless a person says so. Root does in the
//! controller's directories only what their owner could do. Nobody who was evicted is let in by it (`evicted`).

mod evicted;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use pinion_proto::{clock::Timestamp, file_lock::FileLock, id::Guest, users::LocalUsers};
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{BackupError, Entries, Entry, MANIFEST, MAX_FILE, MORE_MANIFEST, acting, decode, failed, is_public};
use crate::{
    channel::identity::DIRECTORY as CHANNEL_DIRECTORY,
    manifest::source::Source,
    owner::Owner,
    store::{self, StoreError},
};

/// The user that the package makes.
const USER: &str = "pinion";

/// What was restored.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Restored {
    /// When the backup was made.
    pub made_at: Timestamp,
    /// How many files were in it.
    pub entries: usize,
    /// Where what was there before is now.
    pub before: Vec<PathBuf>,
    /// The guests that stay evicted.
    pub evicted: Vec<Guest>,
}

/// What a person says with the file.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// What is there may be replaced.
    pub replace: bool,
    /// `controller.toml`, the manifest and password files that are there stay as they are.
    pub keep_settings: bool,
    /// Guests that were evicted after the backup was made.
    pub evict: Vec<Guest>,
}

/// Puts a backup back below `root`.
///
/// # Errors
/// The file is no whole backup, the controller runs, something is there already, or the disk refuses: then everything is
/// as it was.
pub fn restore(root: &Path, file: &Path, wishes: &Wishes, now: Timestamp) -> Result<Restored, BackupError> {
    let (mut entries, made_at) = read(file)?;
    let state = root.join("var/lib/pinion");
    let places = Places {
        shared: state.join("shared"),
        local: state.join("local"),
        channel: root.join(CHANNEL_DIRECTORY),
        etc: root.join("etc/pinion"),
        owner: make_state(root, &state)?,
    };
    make_directory(&places.etc, 0o755)?;
    let locked = acting(places.owner, &places.local, || {
        make_directory(&places.local, 0o700)?;
        Ok(store::lock_new(&places.local)?)
    });
    let _lock = match locked {
        Err(BackupError::Store(StoreError::Locked { .. })) => return Err(BackupError::Running),
        other => other?,
    };
    let _channel = places.lock_channel(&entries)?;
    if wishes.keep_settings {
        let is_there = |path: &str| places.live(path).is_some_and(|live| live.exists());
        // The manifest is kept or restored whole.
        let has_manifest = places.has_manifest();
        entries.retain(|path, _| !is_setting(path) || !if is_manifest(path) { has_manifest } else { is_there(path) });
    }
    let present = places.present_evictions();
    let evicted = evicted::keep(&mut entries, present.as_deref().map(Vec::as_slice), &wishes.evict, root, now)
        .map_err(|why| BackupError::Bad { path: file.into(), why })?;
    if !wishes.replace
        && let Some(there) = places.in_use(&entries)
    {
        let text = format!(
            "{} exists already; `pinion restore {} --yes` replaces it, and keeps a copy",
            there.display(),
            file.display()
        );
        return Err(BackupError::Refused(text));
    }
    let mut swaps = places.stage(&entries).inspect_err(|_| places.clean(&entries))?;
    if let Err(error) = exchange(&mut swaps) {
        places.clean(&entries);
        return Err(error);
    }
    let before = keep_aside(swaps, now);
    Ok(Restored { made_at, entries: entries.len(), before, evicted })
}

/// Reads and checks the file before anything is touched.
fn read(file: &Path) -> Result<(Entries, Timestamp), BackupError> {
    let bad = |why: String| BackupError::Bad { path: file.into(), why };
    let flags = OFlags::NONBLOCK.bits().cast_signed();
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

/// Whether a file says what a person wants. Which identity root there is, is not of that kind: it belongs to the state.
fn is_setting(path: &str) -> bool {
    path.starts_with("etc/") && path != "etc/identity-root"
}

fn is_manifest(path: &str) -> bool {
    path.strip_prefix("etc/").is_some_and(|name| name == MANIFEST || name.starts_with(MORE_MANIFEST))
}

/// Where the parts of a backup go.
struct Places {
    shared: PathBuf,
    local: PathBuf,
    /// The root process's.
    channel: PathBuf,
    etc: PathBuf,
    /// Whose `shared` and `local` are; the other two are root's.
    owner: Option<Owner>,
}

/// What is there and what takes its place.
struct Swap {
    live: PathBuf,
    staged: PathBuf,
    /// Whether something was there.
    had: bool,
    done: bool,
    /// Whose the directory is.
    owner: Option<Owner>,
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

    /// Whether a manifest is there; one that cannot be looked at is.
    fn has_manifest(&self) -> bool {
        let path = self.etc.join(MANIFEST);
        path.symlink_metadata().is_ok() || Source::of(&path).more_files().is_ok_and(|files| !files.is_empty())
    }

    /// The list of evicted guests that is there now.
    fn present_evictions(&self) -> Option<Zeroizing<Vec<u8>>> {
        let read = |path: &&str| {
            let live = self.live(path)?;
            acting(self.owner, &live, || Ok(read_plain(&live))).ok()?
        };
        evicted::PATHS.iter().find_map(read)
    }

    /// Something that would be replaced: any state, or a file that says something else.
    fn in_use(&self, entries: &Entries) -> Option<PathBuf> {
        let shared = || Ok(fs::read_dir(&self.shared).is_ok_and(|mut entries| entries.next().is_some()));
        if acting(self.owner, &self.shared, shared).unwrap_or(true) {
            return Some(self.shared.clone());
        }
        let other = |(path, entry): (&String, &Entry)| {
            let live = self.live(path)?;
            let other =
                acting(self.whose(path), &live, || Ok(live.symlink_metadata().is_ok() && !says(&live, &entry.content)));
            other.unwrap_or(true).then_some(live)
        };
        entries.iter().find_map(other)
    }

    /// Keeps the root process from using its directory meanwhile, if anything goes there.
    fn lock_channel(&self, entries: &Entries) -> Result<Option<FileLock>, BackupError> {
        if !entries.keys().any(|path| path.starts_with("channel/")) {
            return Ok(None);
        }
        make_directory(&self.channel, 0o755)?;
        fs::set_permissions(&self.channel, Permissions::from_mode(0o700)).map_err(failed("close", &self.channel))?;
        match store::lock_new(&self.channel) {
            Err(StoreError::Locked { .. }) => Err(BackupError::Running),
            other => Ok(Some(other?)),
        }
    }

    /// As whom something is done with a path of the backup.
    fn whose(&self, path: &str) -> Option<Owner> {
        self.owner.filter(|_| path.starts_with("shared/") || path.starts_with("local/"))
    }

    fn staged_shared(&self) -> PathBuf {
        self.shared.with_extension("restoring")
    }

    /// Writes everything beside what is there.
    fn stage(&self, entries: &Entries) -> Result<Vec<Swap>, BackupError> {
        self.clean(entries);
        let shared = self.staged_shared();
        acting(self.owner, &shared, || self.stage_shared(&shared, entries))?;
        let swap = |live: PathBuf, staged: PathBuf, owner| Swap { live, staged, had: false, done: false, owner };
        let mut swaps = vec![swap(self.shared.clone(), shared, self.owner)];
        for (path, entry) in entries.iter().filter(|(path, _)| !path.starts_with("shared/")) {
            let Some(live) = self.live(path) else { continue };
            let (staged, owner) = (staged(&live), self.whose(path));
            if let Some(name) = path.strip_prefix("etc/") {
                let public = is_public(name);
                let mode = entry.mode & if public { 0o644 } else { 0o640 };
                make_parents(&live, &self.etc, 0o755)?;
                // Who reads a password is the daemon; settings are root's.
                write(&staged, entry, mode, if public { None } else { self.owner })?;
            } else {
                acting(owner, &live, || {
                    let top = if path.starts_with("channel/") { &self.channel } else { &self.local };
                    make_parents(&live, top, if owner.is_some() { 0o700 } else { 0o755 })?;
                    write(&staged, entry, 0o600, None)
                })?;
            }
            swaps.push(swap(live, staged, owner));
        }
        Ok(swaps)
    }

    fn stage_shared(&self, shared: &Path, entries: &Entries) -> Result<(), BackupError> {
        let mode = if self.owner.is_some() { 0o700 } else { 0o755 };
        make_directory(shared, mode)?;
        for (path, entry) in entries {
            let Some(rest) = path.strip_prefix("shared/") else { continue };
            let staged = shared.join(rest);
            make_parents(&staged, shared, mode)?;
            write(&staged, entry, 0o600, None)?;
        }
        Ok(())
    }

    /// Removes what an earlier restoration has left.
    fn clean(&self, entries: &Entries) {
        let shared = self.staged_shared();
        acting(self.owner, &shared, || Ok(fs::remove_dir_all(&shared).ok())).ok();
        for (path, live) in entries.keys().filter_map(|path| Some((path, self.live(path)?))) {
            if !path.starts_with("shared/") {
                acting(self.whose(path), &live, || Ok(fs::remove_file(staged(&live)).ok())).ok();
            }
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
        let done = acting(swap.owner, &swap.live, || {
            let had = swap.live.symlink_metadata().is_ok();
            rename(&swap.staged, &swap.live, had).map_err(failed("replace", &swap.live))?;
            Ok(had)
        });
        match done {
            Ok(had) => (swap.had, swap.done) = (had, true),
            Err(error) => {
                undo(swaps);
                return Err(error);
            }
        }
    }
    for swap in &*swaps {
        let Some(directory) = swap.live.parent() else { continue };
        // What is not synced is there all the same, unless the power fails now.
        let sync =
            || File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("sync", directory));
        acting(swap.owner, directory, sync).ok();
    }
    Ok(())
}

/// Exchanges the two, or renames the first where the second is not there.
fn rename(from: &Path, to: &Path, exchange: bool) -> io::Result<()> {
    let flags = if exchange { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    Ok(renameat_with(CWD, from, CWD, to, flags)?)
}

fn undo(swaps: &[Swap]) {
    for swap in swaps.iter().rev().filter(|swap| swap.done) {
        let back = || rename(&swap.live, &swap.staged, swap.had).map_err(failed("put back", &swap.live));
        if let Err(error) = acting(swap.owner, &swap.live, back) {
            tracing::error!(live = %swap.live.display(), before = %swap.staged.display(), %error, "Cannot restore \
                the state from before");
        }
    }
}

/// Gives what was there before a name by which it is found.
fn keep_aside(swaps: Vec<Swap>, now: Timestamp) -> Vec<PathBuf> {
    let keep = |swap: &Swap| {
        let old = read_plain(&swap.staged);
        if old.is_some_and(|old| says(&swap.live, &old)) {
            fs::remove_file(&swap.staged).ok();
            return None;
        }
        let name = swap.live.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = swap.live.with_file_name(format!("{name}.before-restore-{}", now.unix()));
        // It is there under the name that it has now otherwise.
        Some(fs::rename(&swap.staged, &aside).map_or_else(|_| swap.staged.clone(), |()| aside))
    };
    let kept = |swap: Swap| acting(swap.owner, &swap.live, || Ok(keep(&swap))).unwrap_or(Some(swap.staged));
    swaps.into_iter().filter(|swap| swap.had).filter_map(kept).collect()
}

/// What a regular file says that is there itself.
fn read_plain(path: &Path) -> Option<Zeroizing<Vec<u8>>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let mut content = Zeroizing::new(Vec::new());
    let regular = file.metadata().ok()?.is_file();
    (regular && file.take(MAX_FILE).read_to_end(&mut content).is_ok()).then_some(content)
}

fn says(path: &Path, content: &[u8]) -> bool {
    read_plain(path).is_some_and(|there| there.as_slice() == content)
}

/// Makes the state's directory, and says as whom to work in it: its owner or, where there was none, the package's user.
fn make_state(root: &Path, state: &Path) -> Result<Option<Owner>, BackupError> {
    if state.symlink_metadata().is_ok() {
        return Owner::of(root, state).map_err(failed("look at", state));
    }
    let user = LocalUsers::read(root).ok().and_then(|users| users.number(USER));
    let owner = user.map(|user| Owner { user, group: user }).filter(|_| rustix::process::geteuid().is_root());
    make_directory(state, if owner.is_some() { 0o700 } else { 0o755 })?;
    if let Some(Owner { user, group }) = owner {
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
        let made = OpenOptions::new().read(true).custom_flags(flags).open(state);
        let owned = made.and_then(|made| fchown(made, Some(user), Some(group)));
        owned.map_err(failed("give its owner to", state))?;
    }
    Ok(owner)
}

fn make_parents(file: &Path, top: &Path, mode: u32) -> Result<(), BackupError> {
    let mut missing: Vec<_> = file.ancestors().skip(1).take_while(|parent| *parent != top).collect();
    missing.reverse();
    missing.into_iter().try_for_each(|parent| make_directory(parent, mode))
}

fn make_directory(path: &Path, mode: u32) -> Result<(), BackupError> {
    if path.is_dir() {
        return Ok(());
    }
    match DirBuilder::new().recursive(true).mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(failed("make directory", path)),
    }
}

fn write(path: &Path, entry: &Entry, mode: u32, owner: Option<Owner>) -> Result<(), BackupError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut made = made.map_err(failed("make", path))?;
    let mut written = made.write_all(&entry.content);
    if let Some(Owner { user, group }) = owner {
        written = written.and_then(|()| fchown(&made, Some(user), Some(group)));
    }
    let written = written.and_then(|()| made.set_permissions(Permissions::from_mode(mode)));
    written.and_then(|()| made.sync_all()).map_err(failed("write", path))
}

#[cfg(test)]
mod tests;
