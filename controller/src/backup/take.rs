//! Taking a backup.
//!
//! Invariant: what is in it was so at one moment. While the controller does not run its lock is held; while it runs,
//! everything is read twice until nothing has changed between the two. What is read in the controller's directories is
//! what their owner could read, of regular files; what was written is known to be restorable.

mod keep;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use pinion_proto::{bundle::Fingerprint, causes::chain, clock::Timestamp};
use rustix::fs::OFlags;
use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    BackupError, Entries, Entry, LOCAL, MANIFEST, MAX_ENTRY, MORE_MANIFEST, ROOTS, SETTINGS, acting, decode, encode,
    failed, is_manifest_file, is_ours,
};
use crate::{
    channel::identity::DIRECTORY as CHANNEL_DIRECTORY,
    config::{self, Config},
    issuer::IssuerConfig,
    manifest::source::Source,
    notify::TargetConfig,
    owner::Owner,
    store::{self, StoreError},
};

/// So often everything is read anew while a controller at work changes something in between.
const MAX_READS: usize = 50;

/// Between two readings.
const PAUSE: Duration = Duration::from_millis(100);

/// A backup that was taken.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Taken {
    /// The file.
    pub file: PathBuf,
    /// How many files are in it.
    pub entries: usize,
    /// The file's SHA-256.
    pub sha256: Fingerprint,
    /// Older backups in the same directory that were removed.
    pub removed: Vec<PathBuf>,
}

/// Writes a backup into a file that is not there yet, or under a name with the time into a directory. There all but the
/// newest `keep` backups with such names are removed, if that is given.
///
/// # Errors
/// There is nothing to back up, something cannot be read, the file cannot be made, or an older one not be removed.
pub fn take(config: &Config, place: &Path, keep: Option<usize>, now: Timestamp) -> Result<Taken, BackupError> {
    let directory = place.is_dir().then_some(place);
    if keep.is_some() && directory.is_none() {
        let text = format!("{} is not a directory: `--keep` needs one, in which the backups are", place.display());
        return Err(BackupError::Refused(text));
    }
    let mut taken = take_file(config, &directory.map_or(place.into(), |there| there.join(keep::name(now))), now)?;
    if let (Some(directory), Some(keep)) = (directory, keep) {
        taken.removed = keep::prune(directory, keep)?;
    }
    Ok(taken)
}

