//! Where a path of the guest's really is, and whether the guest allows writing there.
//!
//! Invariant: a [`Place`]'s target has no symbolic link on its way and is in or below an allowed directory; it is itself
//! none, unless Pinion made it to switch generations ([`super::shelf`]).

use std::{
    collections::VecDeque,
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
};

use pinion_proto::spec::GuestPath;
use thiserror::Error;

use super::{
    files::{Files, Kind},
    shelf,
};
use crate::config::Config;

/// As many links in one path as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A place for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's path, its parents' links followed.
    pub target: PathBuf,
    /// Its parent directories that are not there yet, outermost first.
    pub missing: Vec<PathBuf>,
}

/// Finds the real path of a file, following links of its parents as if the root were `/`.
///
/// # Errors
/// The path leads out of the allowed directories, something that is no file is in its place, or it cannot be searched.
pub fn find(files: &dyn Files, config: &Config, path: &GuestPath) -> Result<Place, PlaceError> {
    let named = Path::new(path.as_str());
    let (Some(parent), Some(name)) = (named.parent(), named.file_name()) else {
        return Err(PlaceError::NotAFile(path.clone()));
    };
    let directory = directory(files, config, parent, path)?;
    let target = directory.path.join(name);
    if directory.missing.is_empty() {
        match look(files, &target, path)? {
            None | Some(Kind::File) => {}
            Some(Kind::Link) => {
                let link = files.read_link(&target).map_err(|source| PlaceError::Look {
                    path: path.clone(),
                    at: target.clone(),
                    source,
                })?;
                if shelf::owner(&link, name).is_none() {
                    return Err(PlaceError::Link(path.clone()));
                }
            }
            Some(Kind::Directory | Kind::Other) => return Err(PlaceError::NotAFile(path.clone())),
        }
    }
    Ok(Place { target, missing: directory.missing })
}

/// Finds the real directory of a file, whatever is in the file's place; none when it is not there.
///
/// # Errors
/// As [`find`].
pub fn beside(files: &dyn Files, config: &Config, path: &GuestPath) -> Result<Option<PathBuf>, PlaceError> {
    let Some(parent) = Path::new(path.as_str()).parent() else { return Ok(None) };
    let found = directory(files, config, parent, path)?;
    Ok(found.missing.is_empty().then_some(found.path))
}

/// Where something really is, wherever that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Real {
    /// Its path, all links followed as if the root were `/`.
    pub path: PathBuf,
    /// Whether there is something.
    pub is_there: bool,
}

/// Finds the real path of a file or directory, its own links followed too.
///
/// # Errors
/// It cannot be searched.
pub fn real(files: &dyn Files, config: &Config, path: &GuestPath) -> Result<Real, PlaceError> {
    let found = resolve(files, &config.root, Path::new(path.as_str()), Last::Anything, path)?;
    Ok(Real { path: found.path, is_there: found.missing.is_empty() })
}

/// Finds a file's real directory, which the guest allows.
fn directory(files: &dyn Files, config: &Config, parent: &Path, path: &GuestPath) -> Result<Resolved, PlaceError> {
    let directory = resolve(files, &config.root, parent, Last::Directory, path)?;
    let mut allowed = false;
    for permitted in &config.allow.directories {
        // An allowed directory may itself be reached through links: who allowed it put them there.
        allowed = directory.path.starts_with(config.under_root(permitted))
            || resolve(files, &config.root, Path::new(permitted.as_str()), Last::Directory, permitted)
                .is_ok_and(|real| directory.path.starts_with(real.path));
        if allowed {
            break;
        }
    }
    if !allowed {
        let real = directory.path.strip_prefix(&config.root).map_or(directory.path.clone(), |p| Path::new("/").join(p));
        return Err(PlaceError::Outside { path: path.clone(), real });
    }
    Ok(directory)
}

/// Whether nobody else can exchange what is put in a place: its directory belongs to root, to the agent or to the file's
/// own owner, and is not open to everybody.
///
/// # Errors
/// It is not so, or the directory cannot be looked at.
pub fn trusted(files: &dyn Files, place: &Place, owner: u32, path: &GuestPath) -> Result<(), PlaceError> {
    let first = place.missing.first().unwrap_or(&place.target);
    let Some(directory) = first.parent() else { return Ok(()) };
    let looked = files.look(directory).map_err(|source| PlaceError::Look {
        path: path.clone(),
        at: directory.into(),
        source,
    })?;
    let Some(found) = looked else { return Ok(()) };
    if ![0, rustix::process::geteuid().as_raw(), owner].contains(&found.uid) {
        return Err(PlaceError::Foreign { path: path.clone(), directory: directory.into(), uid: found.uid });
    }
    if found.mode & 0o002 != 0 {
        return Err(PlaceError::Open { path: path.clone(), directory: directory.into() });
    }
    Ok(())
}

