//! Why there is no place for a file, and what a person can do.

use std::{io, path::PathBuf};

use pinion_proto::spec::GuestPath;
use thiserror::Error;

use crate::recipe::{self, protected::Protected};

/// Why there is no place for a file.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// A link leads out.
    #[error("{path} leads to {real}, outside the directories that the guest allows", real = real.display())]
    Outside {
        /// As it was asked for.
        path: GuestPath,
        /// Where its directory really is.
        real: PathBuf,
    },
    /// A link leads to what no certificate's file may be.
    #[error("{path} leads to {real}, which is {what}, and a certificate's file must not be there", real = real.display())]
    Protected {
        /// As it was asked for.
        path: GuestPath,
        /// Where it really is.
        real: PathBuf,
        /// What is there.
        what: Protected,
    },
    /// Pinion's own hooks, recipes and state.
    #[error("{path} is in one of Pinion's own directories, and a certificate's file must not be there")]
    Pinions {
        /// As it was asked for.
        path: GuestPath,
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
    #[error("{path} would be in {directory}, which belongs to user {uid}, not to root or the file's owner", directory = directory.display())]
    Foreign {
        /// As it was asked for.
        path: GuestPath,
        /// Which directory.
        directory: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// The directory is everybody's.
    #[error("{path} would be in {directory}, in which every user can replace files", directory = directory.display())]
    Open {
        /// As it was asked for.
        path: GuestPath,
        /// Which directory.
        directory: PathBuf,
    },
    /// A directory cannot be searched.
    #[error("cannot access {at} on the way to {path}", at = at.display())]
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
            Self::Outside { real, .. } => {
                format!("remove the link, or {}", recipe::allow("extra_directories", &real.display().to_string()))
            }
            Self::Protected { .. } => "remove the link, or name another path in the manifest".into(),
            Self::Pinions { .. } => "name a directory that only the service uses in the manifest".into(),
            Self::Link(path) => {
                format!("replace the link {path} with a file, or name its target in the manifest")
            }
            Self::NotAFile(path) => format!("move what is at {path} away, or name another path in the manifest"),
            Self::NotADirectory { directory, .. } => format!("make {} a directory", directory.display()),
            Self::Loop(path) => format!("remove the loop of links on the way to {path}"),
            Self::Foreign { directory, .. } => {
                format!(
                    "run `chown root {0}`, or name its owner as the file's owner in the manifest",
                    directory.display()
                )
            }
            Self::Open { directory, .. } => format!("chmod o-w {}", directory.display()),
            Self::Look { at, .. } => format!("let the agent's user search {}", at.display()),
        }
    }
}