fn take_file(config: &Config, file: &Path, now: Timestamp) -> Result<Taken, BackupError> {
    if file.symlink_metadata().is_ok() {
        let text = format!("{} exists already: name a new file, so that no backup is lost", file.display());
        return Err(BackupError::Refused(text));
    }
    // Whoever holds the lock is the controller: then what it writes meanwhile is noticed.
    let owner = owner(config, &config.local)?;
    let lock = match acting(owner, &config.local, || Ok(store::lock_existing(&config.local)?)) {
        Err(BackupError::Store(StoreError::Locked { .. })) => None,
        other => other?,
    };
    let entries = settled(config)?;
    drop(lock);
    if !ROOTS.iter().any(|root| entries.contains_key(*root)) {
        let text = format!(
            "there is nothing to back up: neither {} nor {} has an identity CA",
            config.shared.display(),
            config.root.join(CHANNEL_DIRECTORY).display()
        );
        return Err(BackupError::Refused(text));
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let text = encode(&entries, now, &host).map_err(|error| failed("write", file)(error.into()))?;
    if let Err(why) = decode(&text) {
        return Err(BackupError::Refused(format!("no backup was made, because it could not be restored: {why}")));
    }
    write(file, &text)?;
    let sha256 = Fingerprint::of(&text);
    Ok(Taken { file: file.into(), entries: entries.len(), sha256, removed: Vec::new() })
}

fn settled(config: &Config) -> Result<Entries, BackupError> {
    let mut before = collect(config)?;
    for _ in 0..MAX_READS {
        let after = collect(config)?;
        if after == before {
            return Ok(after);
        }
        before = after;
        sleep(PAUSE);
    }
    Err(BackupError::Refused("the controller keeps changing its state: try again when it is less busy".into()))
}

/// Everything that belongs into a backup, as it is now.
fn collect(config: &Config) -> Result<Entries, BackupError> {
    let mut entries = Entries::new();
    acting(owner(config, &config.shared)?, &config.shared, || walk(&config.shared, "shared", 3, &mut entries))?;
    acting(owner(config, &config.local)?, &config.local, || collect_local(&config.local, &mut entries))?;
    // Only root can look there, and only root can put it back.
    walk(&config.root.join(CHANNEL_DIRECTORY), "channel", 2, &mut entries)?;
    let settings = config::path(&config.root);
    let etc = settings.parent().unwrap_or(&config.root);
    for name in SETTINGS {
        add(&etc.join(name), format!("etc/{name}"), Links::Followed, &mut entries)?;
    }
    let more = Source::of(&etc.join(MANIFEST)).more_files();
    for file in more.map_err(|error| BackupError::Refused(chain(&error)))? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !is_manifest_file(&name) {
            let text = format!("{name:?} in {MORE_MANIFEST} is no name that can be kept: rename the file");
            return Err(BackupError::Refused(text));
        }
        add(&file, format!("etc/{MORE_MANIFEST}/{name}"), Links::Followed, &mut entries)?;
    }
    let targets = config.notify.targets.values().flat_map(TargetConfig::secret_files);
    for (_, file) in config.issuers.values().flat_map(IssuerConfig::secret_files).chain(targets) {
        let file = config.root.join(file);
        if file.parent() == Some(etc)
            && let Some(name) = file.file_name().and_then(|name| name.to_str())
        {
            add(&file, format!("etc/{name}"), Links::Followed, &mut entries)?;
        }
    }
    Ok(entries)
}

fn owner(config: &Config, area: &Path) -> Result<Option<Owner>, BackupError> {
    Owner::of(&config.root, area).map_err(failed("look at", area))
}

fn collect_local(local: &Path, entries: &mut Entries) -> Result<(), BackupError> {
    for name in LOCAL {
        let directory = local.join(name);
        if directory.is_dir() {
            walk(&directory, &format!("local/{name}"), 1, entries)?;
        }
        add(&local.join(format!("{name}.json")), format!("local/{name}.json"), Links::Refused, entries)?;
    }
    Ok(())
}

fn walk(directory: &Path, path: &str, depth: usize, entries: &mut Entries) -> Result<(), BackupError> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("list", directory))?,
    };
    for entry in listed {
        let entry = entry.map_err(failed("list", directory))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type().map_err(failed("look at", entry.path()))?;
        let below = format!("{path}/{name}");
        if kind.is_dir() && depth > 1 && !name.starts_with('.') {
            walk(&entry.path(), &below, depth - 1, entries)?;
        } else if kind.is_file() && is_ours(&below) {
            add(&entry.path(), below, Links::Refused, entries)?;
        }
    }
    Ok(())
}

/// Whether a file may be a link. In `/etc/pinion` they are root's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Followed,
    Refused,
}

/// Adds a file, if it is there.
fn add(file: &Path, path: String, links: Links, entries: &mut Entries) -> Result<(), BackupError> {
    // Opening a pipe must not wait for a writer.
    let flags = OFlags::NONBLOCK | if links == Links::Refused { OFlags::NOFOLLOW } else { OFlags::empty() };
    let opened = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("read", file))?,
    };
    let found = opened.metadata().map_err(failed("look at", file))?;
    if !found.is_file() {
        let text = format!("{} is not a regular file: if it is not Pinion's, move it away", file.display());
        return Err(BackupError::Refused(text));
    }
    let mut content = Zeroizing::new(Vec::new());
    let limit = u64::try_from(MAX_ENTRY).unwrap_or(u64::MAX).saturating_add(1);
    opened.take(limit).read_to_end(&mut content).map_err(failed("read", file))?;
    if content.len() > MAX_ENTRY {
        let text = format!("{} is larger than {MAX_ENTRY} bytes: if it is not Pinion's, move it away", file.display());
        return Err(BackupError::Refused(text));
    }
    entries.insert(path, Entry { mode: found.permissions().mode() & 0o777, content });
    Ok(())
}

