//! Backups in a directory: what the next one is called, and which of the older ones go.
//!
//! Invariant: only files with a name that this module gives are removed, and only after a newer backup was written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use pinion_proto::clock::Timestamp;

use super::{BackupError, failed};

/// `pinion-20261201T031700Z.backup`: the newest is the last in the alphabet.
pub(super) fn name(now: Timestamp) -> String {
    let moment: String = now.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("pinion-{moment}.backup")
}

/// Removes all but the newest `keep` backups in a directory. Returns what was removed.
pub(super) fn prune(directory: &Path, keep: usize) -> Result<Vec<PathBuf>, BackupError> {
    let listed = fs::read_dir(directory).map_err(failed("list", directory))?;
    let mut backups: Vec<PathBuf> = listed
        .flatten()
        .filter(|entry| {
            entry.file_name().to_str().is_some_and(is_ours) && entry.file_type().is_ok_and(|kind| kind.is_file())
        })
        .map(|entry| entry.path())
        .collect();
    backups.sort_unstable();
    backups.truncate(backups.len().saturating_sub(keep));
    for old in &backups {
        fs::remove_file(old).map_err(failed("remove", old))?;
    }
    Ok(backups)
}

/// Whether [`name`] gives such names.
fn is_ours(name: &str) -> bool {
    let moment = name.strip_prefix("pinion-").and_then(|rest| rest.strip_suffix("Z.backup"));
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    moment.and_then(|moment| moment.split_once('T')).is_some_and(|(date, time)| digits(date, 8) && digits(time, 6))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_its_own_files_go_and_the_newest_stay() {
        let directory = tempfile::tempdir().expect("a directory");
        let start = Timestamp::from_unix(1_800_000_000);
        let names: Vec<_> = (0..5).map(|day| name(start + Duration::from_secs(day * 86_400))).collect();
        assert_eq!(names[0], "pinion-20270115T080000Z.backup");
        let others = ["pinion-before-upgrade.backup", "pinion-20270115T080000Z.backup.gpg", "pinion-1T1Z.backup"];
        for name in names.iter().map(String::as_str).chain(others) {
            fs::write(directory.path().join(name), "x").expect("written");
        }
        let removed = prune(directory.path(), 2).expect("removed");
        assert_eq!(removed, [0, 1, 2].map(|index: usize| directory.path().join(&names[index])));
        for stays in names[3..].iter().map(String::as_str).chain(others) {
            assert!(directory.path().join(stays).exists(), "{stays}");
        }
        assert_eq!(prune(directory.path(), 2).expect("nothing to do"), Vec::<PathBuf>::new());
    }
}
