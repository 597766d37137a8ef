//! Directories and what is copied into them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Copies a file to where a person looks for it.
pub(super) fn copy_into(directory: &Path, file: &Path) -> Result<PathBuf> {
    let path = directory.join(file.file_name().context("a program has a name")?);
    fs::copy(file, &path).with_context(|| format!("copy {} to {}", file.display(), path.display()))?;
    Ok(path)
}

/// A directory with nothing in it.
pub(super) fn start_empty(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("empty {}", directory.display()))
        }
        _ => fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display())),
    }
}

/// Copies a directory with all that is in it.
pub(super) fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry.with_context(|| format!("list {}", from.display()))?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_directory(&from, &to)?;
        } else {
            fs::copy(&from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
        }
    }
    Ok(())
}
