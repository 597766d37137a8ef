//! The real path behind a guest's path: links followed by hand, as if the root were `/`.
//!
//! Invariant: no link leads out of the root, and as many are followed as the kernel follows.

use std::{
    collections::VecDeque,
    ffi::OsString,
    path::{Component, Path, PathBuf},
};

use pinion_proto::spec::GuestPath;

use super::{
    files::{Files, Kind},
    place_error::PlaceError,
};

/// As many links in one path as the kernel follows (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// A path whose links are followed.
pub(super) struct Resolved {
    pub(super) path: PathBuf,
    /// What of it is not there yet, outermost first.
    pub(super) missing: Vec<PathBuf>,
}

/// What the end of a path may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Directory,
    Anything,
}

/// Follows links below `root` by hand: an absolute one starts at the root again, and `..` never leaves it.
pub(super) fn resolve(
    files: &dyn Files,
    root: &Path,
    directory: &Path,
    last: Last,
    asked: &GuestPath,
) -> Result<Resolved, PlaceError> {
    let mut todo = names(directory);
    // Nearly every path is a directory without a link on its way, which one look tells: `look` follows none.
    if todo.iter().all(|name| name != "..") {
        let plain = root.join(todo.iter().collect::<PathBuf>());
        if let Ok(Some(found)) = files.look(&plain)
            && found.kind == Kind::Directory
        {
            return Ok(Resolved { path: plain, missing: Vec::new() });
        }
    }
    let mut real = root.to_owned();
    let mut missing = Vec::new();
    let mut links = 0;
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
                if links > MAX_LINKS {
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

/// What is at a path, if anything.
pub(super) fn look(files: &dyn Files, at: &Path, asked: &GuestPath) -> Result<Option<Kind>, PlaceError> {
    let found = files.look(at).map_err(|source| PlaceError::Look { path: asked.clone(), at: at.into(), source })?;
    Ok(found.map(|found| found.kind))
}
