//! A mount point that a placement's files need.

use std::str::FromStr;

use crate::{
    id::{checked_text, shown},
    spec::{GuestPath, SpecError},
};

/// An absolute path at which something must be mounted, or `/`: then nothing has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint(Box<str>);

impl MountPoint {
    /// Whether it is `/`, at which something is always mounted.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The path; none for `/`.
    #[must_use]
    pub fn path(&self) -> Option<GuestPath> {
        self.0.parse().ok()
    }
}

impl FromStr for MountPoint {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if text == "/" || text.parse::<GuestPath>().is_ok() {
            Ok(Self(text.into()))
        } else {
            Err(SpecError::MountPoint(shown(text)))
        }
    }
}

checked_text!(MountPoint, "The path as text.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_an_absolute_path_or_the_root() {
        for (text, path) in [("/", None), ("/mnt/pve/nfs", Some("/mnt/pve/nfs"))] {
            let point: MountPoint = text.parse().expect(text);
            assert_eq!((point.is_root(), point.path().as_ref().map(GuestPath::as_str)), (path.is_none(), path));
        }
        for bad in ["", "mnt", "/mnt/", "//", "/mnt/../etc", "/mnt/\n"] {
            assert!(bad.parse::<MountPoint>().is_err(), "{bad:?}");
        }
    }
}
