//! Where a lab is: its directory, and the lock by which it is the only one there.
//!
//! Answers: how can several labs be on one machine? Invariant: everything of a lab's is in namespaces of its own,
//! below its directory, or in a control group that is named after that; so labs do not see each other, from whatever
//! checkouts they are. Whoever takes a place clears up what an earlier lab has left there.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use super::{base, remains};
use crate::wait;

/// A place that is taken, as long as its lock is open anywhere.
#[derive(Debug)]
pub struct Place {
    pub(super) live: PathBuf,
    pub(super) lock: File,
}

/// The directory of the lab that a person has: `cargo xtask lab`.
#[must_use]
pub fn kept() -> PathBuf {
    directory("kept")
}

/// Clears up what the labs of killed tests have left; a lab that somebody has is left alone.
///
/// # Errors
/// Something does not go.
pub fn clear_abandoned() -> Result<()> {
    for live in tests() {
        if let Ok(lock) = try_lock(&live) {
            Place::cleared(live, lock)?;
        }
    }
    Ok(())
}

impl Place {
    /// The one of the lab that a person has; waits until it is free.
    ///
    /// # Errors
    /// It does not get free within an hour, or what was left there does not go.
    pub fn kept() -> Result<Self> {
        let live = kept();
        let lock = wait::until("the other lab to end", MAX, || try_lock(&live).map_err(|error| format!("{error:#}")))?;
        Self::cleared(live, lock)
    }

    /// One of those for tests; waits until one is free.
    ///
    /// # Errors
    /// None gets free within an hour, or what was left there does not go.
    pub fn free() -> Result<Self> {
        let (live, lock) = wait::until("one of the other labs to end", MAX, || {
            let mut reason = String::new();
            for live in tests() {
                match try_lock(&live) {
                    Ok(lock) => return Ok((live, lock)),
                    Err(error) => reason = format!("{error:#}"),
                }
            }
            Err(reason)
        })?;
        Self::cleared(live, lock)
    }

    fn cleared(live: PathBuf, lock: File) -> Result<Self> {
        remains::clear(&live).with_context(|| format!("clear up after an earlier lab in {}", live.display()))?;
        Ok(Self { live, lock })
    }
}

/// So many labs boot and work at once; a lab mostly waits, and its tests count in seconds.
const AT_ONCE: u32 = 3;

/// Many tests may wait for a place at once.
const MAX: Duration = Duration::from_secs(3600);

fn tests() -> impl Iterator<Item = PathBuf> {
    (0..AT_ONCE).map(|number| directory(&number.to_string()))
}

fn directory(name: &str) -> PathBuf {
    base::directory().join("live").join(name)
}

/// The lock's file is beside the directory, which goes with its lab.
fn try_lock(live: &Path) -> Result<File> {
    let path = live.with_extension("lock");
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}