/// Makes the file, for its owner alone; one that could not be written wholly is removed again.
fn write(file: &Path, text: &[u8]) -> Result<(), BackupError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut made = made.map_err(failed("make", file))?;
    let written = made.write_all(text).and_then(|()| made.sync_all());
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = written.and_then(|()| File::open(directory)?.sync_all());
    written.map_err(|error| {
        fs::remove_file(file).ok();
        failed("write", file)(error)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

    /// A host whose controller is another user.
    fn host() -> (tempfile::TempDir, Config) {
        let root = tempfile::tempdir().expect("a directory");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("open");
        for directory in ["etc/pinion", "var/lib/pinion/local", "var/lib/pinion/shared"] {
            fs::create_dir_all(root.path().join(directory)).expect("made");
        }
        fs::write(config::path(root.path()), "listen = '127.0.0.1:1'\n").expect("written");
        let config = Config::load(root.path()).expect("a configuration");
        let identity = config.shared.join("identity-ca.json");
        fs::write(&identity, "{}").expect("written");
        for path in [root.path().join("var/lib/pinion"), config.local.clone(), config.shared.clone(), identity] {
            if rustix::process::geteuid().is_root() {
                chown(path, Some(998), Some(998)).expect("given away");
            }
        }
        (root, config)
    }

    #[test]
    fn links_and_pipes_in_the_controllers_area_are_no_part_of_a_backup() {
        let (root, config) = host();
        let file = root.path().join("backup");
        let secret = root.path().join("secret.json");
        fs::write(&secret, "{}").expect("written");
        let freezes = config.local.join("freezes.json");
        symlink(&secret, &freezes).expect("a link");
        take(&config, &file, None, NOW).expect_err("a link");
        fs::remove_file(&freezes).expect("removed");
        mknodat(CWD, &freezes, FileType::Fifo, 0o644.into(), 0).expect("a pipe");
        let refused = take(&config, &file, None, NOW).expect_err("a pipe");
        assert!(refused.to_string().contains("not a regular file"), "{refused}");
        fs::remove_file(&freezes).expect("removed");
        if rustix::process::geteuid().is_root() {
            // A whole directory of root's, behind a link that is no file's own name.
            let roots = root.path().join("roots");
            fs::create_dir(&roots).expect("made");
            fs::write(roots.join("x.json"), "{}").expect("written");
            fs::set_permissions(&roots, fs::Permissions::from_mode(0o700)).expect("closed");
            symlink(&roots, config.local.join("replaced")).expect("a link");
            take(&config, &file, None, NOW).expect_err("what the controller could not read");
            fs::remove_file(config.local.join("replaced")).expect("removed");
        }
        take(&config, &file, None, NOW).expect("a backup");
    }

    #[test]
    fn in_a_directory_a_backup_gets_a_name_and_older_ones_go() {
        let (root, config) = host();
        let directory = root.path().join("backups");
        take(&config, &directory, Some(2), NOW).expect_err("no directory yet");
        fs::create_dir(&directory).expect("made");
        for day in 0..3 {
            let now = NOW + Duration::from_secs(day * 86_400);
            let taken = take(&config, &directory, Some(2), now).expect("a backup");
            assert!(taken.file.is_file() && taken.removed.len() == usize::from(day == 2), "{taken:?}");
        }
        assert_eq!(fs::read_dir(&directory).expect("listed").count(), 2);
    }

    #[test]
    fn what_could_not_be_restored_is_not_written() {
        let (root, config) = host();
        let file = root.path().join("backup");
        fs::write(config.local.join("freezes.json"), "{").expect("written");
        let refused = take(&config, &file, None, NOW).expect_err("damaged");
        assert!(refused.to_string().contains("freezes.json"), "{refused}");
        assert!(!file.exists());
    }
}
