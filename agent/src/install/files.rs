//! The file system as the agent uses it: the seam where tests put faults.
//!
//! Invariants: no operation of [`RealFiles`] follows a symbolic link anywhere in its path, so what was checked
//! by name cannot be exchanged for something elsewhere between the check and the use. Callers resolve links
//! themselves, see [`super::place`]. A placement's files are used through [`Files::guarded`] alone.

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW},
    io::Errno,
};
use zeroize::Zeroizing;

use super::{
    acl::Acl,
    mounts::{Guard, MountTable, NO_GUARD},
    new_file::{RealNewFile, acl_of},
    walk::{self, open_directory, parent, parent_of_new},
};

pub use super::new_file::NewFile;

/// Blocking operations on files and directories; every path is absolute and free of symbolic links.
pub trait Files: fmt::Debug + Send + Sync {
    /// What is at `path`, itself; none when nothing is.
    ///
    /// # Errors
    /// A parent is missing, is no directory or may not be searched.
    fn look(&self, path: &Path) -> io::Result<Option<Found>>;

    /// Where the symbolic link at `path` points.
    ///
    /// # Errors
    /// There is none, or it may not be read.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;

    /// The content of the regular file at `path`.
    ///
    /// # Errors
    /// There is none, it is larger than `max` bytes, or it may not be read.
    fn read(&self, path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>>;

    /// The access control list of the regular file at `path`, where it says more than its mode.
    ///
    /// # Errors
    /// There is no such file, or its list may not be read.
    fn acl(&self, path: &Path) -> io::Result<Option<Acl>>;

    /// The names in a directory.
    ///
    /// # Errors
    /// It is not there or may not be read.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Makes a directory with exactly these permission bits; its parent is there.
    ///
    /// # Errors
    /// Something is there already, or the parent may not be written.
    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Makes an empty file that only its owner can open (0600), where nothing was before.
    ///
    /// # Errors
    /// Something is there already, or the parent may not be written.
    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>>;

    /// Makes a symbolic link that says `to`, where nothing was before.
    ///
    /// # Errors
    /// Something is there already, the parent may not be written, or the file system has no links.
    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()>;

    /// Puts `from` in the place of `to` in one step.
    ///
    /// # Errors
    /// As rename(2).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes the file or link at `path`, itself.
    ///
    /// # Errors
    /// As unlink(2).
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As rmdir(2).
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory's entries survive a power cut.
    ///
    /// # Errors
    /// As fsync(2).
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// What is mounted where.
    ///
    /// # Errors
    /// The mount table cannot be read.
    fn mounts(&self) -> io::Result<MountTable>;

    /// The same files, of which each operation goes only through what is mounted as the guard asks; otherwise it fails with
    /// a [`super::mounts::NotMounted`], and nothing is done.
    fn guarded(&self, guard: &Guard) -> Arc<dyn Files>;
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits, at most 0o7777.
    pub mode: u32,
    /// Its size in bytes.
    pub size: u64,
}

/// What something in the file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Other,
}

/// The kernel's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

/// The kernel's file system as a guard lets it be used.
#[derive(Debug, Clone)]
pub struct GuardedFiles(Guard);

/// Who goes through directories in the kernel's file system.
trait Walker: fmt::Debug + Send + Sync {
    fn guard(&self) -> &Guard;
}

impl Walker for RealFiles {
    fn guard(&self) -> &Guard {
        &NO_GUARD
    }
}

impl Walker for GuardedFiles {
    fn guard(&self) -> &Guard {
        &self.0
    }
}

