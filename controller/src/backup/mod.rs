//! `pinion backup` and `pinion restore`: all that this installation cannot be without, in one file.
//!
//! Answers: what has to be kept, and is this file whole?
//! Invariant: kept are the shared area without join tokens, of the local area what nobody else knows (which roots there
//! are, what is to be revoked, which guests there were and which were evicted, what is frozen), the files in `/etc/pinion` that Pinion reads, and
//! the identity root of the root process, where it holds that.
//! Reports, certificates on their way and events are not: agents say the first again, the second are signed once more,
//! and the last are history. A file is believed only if it is whole: its digest and each entry's are checked, and every
//! path is one that this program writes.

mod restore;
mod take;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use pinion_proto::{bundle::Fingerprint, clock::Timestamp, id::is_plain_name, printable};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

pub use restore::{Restored, Wishes, restore};
pub use take::{Taken, take};

use crate::{
    config,
    owner::{self, Owner},
    store::StoreError,
};

const FORMAT: &str = "pinion-backup";

/// The form of the file that this program writes and reads.
const VERSION: u32 = 1;

/// Thousands of guests make some ten megabytes (bytes).
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Larger than any file that belongs into a backup (bytes).
const MAX_ENTRY: usize = 64 * 1024 * 1024;

/// More documents than the largest cluster has.
const MAX_ENTRIES: usize = 100_000;

/// The documents and directories of the local area that are kept.
const LOCAL: [&str; 6] = ["authorities", "replaced", "listed-guests", "freezes", "evictions", "guest-names"];

/// The documents and directories of the root process that are kept.
const CHANNEL: [&str; 5] = ["identity-ca", "identity-ca-next", "identity-former", "identity-domain", "authorities"];

/// The identity root with its key: in the shared area, or the root process's.
const ROOTS: [&str; 2] = ["shared/identity-ca.json", "channel/identity-ca.json"];

/// The files in `/etc/pinion` that the controller reads, whatever they say; anybody may read them.
const SETTINGS: [&str; 3] = ["controller.toml", MANIFEST, "identity-root"];

/// The manifest's main file, and the directory of its other files.
const MANIFEST: &str = "certificate-manifest.json";
const MORE_MANIFEST: &str = "certificate-manifest.d";

/// What else has its meaning in `/etc/pinion`, and is never a password.
const NO_PASSWORDS: [&str; 6] = [MORE_MANIFEST, "agent.toml", "start-agent", "hooks.d", "recipes.d", "certs"];

/// The longest name of a file (bytes).
const MAX_NAME: usize = 255;

/// Tokens are good for minutes.
const TOKENS: &str = "join-tokens";

/// What is in a backup, by path: `shared/guests/101.json`, `local/freezes.json`, `etc/controller.toml`.
type Entries = BTreeMap<String, Entry>;

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Its permission bits.
    mode: u32,
    content: Zeroizing<Vec<u8>>,
}

/// The file's form.
#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    made_at: Timestamp,
    /// By which version of Pinion.
    made_by: String,
    host: String,
    /// Over the digests of all entries.
    sha256: Fingerprint,
    entries: Vec<Written>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    path: String,
    mode: u32,
    sha256: Fingerprint,
    content: Zeroizing<String>,
}

/// What every version of a backup has.
#[derive(Deserialize)]
struct AnyVersion {
    format: String,
    version: u32,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The operating system refuses.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// The operation.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no backup that could be restored.
    #[error("cannot restore {}: {why}; nothing was changed", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What is asked for makes no sense as it is.
    #[error("{0}")]
    Refused(String),
    /// A daemon runs.
    #[error(
        "the controller or the root process is running and uses these directories; stop both first (systemctl stop \
         pinion pinion-channel), and start them afterwards"
    )]
    Running,
    /// The lock.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn failed(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.into();
    move |source| BackupError::Io { doing, path, source }
}

/// Does this as the owner of `path`.
fn acting<T: Send>(
    owner: Option<Owner>,
    path: &Path,
    work: impl FnOnce() -> Result<T, BackupError> + Send,
) -> Result<T, BackupError> {
    owner::act(owner, work).map_err(failed("act as the owner of", path))?
}

/// The digest of everything: each entry's path, mode and digest.
fn digest<'e>(entries: impl Iterator<Item = (&'e str, u32, Fingerprint)>) -> Fingerprint {
    let lines: String = entries.map(|(path, mode, sha256)| format!("{path} {mode:o} {sha256}\n")).collect();
    Fingerprint::of(format!("{FORMAT} {VERSION}\n{lines}").as_bytes())
}

/// A backup's text.
fn encode(entries: &Entries, made_at: Timestamp, host: &str) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let written: Vec<_> = entries
        .iter()
        .map(|(path, entry)| Written {
            path: path.clone(),
            mode: entry.mode,
            sha256: Fingerprint::of(&entry.content),
            content: Zeroizing::new(STANDARD.encode(&*entry.content)),
        })
        .collect();
    let document = Document {
        format: FORMAT.into(),
        version: VERSION,
        made_at,
        made_by: env!("CARGO_PKG_VERSION").into(),
        host: host.into(),
        sha256: digest(written.iter().map(|entry| (entry.path.as_str(), entry.mode, entry.sha256))),
        entries: written,
    };
    let mut text = Zeroizing::new(serde_json::to_vec_pretty(&document)?);
    text.push(b'\n');
    Ok(text)
}

