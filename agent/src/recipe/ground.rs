//! Where one placement may have files.
//!
//! Invariant: stores of roots and configuration are no place for a certificate's files, whatever allows them.

use pinion_proto::spec::GuestPath;

use super::{
    JobError,
    protected::{self, Protected, SSL},
};

/// Where one placement may have files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ground {
    /// In and below these.
    pub directories: Vec<GuestPath>,
    /// At exactly these paths.
    pub files: Vec<GuestPath>,
    /// In directories below `/etc/ssl`, and not in it.
    pub below_ssl: bool,
    /// Only roots are placed.
    pub roots: bool,
    /// These stay from before the guest allowed less.
    pub kept: Vec<GuestPath>,
    /// So does a private key that belongs to `nobody`.
    pub nobody: bool,
    /// So does a file without a private key that everybody may write.
    pub writable: bool,
}

impl Ground {
    /// Whether a file may be there, by its name.
    ///
    /// # Errors
    /// The guest does not allow it, or nobody may have one there.
    pub fn file(&self, path: &GuestPath) -> Result<(), JobError> {
        if !self.names(path) {
            return Err(JobError::Directory(path.clone()));
        }
        match self.protected(path.as_str(), path) {
            Some(what) => Err(JobError::Protected { path: path.clone(), what }),
            None => Ok(()),
        }
    }

    /// What the real path of a file is, when nobody may have a file there.
    #[must_use]
    pub fn protected(&self, real: &str, path: &GuestPath) -> Option<Protected> {
        if self.kept.contains(path) { protected::whole(real) } else { protected::of(real, self.roots) }
    }

    fn names(&self, path: &GuestPath) -> bool {
        is_below(path.as_str(), &self.directories)
            || self.files.contains(path)
            || self.kept.contains(path)
            || (self.below_ssl && is_below_ssl(path))
    }
}

/// Whether a path is below one of these, by its name alone.
pub(super) fn is_below(path: &str, directories: &[GuestPath]) -> bool {
    directories.iter().any(|allowed| path.strip_prefix(allowed.as_str()).is_some_and(|rest| rest.starts_with('/')))
}

/// Whether a path is in a directory below `/etc/ssl`.
fn is_below_ssl(path: &GuestPath) -> bool {
    path.as_str().strip_prefix(SSL).and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| rest.contains('/'))
}
