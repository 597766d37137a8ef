//! What a plan is made of: what is written where nobody looks, and then the steps that readers notice.
//!
//! Invariant: nothing takes a place but by a rename, and what is renamed lies where a crash leaves it to be found.

use std::path::{Path, PathBuf};

use pinion_proto::bundle::Fingerprint;

use super::generations::Generations;
use crate::ledger::SavedFile;

/// What must be done: everything is made beside what is read, and then the steps are taken in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Directories to make where they are missing, outermost first.
    pub make: Vec<PathBuf>,
    /// Directories that nobody reads yet, to be made or emptied.
    pub fresh: Vec<PathBuf>,
    /// Files to write where nobody reads them.
    pub writes: Vec<Write>,
    /// Links to make where nobody follows them.
    pub links: Vec<Link>,
    /// What readers notice.
    pub steps: Vec<Step>,
}

/// One file to write.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub path: PathBuf,
    /// As it should be.
    pub file: SavedFile,
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Write").field("path", &self.path).finish_non_exhaustive()
    }
}

/// One symbolic link to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where.
    pub path: PathBuf,
    /// What it says.
    pub to: PathBuf,
}

/// One change that readers notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Something that was made takes its place.
    Rename {
        /// Where it was made.
        from: PathBuf,
        /// Where it belongs.
        to: PathBuf,
    },
    /// Something goes.
    Remove(PathBuf),
}

impl Step {
    /// The path that changes.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Rename { to, .. } => to,
            Self::Remove(path) => path,
        }
    }
}

impl Plan {
    /// Directories that must be there.
    pub(super) fn make(&mut self, directories: &[PathBuf]) {
        for directory in directories {
            if !self.make.contains(directory) {
                self.make.push(directory.clone());
            }
        }
    }

    /// A file is made beside its place and takes it.
    pub(super) fn exchange(&mut self, target: &Path, file: SavedFile) {
        let from = temporary(target);
        self.writes.push(Write { path: from.clone(), file });
        self.steps.push(Step::Rename { from, to: target.into() });
    }

    /// A link is made beside its place and takes it.
    pub(super) fn link(&mut self, target: &Path, to: PathBuf) {
        let from = temporary(target);
        self.links.push(Link { path: from.clone(), to });
        self.steps.push(Step::Rename { from, to: target.into() });
    }

    /// Every reader of the links gets another generation.
    pub(super) fn switch(&mut self, generations: &Generations, generation: u64) {
        let from = generations.next(generation);
        self.links.push(Link { path: from.clone(), to: generation.to_string().into() });
        self.steps.push(Step::Rename { from, to: generations.current() });
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where the new content of a target is written first. A function of the target alone, so that a leftover is found
/// after a crash; hashed, so that it is no longer than a name may be.
#[must_use]
pub fn temporary(target: &Path) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let name = target.file_name().unwrap_or_default();
    let mut digest = Fingerprint::of(name.as_bytes()).to_string();
    digest.truncate(16);
    target.with_file_name(format!(".pinion-{digest}.new"))
}
