//! What a look at the disk tells about who wrote when: the traces that doing nothing does not leave.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// One file as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Another one after each replacement by renaming.
    pub inode: u64,
    /// Seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Permission bits.
    pub mode: u32,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Every file in and below `directory`, by its path.
///
/// # Errors
/// Something cannot be read.
pub fn of(directory: &Path) -> Result<BTreeMap<PathBuf, Trace>> {
    let mut traces = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))? {
            let path = entry.with_context(|| format!("list {}", directory.display()))?.path();
            let found = fs::symlink_metadata(&path).with_context(|| format!("look at {}", path.display()))?;
            if found.is_dir() {
                open.push(path);
            } else if found.is_file() {
                let content = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
                let modified = (found.mtime(), found.mtime_nsec());
                let trace = Trace { inode: found.ino(), modified, mode: found.permissions().mode() & 0o7777, content };
                traces.insert(path, trace);
            }
        }
    }
    Ok(traces)
}