/// The entries of a backup's text, and when it was made; in words what is wrong with it.
fn decode(text: &[u8]) -> Result<(Entries, Timestamp), String> {
    let shape = |error: serde_json::Error| {
        let cut_off = if error.is_eof() { "it is cut off: " } else { "it is not a backup of Pinion: " };
        format!("{cut_off}{error}")
    };
    let AnyVersion { format, version } = serde_json::from_slice(text).map_err(shape)?;
    if format != FORMAT {
        return Err(format!("it is not a backup of Pinion: its format is `{}`", pinion_proto::id::shown(&format)));
    }
    if version != VERSION {
        return Err(format!("its version is {version}, but this program reads version {VERSION}: upgrade pinion"));
    }
    let document: Document = serde_json::from_slice(text).map_err(shape)?;
    if document.entries.len() > MAX_ENTRIES {
        return Err(format!("it has more than {MAX_ENTRIES} entries"));
    }
    let found = digest(document.entries.iter().map(|entry| (entry.path.as_str(), entry.mode, entry.sha256)));
    if found != document.sha256 {
        return Err("its list of entries was changed: the digest does not match".into());
    }
    let mut entries = Entries::new();
    for Written { path, mode, sha256, content } in document.entries {
        let shown = pinion_proto::id::shown(&path);
        if !is_ours(&path) {
            return Err(format!("the path `{shown}` does not belong in a backup"));
        }
        if mode & !0o777 != 0 {
            return Err(format!("{shown} has the mode {mode:o}"));
        }
        let content = STANDARD.decode(content.as_bytes()).map_err(|error| format!("{shown}: {error}"))?;
        let content = Zeroizing::new(content);
        if content.len() > MAX_ENTRY {
            return Err(format!("{shown} is larger than {MAX_ENTRY} bytes"));
        }
        if Fingerprint::of(&content) != sha256 {
            return Err(format!("{shown} was changed: its digest does not match"));
        }
        if path.ends_with(".json") && serde_json::from_slice::<serde::de::IgnoredAny>(&content).is_err() {
            return Err(format!("{shown} is not JSON: it was damaged before the backup was made"));
        }
        if entries.insert(path, Entry { mode, content }).is_some() {
            return Err(format!("it contains {shown} twice"));
        }
    }
    check_settings(&entries)?;
    if !ROOTS.iter().any(|root| entries.contains_key(*root)) {
        return Err("it does not contain the CA of the agents' identities".into());
    }
    Ok((entries, document.made_at))
}

/// Of `/etc/pinion` only what the controller reads: its settings, and the password files that they name. Others there say
/// what an agent or a guest does.
fn check_settings(entries: &Entries) -> Result<(), String> {
    let settings = entries.get("etc/controller.toml").and_then(|entry| str::from_utf8(&entry.content).ok());
    let passwords = settings.map(config::secret_files).unwrap_or_default();
    let is_named = |name: &str| {
        let named = |file: &PathBuf| {
            let beside = file.parent().is_some_and(|directory| directory.ends_with("etc/pinion"));
            beside && file.file_name().is_some_and(|named| named == name)
        };
        !NO_PASSWORDS.contains(&name) && passwords.iter().any(named)
    };
    let names = entries.keys().filter_map(|path| path.strip_prefix("etc/"));
    match names.filter(|name| !is_public(name)).find(|name| !is_named(name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "etc/{name} is neither a settings file of the controller nor a password file that controller.toml in the \
             backup names"
        )),
    }
}

/// Whether this program writes files of this path into a backup.
fn is_ours(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    if path.len() > 512 || parts.len() < 2 || parts.len() > 4 {
        return false;
    }
    let area = parts.remove(0);
    let first = parts.first().copied().unwrap_or_default();
    let Some((last, directories)) = parts.split_last() else { return false };
    let directories = directories.iter().all(|part| is_plain_name(part));
    let document = directories && last.strip_suffix(".json").is_some_and(is_plain_name);
    match area {
        "shared" => document && first != TOKENS,
        "channel" => document && CHANNEL.contains(&first.trim_end_matches(".json")),
        "local" => document && LOCAL.contains(&first.trim_end_matches(".json")),
        "etc" if first == MORE_MANIFEST => parts.len() == 2 && is_manifest_file(last),
        "etc" => parts.len() == 1 && is_plain_name(last),
        _ => false,
    }
}

/// Whether a name in `/etc/pinion` is that of settings, which anybody may read.
fn is_public(name: &str) -> bool {
    SETTINGS.contains(&name) || name.split_once('/').is_some_and(|(directory, _)| directory == MORE_MANIFEST)
}

/// Whether a file of this name in the manifest's directory belongs to the manifest, and can be shown.
fn is_manifest_file(name: &str) -> bool {
    name.ends_with(".json") && !name.starts_with('.') && printable::line(name, MAX_NAME) == name
}

#[cfg(test)]
mod tests;
