//! The file system on which something lies: where it is mounted, what is left of it, and what to do when that is little.

use std::{
    fmt::Display,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// What is left of a file system, for others than root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Its number, by which it is told from others.
    pub device: u64,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// What is free (bytes).
    pub bytes: u64,
    /// All of it (bytes).
    pub all_bytes: u64,
    /// How many files can still be made.
    pub inodes: u64,
    /// How many there can be; 0 where they are made as they are needed.
    pub all_inodes: u64,
    /// Whether nothing can be written.
    pub is_read_only: bool,
}

impl FileSystem {
    /// The one on which `path` lies, below `root`.
    ///
    /// # Errors
    /// The path is not there, or this user may not look at it.
    pub fn of(path: &Path, root: &Path) -> io::Result<Self> {
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
        let (own, room) = (device(path)?, statvfs(path)?);
        // The last directory on the way up that belongs to it.
        let above = path.ancestors().take_while(|above| above.starts_with(root) && device(above).ok() == Some(own));
        Ok(Self {
            device: own,
            mount: above.last().unwrap_or(path).to_owned(),
            bytes: room.f_bavail.saturating_mul(room.f_frsize),
            all_bytes: room.f_blocks.saturating_mul(room.f_frsize),
            inodes: room.f_favail,
            all_inodes: room.f_files,
            is_read_only: room.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }

    /// Whether fewer than `min` files can still be made.
    #[must_use]
    pub fn lacks_inodes(&self, min: u64) -> bool {
        self.all_inodes > 0 && self.inodes < min
    }
}

/// What to do about a file system at `mount` that is full.
#[must_use]
pub fn make_room(mount: impl Display) -> String {
    format!("free some space: `du -xh --max-depth=2 {mount} | sort -h | tail` shows what takes it")
}

/// What to do about one that has too many files.
#[must_use]
pub fn remove_files(mount: impl Display) -> String {
    format!("remove small files: `du -x --inodes {mount} | sort -n | tail` shows where they are")
}

/// What to do about one to which nothing can be written.
#[must_use]
pub fn make_writable(mount: impl Display) -> String {
    format!("find out why with `dmesg`; after a repair run `mount -o remount,rw {mount}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_the_file_system_of_a_directory_above_it() {
        let found = FileSystem::of(Path::new("/proc/self/status"), Path::new("/")).expect("it is mounted");
        assert_eq!((found.mount.as_path(), found.lacks_inodes(1000)), (Path::new("/proc"), false));
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("var/lib")).expect("made");
        let found = FileSystem::of(&root.path().join("var/lib"), root.path()).expect("it is there");
        assert_eq!(found.mount, root.path(), "what is above the root is nobody's business");
        FileSystem::of(&root.path().join("nothing"), root.path()).expect_err("it is not there");
    }
}
