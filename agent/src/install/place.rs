//! Where a path of the guest's really is, and whether the guest allows writing there.
//!
//! Invariant: a [`Place`]'s target has no symbolic link on its way and is in or below an allowed directory; it is itself
//! none, unless Pinion made it to switch generations ([`super::generations`]).

use std::path::{Path, PathBuf};

use pinion_proto::spec::GuestPath;

pub use super::place_error::PlaceError;
use super::{
    files::{Files, Kind},
    generations,
    mounts::NotMounted,
    resolve::{Last, Resolved, look, resolve},
};
use crate::{
    config::{Config, List},
    recipe::{Ground, SSL},
};

/// A place for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's path, its parents' links followed.
    pub target: PathBuf,
    /// Its parent directories that are not there yet, outermost first.
    pub missing: Vec<PathBuf>,
}

/// Finds the real path of a file that a placement is to have, following links of its parents as if the root were `/`.
///
/// # Errors
/// The path leads out of the placement's ground or to what nobody may write, something that is no file is in its place, or it
/// cannot be searched.
pub fn find_on(files: &dyn Files, config: &Config, ground: &Ground, path: &GuestPath) -> Result<Place, PlaceError> {
    let directory = real_directory(files, config, path)?;
    if !is_on(files, config, ground, path, &directory.path) {
        return Err(outside(config, &directory.path, path));
    }
    let place = in_directory(files, directory, path)?;
    let is_pinions =
        [&config.hooks, &config.recipes, &config.state].iter().any(|own| is_within(files, &place.target, own));
    if is_pinions {
        return Err(PlaceError::Pinions { path: path.clone() });
    }
    let real = inside(config, &place.target);
    match ground.protected(&real.to_string_lossy(), path) {
        Some(what) => Err(PlaceError::Protected { path: path.clone(), real, what }),
        None => Ok(place),
    }
}

/// Whether a real path is in or below a directory, whatever links lead there.
fn is_within(files: &dyn Files, target: &Path, directory: &Path) -> bool {
    if target.starts_with(directory) {
        return true;
    }
    match files.look(directory) {
        // Without a link on the way, which a look would not follow, it is where its name says.
        Ok(None) => false,
        Ok(Some(found)) if found.kind == Kind::Directory => false,
        Ok(Some(_)) | Err(_) => directory.canonicalize().is_ok_and(|real| target.starts_with(real)),
    }
}

/// The real path of a file that a placement has, or the one that it was given where that cannot be found.
pub fn target(files: &dyn Files, config: &Config, path: &GuestPath) -> PathBuf {
    find(files, config, path).map_or_else(|_| config.under_root(path), |place| place.target)
}

/// Finds the real path of a file that a placement has, following links of its parents as if the root were `/`.
///
/// # Errors
/// The path leads out of the allowed directories, something that is no file is in its place, or it cannot be searched.
pub fn find(files: &dyn Files, config: &Config, path: &GuestPath) -> Result<Place, PlaceError> {
    in_directory(files, directory(files, config, path)?, path)
}

/// The file's place in its directory, when a file may be there.
fn in_directory(files: &dyn Files, directory: Resolved, path: &GuestPath) -> Result<Place, PlaceError> {
    let name = Path::new(path.as_str()).file_name().ok_or_else(|| PlaceError::NotAFile(path.clone()))?;
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
                if generations::owner(&link, name).is_none() {
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
    let found = directory(files, config, path)?;
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

/// Finds the real directory of a file that a placement has: one that the guest allows, or allowed by default once. Where
/// agent.toml does not replace the list, it may also be any that is where its name says, because recipes allow their own.
fn directory(files: &dyn Files, config: &Config, path: &GuestPath) -> Result<Resolved, PlaceError> {
    let directory = real_directory(files, config, path)?;
    let named = config.allow.takes_recipes(List::Directories)
        && parent(path).is_some_and(|parent| directory.path == below(&config.root, parent));
    let allowed = named || is_below(files, config, &directory.path, &config.allow.of_earlier_agents().directories);
    if allowed { Ok(directory) } else { Err(outside(config, &directory.path, path)) }
}

/// Whether the real directory of a file is where its placement may have files.
fn is_on(files: &dyn Files, config: &Config, ground: &Ground, path: &GuestPath, directory: &Path) -> bool {
    // Who names the file itself also knows the links to it.
    if ground.files.contains(path) || ground.kept.contains(path) {
        return true;
    }
    if is_below(files, config, directory, &ground.directories) {
        return true;
    }
    let ssl: Option<GuestPath> = ground.below_ssl.then(|| SSL.parse().ok()).flatten();
    ssl.is_some_and(|ssl| {
        let is_in = |ssl: &Path| directory != ssl && directory.starts_with(ssl);
        is_in(&config.under_root(&ssl)) || real_of(files, config, &ssl).is_some_and(|real| is_in(&real))
    })
}

/// Whether a real directory is in or below one of these.
fn is_below(files: &dyn Files, config: &Config, directory: &Path, permitted: &[GuestPath]) -> bool {
    // An allowed directory may itself be reached through links: who allowed it put them there. Most are not, and then
    // nothing has to be looked at.
    permitted.iter().any(|permitted| directory.starts_with(config.under_root(permitted)))
        || permitted
            .iter()
            .any(|permitted| real_of(files, config, permitted).is_some_and(|real| directory.starts_with(real)))
}

/// Where a directory is by the links on its way; none when it cannot be found.
fn real_of(files: &dyn Files, config: &Config, directory: &GuestPath) -> Option<PathBuf> {
    let real = resolve(files, &config.root, Path::new(directory.as_str()), Last::Directory, directory);
    real.ok().map(|real| real.path)
}

fn real_directory(files: &dyn Files, config: &Config, path: &GuestPath) -> Result<Resolved, PlaceError> {
    let parent = parent(path).ok_or_else(|| PlaceError::NotAFile(path.clone()))?;
    let directory = resolve(files, &config.root, parent, Last::Directory, path)?;
    if !directory.missing.is_empty() {
        // Perhaps it is missing because what it is on is not mounted.
        let inside = directory.path.join(".pinion");
        if let Err(source) = files.look(&inside)
            && NotMounted::of(&source).is_some()
        {
            return Err(PlaceError::Look { path: path.clone(), at: directory.path, source });
        }
    }
    Ok(directory)
}

/// Where a file's directory really is, whether or not a file may be there.
pub(super) fn unjudged(files: &dyn Files, config: &Config, path: &GuestPath) -> Result<PathBuf, PlaceError> {
    Ok(real_directory(files, config, path)?.path)
}

fn parent(path: &GuestPath) -> Option<&Path> {
    Path::new(path.as_str()).parent()
}

fn outside(config: &Config, directory: &Path, path: &GuestPath) -> PlaceError {
    PlaceError::Outside { path: path.clone(), real: inside(config, directory) }
}

/// A real path as the guest sees it.
fn inside(config: &Config, path: &Path) -> PathBuf {
    path.strip_prefix(&config.root).map_or_else(|_| path.to_owned(), |inside| Path::new("/").join(inside))
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
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
        config.allow.only_directories(&["/etc/ssl"]);
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
