//! Why files are not in place, whether that may pass, and what a person can do.

use std::{
    io,
    path::{Path, PathBuf},
};

use pinion_proto::spec::{Account, FileMode, GuestPath, Part};
use rustix::io::Errno;
use thiserror::Error;

use crate::keystore::{EncodeError, PasswordError};

use super::{mounts::NotMounted, place_error::PlaceError, share};

/// Why files are not in place.
#[derive(Debug, Error)]
pub enum InstallError {
    /// The path may not be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A user or group is not there.
    #[error("the guest has no {kind} `{account}`")]
    Account {
        /// `user` or `group`.
        kind: &'static str,
        /// Which.
        account: Account,
    },
    /// A private key would be everybody's.
    #[error(
        "{path} would contain a private key and belong to {owner}:{group}, and programs of any user may run as \
        these"
    )]
    Exposed {
        /// Which file.
        path: GuestPath,
        /// Its owner.
        owner: Account,
        /// Its group.
        group: Account,
    },
    /// Something is there that is not Pinion's and would not come back by itself.
    #[error("{path} is there already and {what}: the part `{part}` does not replace it")]
    Foreign {
        /// Which file.
        path: GuestPath,
        /// What was to take its place.
        part: Part,
        /// What it is instead.
        what: &'static str,
    },
    /// What should be a password is none.
    #[error("{path} has no password for a keystore: {source}")]
    Password {
        /// Its file.
        path: GuestPath,
        /// What is wrong.
        source: PasswordError,
    },
    /// A keystore cannot be made.
    #[error("cannot make {path}")]
    Keystore {
        /// The file.
        path: GuestPath,
        /// Why not.
        source: EncodeError,
    },
    /// The account database cannot be read.
    #[error("cannot read {path}", path = path.display())]
    Accounts {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is in place cannot be read, so it could not be put back.
    #[error("cannot read {path}, which the new file would replace", path = path.display())]
    Present {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file cannot be given away.
    #[error("cannot give {path} to user {uid} and group {gid}", path = path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The user's number.
        uid: u32,
        /// The group's number.
        gid: u32,
        /// Why not.
        source: io::Error,
    },
    /// A file's permissions cannot be set.
    #[error("cannot set the mode of {path} to {mode}", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// The permission bits.
        mode: FileMode,
        /// Why not.
        source: io::Error,
    },
    /// Any other operation on a file.
    #[error("cannot {operation} {path}", path = path.display())]
    Operation {
        /// What was tried: `write`, `rename to`.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The process or the machine has no room for another open file.
fn too_many_files(error: &io::Error) -> bool {
    is(error, Errno::MFILE) || is(error, Errno::NFILE)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

impl InstallError {
    /// Whether it may go by itself: a full disk does, a refusing file system or allow-list does not.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        if self.is_share_gone() {
            return true;
        }
        match self {
            // The service's package brings its user.
            Self::Account { .. } | Self::Accounts { .. } => true,
            Self::Place(error) => error.may_pass(),
            // A disk that cannot be read for a moment, and not something that is no certificate.
            Self::Present { source, .. } if source.raw_os_error().is_some() => {
                source.kind() != io::ErrorKind::PermissionDenied
            }
            Self::Present { .. } | Self::Owner { .. } | Self::Mode { .. } => false,
            Self::Exposed { .. } | Self::Foreign { .. } | Self::Password { .. } | Self::Keystore { .. } => false,
            Self::Operation { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported | io::ErrorKind::ResourceBusy
            ),
        }
    }

    /// What is not mounted, if that is it.
    #[must_use]
    pub fn not_mounted(&self) -> Option<&NotMounted> {
        self.failed().and_then(|(source, _)| NotMounted::of(source))
    }

    /// Whether a directory that a server shares, or any mount, is not there now.
    #[must_use]
    pub fn is_share_gone(&self) -> bool {
        self.failed().is_some_and(|(source, path)| {
            share::is_gone(source)
                || NotMounted::of(source).is_some()
                || (!self.is_mistake() && share::has_no_quorum(source, path))
        })
    }

    /// Whether the file system would refuse it at any time.
    fn is_mistake(&self) -> bool {
        matches!(self, Self::Owner { .. } | Self::Mode { .. })
    }

    /// What the kernel said, and about which path.
    fn failed(&self) -> Option<(&io::Error, &Path)> {
        match self {
            Self::Place(PlaceError::Look { at, source, .. }) => Some((source, at)),
            Self::Place(_) | Self::Account { .. } | Self::Exposed { .. } | Self::Foreign { .. } => None,
            Self::Password { .. } | Self::Keystore { .. } => None,
            Self::Accounts { path, source }
            | Self::Present { path, source }
            | Self::Owner { path, source, .. }
            | Self::Mode { path, source, .. }
            | Self::Operation { path, source, .. } => Some((source, path)),
        }
    }

    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        if let Some(not_mounted) = self.not_mounted() {
            return not_mounted.remedy();
        }
        if !self.is_mistake() && self.failed().is_some_and(|(source, path)| share::has_no_quorum(source, path)) {
            return share::QUORUM.into();
        }
        if let Some(remedy) = self.failed().and_then(|(source, path)| share::remedy(source, path)) {
            return remedy;
        }
        match self {
            Self::Place(error) => error.remedy(),
            Self::Account { kind, .. } => {
                format!("install the service that creates this {kind}, or name another {kind} in the manifest")
            }
            Self::Accounts { path, .. } => format!("make {} readable", path.display()),
            Self::Password { path, .. } => {
                format!("write one line of text into {path}, or remove it: the agent then makes a password")
            }
            Self::Keystore { .. } => "choose another part in the manifest, for example `fullchain` and `key`".into(),
            Self::Foreign { path, .. } => format!("move {path} away, or name another path in the manifest"),
            Self::Exposed { .. } => "name the service's own user and group as its owner in the manifest".into(),
            Self::Present { path, source } if source.raw_os_error().is_none() => {
                format!("move {} away", path.display())
            }
            Self::Owner { uid, gid, source, .. } if is(source, Errno::INVAL) => format!(
                "user {uid} or group {gid} is outside of the numbers that this container has: name another owner and \
                 group in the manifest, or give the container these numbers (`lxc.idmap` in its configuration on the \
                 host)"
            ),
            Self::Owner { .. } => {
                "run the agent as root, or name the agent's own user and group as the file's owner in the manifest"
                    .into()
            }
            Self::Mode { .. } => "put the file on a file system that keeps permissions".into(),
            Self::Operation { source, path, .. } | Self::Present { source, path } => match source.kind() {
                _ if too_many_files(source) => "raise `LimitNOFILE=` of the agent's unit".into(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space on the disk".into(),
                io::ErrorKind::ReadOnlyFilesystem => "make the file system writable".into(),
                io::ErrorKind::ResourceBusy => format!(
                    "{} is a mount of its own, and nothing can take its place: mount its directory instead, or name \
                     another path in the manifest",
                    path.display()
                ),
                io::ErrorKind::PermissionDenied if is(source, Errno::PERM) => format!(
                    "see whether an attribute forbids the change (`lsattr -d {0} {1}`; `chattr -i` takes it away); else \
                     let the agent's user write there",
                    path.parent().unwrap_or(path).display(),
                    path.display()
                ),
                io::ErrorKind::PermissionDenied => "let the agent's user write there".into(),
                _ => "check the guest's kernel log for disk errors (`dmesg`)".into(),
            },
        }
    }
}
