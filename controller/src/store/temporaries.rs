//! Files that are being written, and what is left of them when the machine stops meanwhile.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Files, StoreError, entries};

/// How files under way are called: with this host's name, because in a shared directory
/// another host's may be under way right now.
#[derive(Debug)]
pub(super) struct Temporaries {
    prefix: String,
    count: AtomicU64,
}

impl Temporaries {
    pub(super) fn of_this_host() -> Self {
        let host = rustix::system::uname();
        let host: String =
            host.nodename().to_string_lossy().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        Self { prefix: format!(".tmp.{host}."), count: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> String {
        let process = std::process::id();
        format!("{}{process}.{}", self.prefix, self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Removes this host's from a directory and the directories in it.
    pub(super) fn clean(&self, files: &dyn Files, directory: &Path) -> Result<(), StoreError> {
        for (name, is_directory) in entries(files, directory)? {
            let path = directory.join(&name);
            if name.starts_with(&self.prefix) {
                tracing::info!(path = %path.display(), "Removing a file that was left half written");
                files.remove(&path).map_err(|source| StoreError::Io { doing: "remove", path, source })?;
            } else if is_directory {
                self.clean(files, &path)?;
            }
        }
        Ok(())
    }
}
