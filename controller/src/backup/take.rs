//! Taking a backup.
//!
//! Invariant: what is in it was so at one moment. While the controller does not run its lock is held; while it runs,
//! everything is read twice until nothing has changed between the two.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use pinion_proto::{bundle::Fingerprint, clock::Timestamp};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{BackupError, Entries, Entry, LOCAL, MAX_ENTRY, ROOTS, encode, failed, is_ours};
use crate::{
    channel::identity::DIRECTORY as CHANNEL_DIRECTORY,
    config::{self, Config},
    issuer::IssuerConfig,
    store::{self, StoreError},
};

/// So often everything is read anew while a controller at work changes something in between.
const MAX_READS: usize = 50;

/// Between two readings.
const PAUSE: Duration = Duration::from_millis(100);

/// A backup that was taken.
#[derive(Debug, Serialize)]
pub struct Taken {
    /// The file.
    pub file: PathBuf,
    /// How many files are in it.
    pub entries: usize,
    /// The file's SHA-256.
    pub sha256: Fingerprint,
}

/// Writes a backup into a file that is not there yet.
///
/// # Errors
/// There is nothing to back up, something cannot be read, or the file cannot be made.
pub fn take(config: &Config, file: &Path, now: Timestamp) -> Result<Taken, BackupError> {
    if file.symlink_metadata().is_ok() {
        let text = format!("{} is there already: name a file that is not, and no backup is lost", file.display());
        return Err(BackupError::Refused(text));
    }
    // Whoever holds the lock is the controller: then what it writes meanwhile is noticed.
    let lock = match store::lock_existing(&config.local) {
        Err(StoreError::Locked { .. }) => None,
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
    write(file, &text)?;
    Ok(Taken { file: file.into(), entries: entries.len(), sha256: Fingerprint::of(&text) })
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
    Err(BackupError::Refused("the controller changes its state all the time: try again in a quieter moment".into()))
}

/// Everything that belongs into a backup, as it is now.
fn collect(config: &Config) -> Result<Entries, BackupError> {
    let mut entries = Entries::new();
    walk(&config.shared, "shared", 3, &mut entries)?;
    for name in LOCAL {
        let directory = config.local.join(name);
        if directory.is_dir() {
            walk(&directory, &format!("local/{name}"), 1, &mut entries)?;
        }
        add(&config.local.join(format!("{name}.json")), format!("local/{name}.json"), &mut entries)?;
    }
    // Only root can look there, and only root can put it back.
    walk(&config.root.join(CHANNEL_DIRECTORY), "channel", 2, &mut entries)?;
    let settings = config::path(&config.root);
    let etc = settings.parent().unwrap_or(&config.root);
    for name in ["controller.toml", "certificate-manifest.json", "identity-root"] {
        add(&etc.join(name), format!("etc/{name}"), &mut entries)?;
    }
    for issuer in config.issuers.values() {
        if let IssuerConfig::StepCa(issuer) = issuer
            && let file = config.root.join(&issuer.password_file)
            && file.parent() == Some(etc)
            && let Some(name) = file.file_name().and_then(|name| name.to_str())
        {
            add(&file, format!("etc/{name}"), &mut entries)?;
        }
    }
    Ok(entries)
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
            add(&entry.path(), below, entries)?;
        }
    }
    Ok(())
}

/// Adds a file, if it is there.
fn add(file: &Path, path: String, entries: &mut Entries) -> Result<(), BackupError> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("read", file))?,
    };
    let found = opened.metadata().map_err(failed("look at", file))?;
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
