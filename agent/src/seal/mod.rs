//! Making a guest safe to be copied: agent, unit and allow-list stay, everything that makes it this guest goes.
//!
//! Answers: what did Pinion bring in that a copy must not have, and may all of it be removed?
//! Invariants: nothing is touched unless all can be removed. The identity goes first, so that what a crash leaves is
//! nobody; of a placement the ledger goes last, because it says where the files are: a second run finishes.

mod plan;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use pinion_proto::{id::Guest, spec::GuestPath};
use thiserror::Error;

pub use self::plan::Obstacle;
use self::plan::{Plan, plan};
use crate::{
    config::Config,
    identity::Identity,
    install::{InstallError, drift, files::Files, mounts::NotMounted},
    ledger::{LedgerError, Ledgers},
};

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Who this guest was; none when it had no identity that could be read.
    pub guest: Option<Guest>,
    /// What was removed.
    pub removed: Vec<PathBuf>,
    /// Files that Pinion wrote once and that say something else by now: left.
    pub left: Vec<GuestPath>,
    /// The systemd machine id is set: every copy would have the same.
    pub machine_id: bool,
}

/// Removes the identity, every key and certificate that Pinion placed, and what is remembered of them.
///
/// # Errors
/// An agent runs, or something is in the way, and nothing was touched; or the disk refused half-way.
pub fn seal(config: &Config, files: &Arc<dyn Files>) -> Result<Sealed, SealError> {
    let machine_id = has_machine_id(config);
    let state = match config.state.canonicalize() {
        Ok(state) => state,
        // No agent has ever run here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sealed { machine_id, ..Sealed::default() }),
        Err(source) => return Err(LedgerError::Directory { path: config.state.clone(), source }.into()),
    };
    let ledgers = Ledgers::open(&state, Arc::clone(files))?;
    let guest = Identity::load(config).ok().flatten().map(|identity| identity.guest);
    let Plan { identity, placements, remains, left, obstacles } = plan(config, &**files, &state, &ledgers)?;
    if !obstacles.is_empty() {
        return Err(SealError::Obstacles(obstacles));
    }
    let mut removed = Vec::new();
    let mut remove = |files: &dyn Files, path: PathBuf| -> Result<(), SealError> {
        let failed = |source| InstallError::Operation { operation: "look at", path: path.clone(), source };
        match files.look(&path) {
            // What is not mounted any more is not gone.
            Err(e) if NotMounted::of(&e).is_some() => return Err(failed(e).into()),
            // What was behind a link went with it.
            Ok(None) | Err(_) => {}
            Ok(Some(_)) => {
                drift::remove(files, &path)?;
                removed.push(path);
            }
        }
        Ok(())
    };
    identity.into_iter().try_for_each(|path| remove(&**files, path))?;
    for (name, guarded, found) in placements {
        found.into_iter().try_for_each(|path| remove(&*guarded, path))?;
        ledgers.remove(&name)?;
    }
    remains.into_iter().try_for_each(|path| remove(&**files, path))?;
    // A `pinion-agent join` at the same moment asks for no lock.
    let again = plan::identity(&**files, &state)?;
    ledgers.release();
    match again.into_iter().next() {
        Some(path) => Err(SealError::CameBack { path }),
        None => Ok(Sealed { guest, removed, left, machine_id }),
    }
}

/// Why a guest is not sealed.
#[derive(Debug, Error)]
pub enum SealError {
    /// What is remembered cannot be used, or somebody else uses it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Not all could be removed, so nothing was.
    #[error("nothing was removed, because some of it cannot be removed")]
    Obstacles(Vec<Obstacle>),
    /// The disk refuses.
    #[error("sealing was interrupted half-way")]
    Remove(#[from] InstallError),
    /// Somebody joined meanwhile.
    #[error("{path} was written while this guest was being sealed", path = path.display())]
    CameBack {
        /// Which file.
        path: PathBuf,
    },
}

impl SealError {
    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Ledger(LedgerError::Busy { .. }) => {
                "stop the agent (`systemctl stop pinion-agent`, or `rc-service pinion-agent stop`), then seal again"
                    .into()
            }
            Self::Ledger(LedgerError::Directory { .. }) => "seal as root".into(),
            Self::Ledger(error) => error.remedy(),
            Self::Obstacles(_) => "correct that, then seal again".into(),
            Self::Remove(error) => format!("{}, then seal again: it continues where it stopped", error.remedy()),
            Self::CameBack { .. } => "make sure that nobody runs `pinion-agent join` here, then seal again".into(),
        }
    }
}

/// machine-id(5): an image that is copied has an empty one, or the word `uninitialized`.
fn has_machine_id(config: &Config) -> bool {
    let text = std::fs::read_to_string(config.root.join(MACHINE_ID)).unwrap_or_default();
    !matches!(text.trim(), "" | "uninitialized")
}

/// A path as the guest sees it.
#[must_use]
pub fn shown(config: &Config, path: &Path) -> String {
    let inside = path.strip_prefix(&config.root).unwrap_or(path);
    Path::new("/").join(inside).display().to_string()
}

/// Below the root.
const MACHINE_ID: &str = "etc/machine-id";
