//! Files that Pinion does what they say: hooks and the operator's recipes.
//!
//! Answers: could anybody but root and this process's user have written this file, or put it there?
//! Invariant: what is answered for is what is opened: every directory on the way is opened from the one before without
//! following a link, and looked at by its descriptor; so is the file.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};
use thiserror::Error;

use super::{Doubt, Name};

/// Opens the regular file `name` in a directory for reading; none when it is not there.
///
/// # Errors
/// Somebody else could have written it, or put it there; or it cannot be opened.
pub fn open(directory: &Path, name: &str) -> Result<Option<Opened>, Distrust> {
    let path = directory.join(name);
    let real = match directory.canonicalize() {
        Ok(real) => real,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Distrust::Look { path, source }),
    };
    if real != directory {
        named(directory)?;
    }
    let directory = walk(&real)?;
    // NONBLOCK: opening a pipe must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(Distrust::NotAFile(path)),
        Err(source) => return Err(Distrust::Look { path, source: source.into() }),
    };
    let stat = look(&file, &path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Distrust::NotAFile(path));
    }
    check(stat.st_uid, stat.st_mode, Name::End, &path)?;
    Ok(Some(Opened { file: file.into(), mode: stat.st_mode & 0o7777 }))
}

/// A file that only root and this process's user could have written.
#[derive(Debug)]
pub struct Opened {
    /// Open for reading.
    pub file: File,
    /// Its permission bits.
    pub mode: u32,
}

/// Why a file is not believed.
#[derive(Debug, Error)]
pub enum Distrust {
    /// A link, a directory, a device.
    #[error("{path} is not a regular file", path = .0.display())]
    NotAFile(PathBuf),
    /// Somebody else's.
    #[error("{path} belongs to a user other than root and Pinion's", path = .0.display())]
    Foreign(PathBuf),
    /// Everybody's.
    #[error("its group or everybody can write to {path}", path = .0.display())]
    Writable(PathBuf),
    /// It cannot be looked at.
    #[error("cannot access {path}", path = path.display())]
    Look {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Distrust {
    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NotAFile(path) => format!("replace {} with a regular file", path.display()),
            Self::Foreign(path) => format!("read what is there, then run `chown root {}`", path.display()),
            Self::Writable(path) => format!("read what is there, then run `chmod go-w {}`", path.display()),
            Self::Look { path, .. } => format!("let Pinion's user read {}", path.display()),
        }
    }
}

/// Opens a directory whose path has no links, each part looked at.
fn walk(real: &Path) -> Result<OwnedFd, Distrust> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut path = PathBuf::from("/");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: Errno| Distrust::Look { path, source: source.into() }
    };
    let mut at = rustix::fs::open("/", flags, Mode::empty()).map_err(failed(&path))?;
    let mut parts = real.components().peekable();
    loop {
        let stat = look(&at, &path)?;
        while parts.next_if_eq(&Component::RootDir).is_some() {}
        let name = if parts.peek().is_some() { Name::OnTheWay } else { Name::End };
        check(stat.st_uid, stat.st_mode, name, &path)?;
        let Some(part) = parts.next() else { return Ok(at) };
        path.push(part);
        at = rustix::fs::openat(&at, part.as_os_str(), flags, Mode::empty()).map_err(failed(&path))?;
    }
}

/// Looks at every name on the way to a directory that is reached through links: who could exchange one could exchange
/// where it leads.
fn named(directory: &Path) -> Result<(), Distrust> {
    for path in directory.ancestors() {
        let failed = |source| Distrust::Look { path: path.into(), source };
        let itself = path.symlink_metadata().map_err(failed)?;
        let name = match (itself.is_symlink(), path == directory) {
            (true, _) => Name::Link,
            (false, true) => Name::End,
            (false, false) => Name::OnTheWay,
        };
        check(itself.uid(), itself.mode(), name, path)?;
    }
    Ok(())
}

fn check(owner: u32, mode: u32, name: Name, path: &Path) -> Result<(), Distrust> {
    super::check(owner, mode, name).map_err(|doubt| match doubt {
        Doubt::Owner(_) => Distrust::Foreign(path.into()),
        Doubt::Mode(_) => Distrust::Writable(path.into()),
    })
}

fn look(fd: &OwnedFd, path: &Path) -> Result<Stat, Distrust> {
    rustix::fs::fstat(fd).map_err(|source| Distrust::Look { path: path.into(), source: source.into() })
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Read,
        os::unix::fs::{PermissionsExt, chown, symlink},
    };

    use super::*;

    struct Tree {
        _kept: tempfile::TempDir,
        directory: PathBuf,
    }

    fn tree() -> Tree {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let directory = kept.path().canonicalize().expect("a real path").join("etc/pinion/hooks.d");
        fs::create_dir_all(&directory).expect("directories");
        fs::write(directory.join("h"), "content").expect("written");
        Tree { _kept: kept, directory }
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
    }

    #[test]
    fn a_file_is_believed_with_all_that_is_above_it() {
        let tree = tree();
        let mut text = String::new();
        let mut opened = open(&tree.directory, "h").expect("trusted").expect("there");
        opened.file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "content");
        assert!(open(&tree.directory, "none").expect("trusted").is_none());
        assert!(open(Path::new("/nowhere/at/all"), "h").expect("not there").is_none());
        let above: Vec<PathBuf> = tree.directory.ancestors().take(3).map(Path::to_owned).collect();
        for path in above.iter().chain([&tree.directory.join("h")]) {
            let before = path.metadata().expect("there").permissions().mode();
            for bad in [0o775, 0o757, 0o777] {
                mode(path, bad);
                let error = open(&tree.directory, "h").expect_err("refused");
                assert!(matches!(&error, Distrust::Writable(at) if at == path), "{bad:o} {}: {error}", path.display());
            }
            mode(path, before);
            if chown(path, Some(1000), None).is_ok() {
                let error = open(&tree.directory, "h").expect_err("refused");
                assert!(matches!(&error, Distrust::Foreign(at) if at == path), "{}: {error}", path.display());
                chown(path, Some(0), None).expect("back");
            }
        }
        open(&tree.directory, "h").expect("trusted again").expect("there");
    }

    #[test]
    fn the_sticky_bit_is_enough_on_the_way_and_not_at_the_end() {
        let tree = tree();
        let above = tree.directory.parent().expect("a parent");
        mode(above, 0o1777);
        open(&tree.directory, "h").expect("nobody else can exchange it").expect("there");
        mode(above, 0o755);
        mode(&tree.directory, 0o1777);
        assert!(matches!(open(&tree.directory, "h"), Err(Distrust::Writable(_))));
    }

    #[test]
    fn links_are_followed_to_the_directory_alone_and_looked_at_on_both_sides() {
        let tree = tree();
        let etc = tree.directory.ancestors().nth(2).expect("a directory");
        let (open_to_all, link) = (etc.join("open"), etc.join("open/link"));
        fs::create_dir(&open_to_all).expect("directory");
        symlink(&tree.directory, &link).expect("a link");
        open(&link, "h").expect("trusted").expect("there");
        mode(&open_to_all, 0o777);
        assert!(matches!(open(&link, "h"), Err(Distrust::Writable(at)) if at == open_to_all));
        symlink("h", tree.directory.join("other")).expect("a link");
        assert!(matches!(open(&tree.directory, "other"), Err(Distrust::NotAFile(_))));
        assert!(matches!(open(etc, "open"), Err(Distrust::NotAFile(_) | Distrust::Writable(_))));
    }
}
