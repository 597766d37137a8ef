//! The metrics in a file, for the textfile collector of a node_exporter.
//!
//! Answers: how does a monitoring system that does not reach this host's port see the metrics?
//! Invariants: whoever reads the file sees one whole answer of the loop, never a part of one. While the loop does not answer,
//! the file is left as it is and gets old, which node_exporter tells (`node_textfile_mtime_seconds`).

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use pinion_proto::alarm;
use tracing::{info, warn};

use super::{ask::Unanswered, site::Web};

/// As often as Prometheus scrapes at most in most installations.
const EVERY: Duration = Duration::from_secs(15);

/// node_exporter runs as another user.
const MODE: u32 = 0o644;

/// Writes the file until the future is dropped. A failure is logged when it begins and when it is over.
pub async fn keep(web: Web, path: PathBuf) {
    let mut is_failing = false;
    loop {
        match renew(&web, &path).await {
            Ok(()) if is_failing => {
                info!(path = %path.display(), "The file with the metrics is written again");
                is_failing = false;
            }
            Ok(()) => {}
            Err(_) if is_failing => {}
            Err(error) => {
                warn!(
                    path = %path.display(), %error,
                    "Cannot write the file with the metrics, trying again every {} s. Its directory must exist, the user \
                     pinion must be allowed to write there, and pinion.service needs the directory in ReadWritePaths=",
                    EVERY.as_secs()
                );
                is_failing = true;
            }
        }
        alarm::next(EVERY).await;
    }
}

async fn renew(web: &Web, path: &Path) -> io::Result<()> {
    let gathered = web.gather().await.map_err(|why| match why {
        Unanswered::Silent => io::Error::other("the controller's loop does not answer"),
        Unanswered::NoSuchName(why) => io::Error::other(why),
    })?;
    let text = gathered.prometheus_text().map_err(io::Error::other)?;
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || write(&path, text.as_bytes())).await.map_err(io::Error::other)?
}

/// Replaces the file in one step.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    // Not one that node_exporter would read.
    let fresh = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
    // One that a crash has left.
    if let Err(error) = fs::remove_file(&fresh)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let written = || {
        // Others may be allowed to write into the directory: no link of theirs is followed.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&fresh)?;
        file.write_all(bytes)?;
        // The unit's umask takes away more.
        file.set_permissions(Permissions::from_mode(MODE))?;
        fs::rename(&fresh, path)
    };
    written().inspect_err(|_| drop(fs::remove_file(&fresh)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_file_is_replaced_whole_and_everybody_may_read_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pinion.prom");
        write(&path, b"a 1\n").expect("written");
        let before = fs::File::open(&path).expect("there");
        // What a crash has left is no obstacle.
        fs::write(directory.path().join(".pinion.prom.new"), "half").expect("written");
        write(&path, b"a 2\n").expect("written");
        assert_eq!(
            io::read_to_string(&before).expect("read"),
            "a 1\n",
            "whoever reads the old one reads it to its end"
        );
        assert_eq!(fs::read_to_string(&path).expect("read"), "a 2\n");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
        assert_eq!(names(directory.path()), ["pinion.prom"]);
    }

    #[test]
    fn no_link_in_its_directory_is_followed_and_a_failure_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, other) = (directory.path().join("pinion.prom"), directory.path().join("other"));
        fs::write(&other, "theirs").expect("written");
        for link in [".pinion.prom.new", "pinion.prom"] {
            std::os::unix::fs::symlink(&other, directory.path().join(link)).expect("a link");
        }
        write(&path, b"a 1\n").expect("written");
        assert_eq!(fs::read_to_string(&other).expect("read"), "theirs");
        assert!(fs::symlink_metadata(&path).expect("there").is_file());

        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("a directory in its place");
        write(&path, b"a 1\n").expect_err("a file cannot replace a directory");
        let mut left = names(directory.path());
        left.sort();
        assert_eq!(left, ["other", "pinion.prom"]);
    }
}
