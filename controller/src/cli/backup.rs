//! `pinion backup` and `pinion restore`.

use std::path::{Path, PathBuf};

use pinion_proto::{
    clock::{Clock as _, SystemClock},
    errln,
    exit::Exit,
    failure::Failure,
    id::Guest,
    outln,
};

use super::print_json;
use crate::{
    backup::{self, BackupError, Wishes},
    config::Config,
};

/// What can be typed after `pinion restore`.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The file that `pinion backup` wrote.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// Replace the existing state; a copy of it is kept.
    #[arg(long)]
    pub(super) yes: bool,
    /// Keep controller.toml, the manifest and password files that are there; restore those that are missing.
    #[arg(long)]
    pub(super) keep_settings: bool,
    /// Evict this guest before anything starts, because you evicted it after the backup was made: a VMID, or `host`. You
    /// can repeat it.
    #[arg(long = "evict", value_name = "G")]
    pub(super) evict: Vec<Guest>,
}

/// Writes a backup.
pub(super) fn take(config: &Config, file: &Path, keep: Option<usize>, json: bool) -> Result<Exit, Failure> {
    match backup::take(config, file, keep, SystemClock.now()) {
        Ok(taken) => {
            if json {
                print_json(&taken);
            } else {
                outln!("{}: {} files, SHA-256 {}", taken.file.display(), taken.entries, taken.sha256);
                for removed in &taken.removed {
                    outln!("removed: {}", removed.display());
                }
                errln!("it contains the keys of Pinion's CAs: protect it like a key");
            }
            Ok(Exit::Reached)
        }
        Err(error) => Err(failure(&error)),
    }
}

/// Puts one back.
pub(super) fn restore(root: &Path, args: RestoreArgs, json: bool) -> Result<Exit, Failure> {
    let RestoreArgs { file, yes, keep_settings, evict } = args;
    let wishes = Wishes { replace: yes, keep_settings, evict };
    match backup::restore(root, &file, &wishes, SystemClock.now()) {
        Ok(restored) => {
            if json {
                print_json(&restored);
            } else {
                outln!("restored {} files as they were at {}", restored.entries, restored.made_at);
                for before in &restored.before {
                    outln!("what was there before: {}", before.display());
                }
                if !restored.evicted.is_empty() {
                    let guests: Vec<_> = restored.evicted.iter().map(ToString::to_string).collect();
                    outln!("these guests stay evicted: {}", guests.join(", "));
                }
                errln!(
                    "if you evicted other guests after {}, restore the backup again with `--yes --evict G` for each of \
                     them before you start Pinion: they are let in otherwise",
                    restored.made_at
                );
                errln!(
                    "start both processes now (systemctl start pinion-channel pinion); `pinion status` then lists \
                     the guests whose identity was renewed after the backup"
                );
            }
            Ok(Exit::Reached)
        }
        Err(error) => Err(failure(&error)),
    }
}

fn failure(error: &BackupError) -> Failure {
    let exit = match error {
        BackupError::Bad { .. } | BackupError::Refused(_) => Exit::Usage,
        BackupError::Running => Exit::Blocked,
        BackupError::Io { .. } | BackupError::Store(_) => Exit::Internal,
    };
    Failure::of(exit, error).or_root(error)
}
