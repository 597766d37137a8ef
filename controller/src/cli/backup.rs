//! `pinion backup` and `pinion restore`.

use std::path::Path;

use pinion_proto::{
    clock::{Clock as _, SystemClock},
    errln,
    exit::Exit,
    failure::Failure,
    outln,
};

use super::print_json;
use crate::{
    backup::{self, BackupError},
    config::Config,
};

/// Writes a backup.
pub(super) fn take(config: &Config, file: &Path, json: bool) -> Result<Exit, Failure> {
    match backup::take(config, file, SystemClock.now()) {
        Ok(taken) => {
            if json {
                print_json(&taken);
            } else {
                outln!("{}: {} files, SHA-256 {}", taken.file.display(), taken.entries, taken.sha256);
                errln!("it contains the keys of Pinion's CAs: protect it like a key");
            }
            Ok(Exit::Reached)
        }
        Err(error) => Err(failure(&error)),
    }
}

/// Puts one back.
pub(super) fn restore(root: &Path, file: &Path, yes: bool, json: bool) -> Result<Exit, Failure> {
    match backup::restore(root, file, yes, SystemClock.now()) {
        Ok(restored) => {
            if json {
                print_json(&restored);
            } else {
                outln!("restored {} files as they were at {}", restored.entries, restored.made_at);
                for before in &restored.before {
                    outln!("what was there before: {}", before.display());
                }
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