/// Why there is no place for a file.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// A link leads out.
    #[error("{path} is really in {real}, outside the directories that the guest allows", real = real.display())]
    Outside {
        /// As it was asked for.
        path: GuestPath,
        /// Where its directory really is.
        real: PathBuf,
    },
    /// A link is in the file's place.
    #[error("{0} is a symbolic link, and Pinion does not write through links")]
    Link(GuestPath),
    /// Something else is in its place.
    #[error("{0} is there already and is not a regular file")]
    NotAFile(GuestPath),
    /// A parent is no directory.
    #[error("{directory} on the way to {path} is not a directory", directory = directory.display())]
    NotADirectory {
        /// As it was asked for.
        path: GuestPath,
        /// Which parent.
        directory: PathBuf,
    },
    /// Links in a circle.
    #[error("the way to {0} has too many symbolic links")]
    Loop(GuestPath),
    /// The directory is somebody else's.
    #[error("{path} would be in {directory}, which belongs to user {uid}: neither to root nor to the file's owner", directory = directory.display())]
    Foreign {
        /// As it was asked for.
        path: GuestPath,
        /// Which directory.
        directory: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// The directory is everybody's.
    #[error("{path} would be in {directory}, in which every user may exchange files", directory = directory.display())]
    Open {
        /// As it was asked for.
        path: GuestPath,
        /// Which directory.
        directory: PathBuf,
    },
    /// A directory cannot be searched.
    #[error("cannot look at {at} on the way to {path}", at = at.display())]
    Look {
        /// As it was asked for.
        path: GuestPath,
        /// Where it stopped.
        at: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PlaceError {
    /// Whether it may go by itself: the path was not judged, because it could not be looked at.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Look { .. })
    }

    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Outside { real, .. } => format!(
                "remove the link, or add \"{}\" to `directories` under [allow] in the guest's /etc/pinion/agent.toml",
                real.display()
            ),
            Self::Link(path) => {
                format!("replace the link {path} by a file, or name the file that it points at in the manifest")
            }
            Self::NotAFile(path) => format!("move what is at {path} away, or name another path in the manifest"),
            Self::NotADirectory { directory, .. } => format!("make {} a directory", directory.display()),
            Self::Loop(path) => format!("remove the circle of links on the way to {path}"),
            Self::Foreign { directory, .. } => {
                format!("chown root {0}, or name its user as the file's owner in the manifest", directory.display())
            }
            Self::Open { directory, .. } => format!("chmod o-w {}", directory.display()),
            Self::Look { at, .. } => format!("let the agent's user search {}", at.display()),
        }
    }
}

struct Resolved {
    path: PathBuf,
    missing: Vec<PathBuf>,
}

/// What the end of a path may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Directory,
    Anything,
}

