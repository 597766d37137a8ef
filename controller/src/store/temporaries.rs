//! Files that are being written, and what is left of them when the machine stops meanwhile.
//!
//! Invariant: no two files that are under way have one name, whoever writes them; what is cleaned belongs to no process
//! that lives.

use std::{
    path::Path,
    process,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::{Pid, test_kill_process};

use super::{Files, StoreError, entries};

/// Counts every file that this process writes.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Tells this process from an earlier one that had its number.
static PROCESS: LazyLock<String> = LazyLock::new(|| {
    let mut bytes = [0; 4];
    // Without random numbers nothing else works either.
    aws_lc_rs::rand::fill(&mut bytes).ok();
    format!("{}-{:08x}", process::id(), u32::from_be_bytes(bytes))
});

/// How files under way are called: with this host's name, because in a shared directory
/// another host's may be under way right now.
#[derive(Debug)]
pub(super) struct Temporaries {
    prefix: String,
}

impl Temporaries {
    pub(super) fn of_this_host() -> Self {
        let host = rustix::system::uname();
        let host: String =
            host.nodename().to_string_lossy().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        Self { prefix: format!(".tmp.{host}.") }
    }

    pub(super) fn next(&self) -> String {
        format!("{}{}.{}", self.prefix, *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Removes this host's from a directory and the directories in it, except those of processes that live.
    pub(super) fn clean(&self, files: &dyn Files, directory: &Path) -> Result<(), StoreError> {
        for (name, is_directory) in entries(files, directory)? {
            let path = directory.join(&name);
            if let Some(rest) = name.strip_prefix(&self.prefix) {
                if is_under_way(rest) {
                    continue;
                }
                tracing::info!(path = %path.display(), "Removing an incomplete file");
                files.remove(&path).map_err(|source| StoreError::Io { doing: "remove", path, source })?;
            } else if is_directory {
                self.clean(files, &path)?;
            }
        }
        Ok(())
    }

    /// As [`Self::next`], of a process that is not there any more.
    #[cfg(test)]
    pub(super) fn of_a_dead_process(&self) -> String {
        // Above the highest number that the kernel gives.
        format!("{}5000000-00000000.0", self.prefix)
    }
}

/// Whether a process that lives writes the file whose name ends so.
fn is_under_way(rest: &str) -> bool {
    let writer = rest.split('.').next().unwrap_or_default();
    let Some((number, _)) = writer.split_once('-') else { return false };
    let Some(pid) = number.parse().ok().and_then(Pid::from_raw) else { return false };
    if number == process::id().to_string() {
        return writer == *PROCESS;
    }
    // Another program may have the number by now: then the file stays for longer.
    !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}