impl<W: Walker> Files for W {
    fn look(&self, path: &Path) -> io::Result<Option<Found>> {
        if path == Path::new("/") {
            // It is in no directory.
            return Ok(Some(found(&rustix::fs::stat(path)?)));
        }
        let (directory, name) = parent(path, self.guard())?;
        match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(found(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let (directory, name) = parent(path, self.guard())?;
        let target = rustix::fs::readlinkat(&directory, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    fn read(&self, path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        let (directory, name) = parent(path, self.guard())?;
        // NONBLOCK: opening a pipe must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
        let stat = found(&rustix::fs::fstat(&fd)?);
        if stat.kind != Kind::File {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {max} bytes"));
        if stat.size > max {
            return Err(too_large());
        }
        // Sized once, because growing would leave copies of a key behind in freed memory.
        let size = usize::try_from(stat.size).map_err(|_| too_large())?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
        File::from(fd).take(max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max { Err(too_large()) } else { Ok(bytes) }
    }

    fn acl(&self, path: &Path) -> io::Result<Option<Acl>> {
        let (directory, name) = parent(path, self.guard())?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        acl_of(rustix::fs::openat(&directory, name, flags, Mode::empty())?)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let fd = open_directory(directory, OFlags::RDONLY, self.guard())?;
        let mut names = Vec::new();
        for entry in Dir::new(fd)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        let (parent, name) = parent_of_new(path, self.guard())?;
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode))?;
        // mkdir(2) is subject to the process's umask.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
        Ok(rustix::fs::fchmod(made, Mode::from_raw_mode(mode))?)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        let (directory, name) = parent_of_new(path, self.guard())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Box::new(RealNewFile::new(fd.into())))
    }

    fn make_link(&self, path: &Path, to: &Path) -> io::Result<()> {
        let (directory, name) = parent_of_new(path, self.guard())?;
        Ok(rustix::fs::symlinkat(to, &directory, name)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let guard = self.guard();
        let ((from_directory, from), (to_directory, to)) = (parent(from, guard)?, parent_of_new(to, guard)?);
        Ok(rustix::fs::renameat(&from_directory, from, &to_directory, to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (directory, name) = parent(path, self.guard())?;
        Ok(rustix::fs::unlinkat(&directory, name, AtFlags::empty())?)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let (directory, name) = parent(path, self.guard())?;
        Ok(rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR)?)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(open_directory(path, OFlags::RDONLY, self.guard())?)?)
    }

    fn mounts(&self) -> io::Result<MountTable> {
        walk::mounts()
    }

    fn guarded(&self, guard: &Guard) -> Arc<dyn Files> {
        Arc::new(GuardedFiles(guard.clone()))
    }
}

/// Touches a file or directory as touch(1) does, which inotify(7) reports as IN_ATTRIB: both times, because the kernel reports
/// one alone as something else (`fsnotify_change` in Linux's `include/linux/fsnotify.h`). A link in its place is touched
/// itself.
///
/// # Errors
/// As utimensat(2), or a link is on the way.
pub fn touch(path: &Path) -> io::Result<()> {
    let (directory, name) = parent(path, &NO_GUARD)?;
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(rustix::fs::utimensat(&directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn found(stat: &Stat) -> Found {
    Found {
        kind: match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        },
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        size: u64::try_from(stat.st_size).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let path = kept.path().canonicalize().expect("a real path");
        (kept, path)
    }

    #[test]
    fn links_are_not_followed_anywhere() {
        let (_kept, directory) = directory();
        std::fs::create_dir(directory.join("real")).expect("directory");
        std::fs::write(directory.join("real/file"), "x").expect("file");
        symlink(directory.join("real"), directory.join("link")).expect("link");
        symlink(directory.join("real/file"), directory.join("file")).expect("link");
        assert!(RealFiles.read(&directory.join("link/file"), 10).is_err());
        assert!(RealFiles.read(&directory.join("file"), 10).is_err());
        assert!(RealFiles.create(&directory.join("link/new")).is_err());
        assert!(RealFiles.create(&directory.join("file")).is_err());
        assert!(RealFiles.look(&directory.join("link/file")).is_err());
        assert!(touch(&directory.join("link/file")).is_err());
        let time =
            |path: &str| std::fs::metadata(directory.join(path)).and_then(|found| found.modified()).expect("a time");
        let before = time("real/file");
        touch(&directory.join("file")).expect("the link itself");
        assert_eq!(time("real/file"), before);
        assert_eq!(RealFiles.read_link(&directory.join("link")).expect("a link"), directory.join("real"));
    }

    #[test]
    fn limits_and_kinds_are_kept() {
        let (_kept, directory) = directory();
        std::fs::write(directory.join("long"), "0123456789").expect("file");
        assert_eq!(
            RealFiles.read(&directory.join("long"), 9).expect_err("too long").kind(),
            io::ErrorKind::FileTooLarge
        );
        assert!(RealFiles.read(&directory, 9).is_err());
        assert_eq!(RealFiles.look(&directory.join("none")).expect("looked"), None);
        assert_eq!(RealFiles.look(Path::new("/")).expect("looked").expect("there").kind, Kind::Directory);
        RealFiles.make_directory(&directory.join("made"), 0o755).expect("made");
        let mode = std::fs::metadata(directory.join("made")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }
}