/// Follows links below `root` by hand: an absolute one starts at the root again, and `..` never leaves it.
fn resolve(
    files: &dyn Files,
    root: &Path,
    directory: &Path,
    last: Last,
    asked: &GuestPath,
) -> Result<Resolved, PlaceError> {
    let mut real = root.to_owned();
    let mut missing = Vec::new();
    let mut links = 0;
    let mut todo = names(directory);
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            // The kernel goes up from a directory, and not from what is to be one.
            if missing.last() == Some(&real) {
                return Err(PlaceError::NotADirectory { path: asked.clone(), directory: real });
            }
            if real != root {
                real.pop();
            }
            continue;
        }
        let next = real.join(&name);
        // Below a directory that is missing everything is.
        let kind = if missing.is_empty() { look(files, &next, asked)? } else { None };
        match kind {
            None => {
                missing.push(next.clone());
                real = next;
            }
            Some(Kind::Directory) => real = next,
            Some(Kind::File | Kind::Other) if last == Last::Anything && todo.is_empty() => real = next,
            Some(Kind::Link) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(PlaceError::Loop(asked.clone()));
                }
                let target = files.read_link(&next).map_err(|source| PlaceError::Look {
                    path: asked.clone(),
                    at: next.clone(),
                    source,
                })?;
                if target.is_absolute() {
                    real = root.to_owned();
                }
                let mut first = names(&target);
                first.append(&mut todo);
                todo = first;
            }
            Some(Kind::File | Kind::Other) => {
                return Err(PlaceError::NotADirectory { path: asked.clone(), directory: next });
            }
        }
    }
    Ok(Resolved { path: real, missing })
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn look(files: &dyn Files, at: &Path, asked: &GuestPath) -> Result<Option<Kind>, PlaceError> {
    let found = files.look(at).map_err(|source| PlaceError::Look { path: asked.clone(), at: at.into(), source })?;
    Ok(found.map(|found| found.kind))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::install::files::RealFiles;

    struct Root {
        _kept: tempfile::TempDir,
        config: Config,
    }

    fn root() -> Root {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let mut config = Config::shipped(kept.path().canonicalize().expect("a real path"));
        config.allow.directories = vec!["/etc/ssl".parse().expect("a path")];
        std::fs::create_dir_all(config.root.join("etc/ssl/a")).expect("directories");
        std::fs::create_dir_all(config.root.join("srv")).expect("directories");
        Root { _kept: kept, config }
    }

    fn place(root: &Root, path: &str) -> Result<Place, PlaceError> {
        find(&RealFiles, &root.config, &path.parse().expect(path))
    }

    #[test]
    fn missing_directories_are_named_outermost_first() {
        let root = root();
        let at = |path: &str| root.config.root.join(path);
        let found = place(&root, "/etc/ssl/x/y/f").expect("a place");
        assert_eq!(found.target, at("etc/ssl/x/y/f"));
        assert_eq!(found.missing, [at("etc/ssl/x"), at("etc/ssl/x/y")]);
        assert!(place(&root, "/etc/ssl/a/f").expect("a place").missing.is_empty());
    }

    #[test]
    fn links_may_lead_about_inside_and_not_out() {
        let root = root();
        let at = |path: &str| root.config.root.join(path);
        symlink("/etc/ssl/a", at("etc/ssl/absolute")).expect("link");
        symlink("../ssl/a", at("etc/ssl/relative")).expect("link");
        symlink("/srv", at("etc/ssl/out")).expect("link");
        symlink("../../../../../../../../srv", at("etc/ssl/far")).expect("link");
        symlink("/etc/ssl/circle", at("etc/ssl/circle")).expect("link");
        symlink("a/f", at("etc/ssl/target")).expect("link");
        symlink("missing/..", at("etc/ssl/up")).expect("link");
        std::fs::write(at("etc/ssl/file"), "").expect("file");
        for inside in ["absolute", "relative"] {
            let found = place(&root, &format!("/etc/ssl/{inside}/f")).expect(inside);
            assert_eq!(found.target, at("etc/ssl/a/f"));
        }
        assert!(
            matches!(place(&root, "/etc/ssl/out/f"), Err(PlaceError::Outside { real, .. }) if real == Path::new("/srv"))
        );
        assert!(matches!(place(&root, "/etc/ssl/far/f"), Err(PlaceError::Outside { .. })));
        assert!(matches!(place(&root, "/etc/ssl/circle/f"), Err(PlaceError::Loop(_))));
        // Whoever opens it finds nothing there.
        assert!(matches!(place(&root, "/etc/ssl/up/f"), Err(PlaceError::NotADirectory { .. })));
        assert!(matches!(place(&root, "/etc/ssl/target"), Err(PlaceError::Link(_))));
        assert!(matches!(place(&root, "/etc/ssl/a"), Err(PlaceError::NotAFile(_))));
        assert!(matches!(place(&root, "/etc/ssl/file/f"), Err(PlaceError::NotADirectory { .. })));
        assert!(matches!(place(&root, "/srv/f"), Err(PlaceError::Outside { .. })));
    }

    #[test]
    fn an_allowed_directory_may_be_a_link_itself() {
        let root = root();
        std::fs::remove_dir_all(root.config.root.join("etc/ssl")).expect("removed");
        symlink("/srv", root.config.root.join("etc/ssl")).expect("link");
        assert_eq!(place(&root, "/etc/ssl/f").expect("a place").target, root.config.root.join("srv/f"));
    }

    #[test]
    fn a_directory_in_which_others_exchange_files_is_no_place() {
        use std::os::unix::fs::PermissionsExt;
        let root = root();
        let directory = root.config.root.join("etc/ssl/a");
        let trusted = |file: &str, owner: u32| {
            let path = file.parse().expect("a path");
            trusted(&RealFiles, &place(&root, file).expect("a place"), owner, &path)
        };
        trusted("/etc/ssl/a/f", 0).expect("it is the agent's own");
        trusted("/etc/ssl/a/b/f", 0).expect("what is missing will be");
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o1777)).expect("mode");
        assert!(matches!(trusted("/etc/ssl/a/f", 0), Err(PlaceError::Open { .. })));
        assert!(matches!(trusted("/etc/ssl/a/b/f", 0), Err(PlaceError::Open { .. })));
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).expect("mode");
        if std::os::unix::fs::chown(&directory, Some(33), None).is_ok() {
            assert!(matches!(trusted("/etc/ssl/a/f", 0), Err(PlaceError::Foreign { uid: 33, .. })));
            trusted("/etc/ssl/a/f", 33).expect("it is its owner's");
        }
    }

    proptest::proptest! {
        /// Whatever links there are, a place is really below an allowed directory, as the kernel sees it.
        #[test]
        fn no_arrangement_of_links_leads_out(
            links in proptest::collection::vec(("[abc]", "(/etc/ssl/[abc]|/srv|\\.\\./\\.\\.|[abc]|/etc|\\.\\.|/[abc])"), 0..4),
            path in "(/[abc]){1,3}",
        ) {
            let root = root();
            std::fs::remove_dir(root.config.root.join("etc/ssl/a")).expect("removed");
            for (name, target) in links {
                drop(symlink(target, root.config.root.join("etc/ssl").join(name)));
            }
            let allowed = root.config.root.join("etc/ssl");
            if let Ok(place) = place(&root, &format!("/etc/ssl{path}")) {
                proptest::prop_assert!(place.target.starts_with(&allowed));
                for directory in &place.missing {
                    std::fs::create_dir(directory).expect("missing directories can be made in order");
                }
                let parent = place.target.parent().expect("a parent");
                proptest::prop_assert_eq!(parent.canonicalize().expect("there"), parent);
            }
        }
    }
}
