//! Writing a configuration file that is not there yet.
//!
//! Invariant: a name is given to a complete file alone, and only where nothing has that name.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown},
    path::Path,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// A file that is not complete yet.
const PENDING: &str = ".setup-new";

/// Writes a file for its owner or for all; false when something has its name already, which stays as it is. `owner` is a
/// user's number; without one the file is this process's.
///
/// # Errors
/// It cannot be written or given away; then there is no such file.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32, owner: Option<u32>) -> io::Result<bool> {
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pending = path.with_file_name(format!(".{name}{PENDING}"));
    // What an interrupted try has left.
    match fs::remove_file(&pending) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = fill(&pending, bytes, mode, owner)
        .and_then(|()| Ok(renameat_with(CWD, &pending, CWD, path, RenameFlags::NOREPLACE)?));
    match written {
        Ok(()) => File::open(directory)?.sync_all().map(|()| true),
        Err(error) => {
            fs::remove_file(&pending).ok();
            // Somebody was quicker.
            if error.kind() == io::ErrorKind::AlreadyExists { Ok(false) } else { Err(error) }
        }
    }
}

fn fill(path: &Path, bytes: &[u8], mode: u32, owner: Option<u32>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    if let Some(owner) = owner {
        fchown(&file, Some(owner), None)?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_written_once_and_never_over_another() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("etc/pinion/step-ca.password");
        let pending = root.path().join("etc/pinion/.step-ca.password.setup-new");
        assert!(write_new(&path, b"secret\n", 0o600, None).expect("written"));
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        assert!(!write_new(&path, b"other\n", 0o644, None).expect("looked at"));
        assert_eq!(fs::read(&path).expect("there"), b"secret\n");
        // A link that leads nowhere is something of somebody's, too.
        fs::remove_file(&path).expect("removed");
        symlink("/nonexistent/password", &path).expect("a link");
        assert!(!write_new(&path, b"other\n", 0o644, None).expect("looked at"));
        // What an interrupted try has left is no obstacle.
        fs::remove_file(&path).expect("removed");
        fs::write(&pending, "half").expect("written");
        assert!(write_new(&path, b"whole", 0o644, None).expect("written"));
        assert!(!pending.exists() && fs::read(&path).expect("there") == b"whole");
    }

    #[test]
    fn what_cannot_be_given_away_is_not_there() {
        if rustix::process::geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().expect("a directory");
        write_new(&root.path().join("password"), b"secret", 0o600, Some(0)).expect_err("only root may");
        assert_eq!(fs::read_dir(root.path()).expect("listed").count(), 0);
    }
}
