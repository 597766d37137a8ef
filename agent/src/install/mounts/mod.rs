//! Mount points above a placement's files: nothing is touched below one while nothing is mounted there.
//!
//! Answers: which mount points does a placement need, and is each of them mounted now?
//! Invariants: files that are written below an unmounted mount point would be hidden by the next mount, or prevent it
//! (Proxmox's `/etc/pve`), so a [`Guard`] goes with every operation on a placement's files. It is asked on the very
//! descriptors that the operation then uses (`super::walk`), so nothing can be unmounted between the check and the use.

mod fstab;
mod learn;
mod table;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

pub use learn::{guard, learn};
pub use table::{MAX_TABLE, Mount, MountTable};

/// Where Proxmox keeps the cluster's configuration: a file system in user space (pmxcfs), below the root.
const PROXMOX: &str = "etc/pve";

/// Where Proxmox mounts its storages, each in a directory of its own, below the root.
const STORAGES: &str = "mnt/pve";

/// Which mount points must be mounted for operations below them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    needs: Vec<Need>,
    /// Each directory in it is a mount point, as Proxmox has it.
    storages: Option<PathBuf>,
    /// Storages' directories of which it is known that nothing is to be mounted there.
    plain: BTreeSet<PathBuf>,
    /// The guard could not be made, for this reason: no operation is done.
    unknown: Option<Arc<Unknown>>,
}

/// Why nobody can say what must be mounted.
#[derive(Debug, PartialEq, Eq)]
struct Unknown {
    path: PathBuf,
    cause: String,
}

/// One mount point that must be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The mount point.
    pub point: PathBuf,
    /// What must be there.
    pub what: What,
}

/// What must be mounted at a mount point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Anything: after a restore or a move of the storage it is another device.
    Anything,
    /// A file system in user space (FUSE), as pmxcfs is.
    Fuse,
    /// The same, below a root that is not `/`: there a directory that has something in it counts as well.
    FuseOrFilled,
}

/// A mount point is not mounted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotMounted {
    /// Nothing is mounted there.
    #[error("{point} is not mounted", point = point.display())]
    Point {
        /// The mount point.
        point: PathBuf,
    },
    /// Proxmox's file system is not there.
    #[error("{point} is not mounted: pmxcfs, Proxmox's cluster file system, is not running", point = point.display())]
    Proxmox {
        /// The mount point.
        point: PathBuf,
    },
    /// It cannot be found out.
    #[error("cannot find out what must be mounted here: cannot read {path}: {cause}", path = path.display())]
    Unknown {
        /// What cannot be read.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
}

impl NotMounted {
    /// The refusal in an error of the file system's.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What is attempted in vain, in words.
    #[must_use]
    pub fn attempt(&self) -> String {
        match self {
            Self::Point { point } | Self::Proxmox { point } => format!("use the files below {}", point.display()),
            Self::Unknown { .. } => "find out what must be mounted above the files".into(),
        }
    }

    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Point { point } => format!(
                "mount it (`mount {}`); Pinion then continues by itself. If nothing has to be mounted there any \
                 more, set \"requires_mount\": \"/\" for this placement in the manifest",
                point.display()
            ),
            Self::Proxmox { .. } => {
                "start it (`systemctl start pve-cluster`); Pinion then continues by itself, and writes nothing there \
                 before"
                    .into()
            }
            Self::Unknown { path, .. } => format!("let the agent's user read {}", path.display()),
        }
    }
}

impl From<NotMounted> for io::Error {
    fn from(error: NotMounted) -> Self {
        Self::other(error)
    }
}

impl Need {
    /// The error for it.
    #[must_use]
    pub fn missing(&self) -> NotMounted {
        let point = self.point.clone();
        match self.what {
            What::Anything => NotMounted::Point { point },
            What::Fuse | What::FuseOrFilled => NotMounted::Proxmox { point },
        }
    }
}

/// A guard that asks for nothing: for the agent's own files.
pub static NO_GUARD: Guard = Guard { needs: Vec::new(), storages: None, plain: BTreeSet::new(), unknown: None };

impl Guard {
    /// What must be mounted for everything at or below a path, from the outermost on.
    ///
    /// # Errors
    /// It is not known.
    pub fn needs(&self, path: &Path) -> Result<Vec<Need>, NotMounted> {
        if let Some(unknown) = &self.unknown {
            return Err(NotMounted::Unknown { path: unknown.path.clone(), cause: unknown.cause.clone() });
        }
        let mut needs: Vec<Need> = self.needs.iter().filter(|need| path.starts_with(&need.point)).cloned().collect();
        if let Some(storages) = &self.storages
            && let Ok(inside) = path.strip_prefix(storages)
            && let Some(name) = inside.components().next()
        {
            let point = storages.join(name);
            if !self.plain.contains(&point) {
                needs.push(Need { point, what: What::Anything });
            }
        }
        // Of one mount point the narrower need comes first: its error says what is to be started there.
        needs.sort_by(|one, other| one.point.cmp(&other.point).then(other.what.cmp(&one.what)));
        needs.dedup();
        Ok(needs)
    }

    /// A guard that asks for these.
    #[cfg(test)]
    pub(crate) fn of(needs: impl IntoIterator<Item = Need>) -> Self {
        Self { needs: needs.into_iter().collect(), ..Self::default() }
    }

    /// Asks for one more.
    fn need(&mut self, point: PathBuf, what: What) {
        let need = Need { point, what };
        if !self.needs.contains(&need) {
            self.needs.push(need);
        }
    }
}
