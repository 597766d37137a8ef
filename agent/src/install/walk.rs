//! Opening a directory step by step, without a symbolic link, and only through the mounts that a guard asks for.
//!
//! Invariant: what is checked is the descriptor that the next step starts from. So after the check nothing can be unmounted
//! or exchanged under an operation: it works on what was checked, or it fails.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, Dir, FsWord, Mode, OFlags, ResolveFlags, fstatfs, openat2},
    io::Errno,
};

use super::mounts::{Guard, MAX_TABLE, MountTable, Need, NotMounted, What};

/// The kind of a file system in user space (linux/magic.h, `FUSE_SUPER_MAGIC`).
const FUSE: FsWord = 0x6573_5546;

/// The mount table of this process.
const TABLE: &str = "/proc/self/mountinfo";

/// A page says all about a descriptor (bytes).
const MAX_FDINFO: u64 = 64 * 1024;

/// A table of mounts is seldom longer (bytes).
const USUAL: usize = 8 * 1024;

/// Opens the parent of `path`, and says the name in it.
pub(super) fn parent<'p>(path: &'p Path, guard: &Guard) -> io::Result<(OwnedFd, &'p OsStr)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Err(not_a_file()) };
    Ok((open_directory(directory, OFlags::PATH, guard)?, name))
}

/// Opens the parent of something that is to be made, which is not where something is to be mounted.
pub(super) fn parent_of_new<'p>(path: &'p Path, guard: &Guard) -> io::Result<(OwnedFd, &'p OsStr)> {
    match guard.needs(path)?.iter().find(|need| need.point == path) {
        Some(need) => Err(need.missing().into()),
        None => parent(path, guard),
    }
}

/// Opens a directory.
pub(super) fn open_directory(path: &Path, access: OFlags, guard: &Guard) -> io::Result<OwnedFd> {
    let needs = guard.needs(path)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let is_plain = path.is_absolute() && path.components().all(|part| !matches!(part, Component::ParentDir));
    if needs.is_empty() && is_plain {
        match openat2(CWD, path, access | flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            Ok(opened) => return Ok(opened),
            Err(Errno::NOENT) => return Err(Errno::NOENT.into()),
            Err(_) => {}
        }
    }
    // Step by step where mounts are checked on the way, where openat2(2) is missing (before Linux 5.6) or filtered out, and
    // for the reason why it failed.
    let mut at = rustix::fs::open("/", OFlags::PATH | flags, Mode::empty())?;
    let mut here = PathBuf::from("/");
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let name = match component {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            _ => return Err(not_a_file()),
        };
        let access = if components.peek().is_some() { OFlags::PATH } else { access };
        here.push(name);
        at = match rustix::fs::openat(&at, name, access | flags, Mode::empty()) {
            Ok(opened) => opened,
            // Where the mount point itself is gone, nothing is mounted.
            Err(Errno::NOENT) => {
                return Err(needs
                    .iter()
                    .find(|need| need.point.starts_with(&here))
                    .map_or(Errno::NOENT.into(), |need| need.missing().into()));
            }
            Err(e) => return Err(e.into()),
        };
        for need in needs.iter().filter(|need| need.point == here) {
            check(at.as_fd(), need)?;
        }
    }
    Ok(at)
}

/// What is mounted where, for this process.
pub(super) fn mounts() -> io::Result<MountTable> {
    MountTable::parse(&contents(TABLE, MAX_TABLE)?)
}

/// Whether what a mount point needs is there, of which this is a descriptor.
fn check(directory: BorrowedFd<'_>, need: &Need) -> io::Result<()> {
    let is_there = match need.what {
        What::Anything => is_mounted(directory, &need.point)?,
        What::Fuse => is_fuse(directory)?,
        What::FuseOrFilled => is_fuse(directory)? || is_filled(directory)?,
    };
    if is_there { Ok(()) } else { Err(need.missing().into()) }
}

fn is_mounted(directory: BorrowedFd<'_>, point: &Path) -> io::Result<bool> {
    let unknown = |path: &str, source: io::Error| NotMounted::Unknown { path: path.into(), cause: source.to_string() };
    let fdinfo = format!("/proc/self/fdinfo/{}", directory.as_raw_fd());
    let text = contents(&fdinfo, MAX_FDINFO).map_err(|e| unknown(&fdinfo, e))?;
    // The number is nobody else's while the descriptor is open, also when the mount is taken away meanwhile.
    let number = String::from_utf8_lossy(&text)
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:").and_then(|number| number.trim().parse().ok()));
    let table = mounts().map_err(|e| unknown(TABLE, e))?;
    Ok(number.is_some_and(|number| table.is_mounted(number, point)))
}

fn is_fuse(directory: BorrowedFd<'_>) -> io::Result<bool> {
    match fstatfs(directory) {
        Ok(found) => Ok(found.f_type == FUSE),
        // A file system in user space that does not know the question.
        Err(Errno::NOSYS) => Ok(true),
        // Its server has ended.
        Err(Errno::NOTCONN | Errno::CONNABORTED) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn is_filled(directory: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(directory, ".", flags, Mode::empty())?;
    for entry in Dir::new(readable)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(true);
        }
    }
    Ok(false)
}

fn contents(path: &str, max: u64) -> io::Result<Vec<u8>> {
    // The kernel does not say how long they are; most fit.
    let mut bytes = Vec::with_capacity(USUAL);
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {max} bytes")));
    }
    Ok(bytes)
}

pub(super) fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not an absolute path of a file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::files::{Files, RealFiles};

    /// The guard that asks for one mount point.
    fn guarded(point: &Path, what: What) -> std::sync::Arc<dyn Files> {
        RealFiles.guarded(&Guard::of([Need { point: point.into(), what }]))
    }

    #[test]
    fn what_is_no_mount_is_told_from_one_by_its_descriptor() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let directory = kept.path().canonicalize().expect("a real path");
        for what in [What::Anything, What::Fuse, What::FuseOrFilled] {
            let files = guarded(&directory, what);
            let inside = directory.join("new");
            let refused = |error: io::Error| NotMounted::of(&error).expect("the guard's").to_string();
            assert!(refused(files.create(&inside).err().expect("refused")).contains("is not mounted"));
            refused(files.make_directory(&inside, 0o755).expect_err("refused"));
            refused(files.make_link(&inside, Path::new("x")).expect_err("refused"));
            refused(files.look(&inside).expect_err("refused"));
            refused(files.list(&directory).expect_err("refused"));
            refused(files.make_directory(&directory, 0o755).expect_err("where it is to be mounted"));
            // Where the mount point is not there, neither.
            refused(guarded(&inside, what).make_directory(&inside.join("x/y"), 0o755).expect_err("refused"));
            assert_eq!(std::fs::read_dir(&directory).expect("listed").count(), 0, "{what:?}");
            guarded(&directory.join("other"), what).look(&inside).expect("it is not below");
        }
        std::fs::write(directory.join("filled"), "").expect("written");
        guarded(&directory, What::FuseOrFilled).look(&directory.join("new")).expect("a directory that stands for it");
        guarded(&directory, What::Fuse).look(&directory.join("new")).expect_err("refused");
        guarded(Path::new("/proc"), What::Anything).look(Path::new("/proc/self")).expect("it is mounted");
        guarded(Path::new("/proc"), What::Fuse).look(Path::new("/proc/self")).expect_err("not by a user's program");
    }
}
