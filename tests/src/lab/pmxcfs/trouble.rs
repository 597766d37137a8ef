//! What a cluster does to its files when it is not well, switched by a file outside of the mount.
//!
//! Answers: may this change be made now, and if not, how is it refused? Invariant: the state depends on the file and the clock
//! alone, so it outlives the server; reading never stops. The times are those that were measured on three nodes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What is wrong, since a moment in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountTrouble {
    /// This node is cut off. Changes hang until the others are given up, fail with EPERM then, and with EACCES from then on.
    Cut {
        /// Since when.
        at: u64,
        /// How long changes hang, in milliseconds.
        hang: u64,
    },
    /// Another node is cut off or dead: changes hang, and are made then.
    Stall {
        /// Since when.
        at: u64,
        /// How long changes hang, in milliseconds.
        hang: u64,
    },
    /// The cluster finds together: no change is made until then.
    Healing {
        /// Since when.
        at: u64,
        /// How long that takes, in milliseconds.
        hang: u64,
    },
}

/// How long changes hang until a node that is gone is given up.
pub const HANG: Duration = Duration::from_secs(8);

/// How long a cluster takes to find together.
pub const HEALING: Duration = Duration::from_millis(900);

/// Whether changes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// They are.
    Well,
    /// They wait for this long, and are refused then or made.
    Hanging(Duration, std::result::Result<(), Errno>),
    /// They are refused.
    WithoutQuorum,
}

/// The switch: a file in the server's directory.
#[derive(Debug, Clone)]
pub struct Switch(PathBuf);

impl Switch {
    /// The switch of the server with this directory, which need not run.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        Self(data.join("trouble.json"))
    }

    /// The node is cut off from now on; its changes hang so long before they fail.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn cut(&self, hang: Duration) -> Result<()> {
        self.set(MountTrouble::Cut { at: begins(hang), hang: milliseconds(hang) })
    }

    /// Another node is cut off or has died: changes hang so long.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn stall(&self, hang: Duration) -> Result<()> {
        self.set(MountTrouble::Stall { at: begins(hang), hang: milliseconds(hang) })
    }

    /// The node is connected again; changes are made after so long.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn heal(&self, healing: Duration) -> Result<()> {
        self.set(MountTrouble::Healing { at: begins(healing), hang: milliseconds(healing) })
    }

    fn set(&self, trouble: MountTrouble) -> Result<()> {
        let fresh = self.0.with_extension("new");
        fs::write(&fresh, serde_json::to_vec(&trouble).context("write a trouble")?)
            .and_then(|()| fs::rename(&fresh, &self.0))
            .with_context(|| format!("write {}", self.0.display()))
    }

    /// What is so now. What cannot be read is no trouble: the server has no better answer.
    pub(super) fn mode(&self) -> Mode {
        let text = match fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Mode::Well,
            Err(_) => return Mode::WithoutQuorum,
        };
        serde_json::from_slice::<MountTrouble>(&text).map_or(Mode::WithoutQuorum, |trouble| trouble.mode(now()))
    }

    /// Waits out what makes changes hang; whether the change is made then.
    pub(super) fn wait(&self) -> std::result::Result<(), Errno> {
        let mut outcome = Ok(());
        loop {
            match self.mode() {
                // Whoever waited for the end of a cut that has come is told so once.
                Mode::WithoutQuorum => return outcome.and(Err(Errno::ACCESS)),
                Mode::Well => return Ok(()),
                Mode::Hanging(left, then) => {
                    outcome = then;
                    thread::sleep(left.min(LOOK));
                }
            }
        }
    }
}

/// Between two looks at a switch that may be turned back.
const LOOK: Duration = Duration::from_millis(20);

impl MountTrouble {
    fn mode(self, now: u64) -> Mode {
        let (Self::Cut { at, hang } | Self::Stall { at, hang } | Self::Healing { at, hang }) = self;
        let left = (at + hang).checked_sub(now).filter(|left| *left > 0).map(Duration::from_millis);
        match (self, left) {
            (Self::Cut { .. }, Some(left)) => Mode::Hanging(left, Err(Errno::PERM)),
            (Self::Stall { .. }, Some(left)) => Mode::Hanging(left, Ok(())),
            (Self::Cut { .. }, None) | (Self::Healing { .. }, Some(_)) => Mode::WithoutQuorum,
            (Self::Stall { .. } | Self::Healing { .. }, None) => Mode::Well,
        }
    }
}

/// Not before now, which is cut off to whole milliseconds, where something lasts from then on.
fn begins(lasts: Duration) -> u64 {
    now() + u64::from(!lasts.is_zero())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, milliseconds)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_hangs_then_refuses_and_heals() {
        let cut = MountTrouble::Cut { at: 1_000, hang: 8_000 };
        assert_eq!(cut.mode(1_000), Mode::Hanging(Duration::from_secs(8), Err(Errno::PERM)));
        assert_eq!(cut.mode(9_000), Mode::WithoutQuorum);
        let stall = MountTrouble::Stall { at: 1_000, hang: 8_000 };
        assert_eq!(stall.mode(8_999), Mode::Hanging(Duration::from_millis(1), Ok(())));
        assert_eq!(stall.mode(9_000), Mode::Well);
        let healing = MountTrouble::Healing { at: 1_000, hang: 900 };
        assert_eq!((healing.mode(1_899), healing.mode(1_900)), (Mode::WithoutQuorum, Mode::Well));
    }

    #[test]
    fn who_hangs_when_a_cut_ends_is_refused_otherwise_than_who_comes_later() {
        let directory = tempfile::tempdir().expect("a directory");
        let switch = Switch::of(directory.path());
        assert_eq!(switch.mode(), Mode::Well);
        switch.cut(Duration::from_millis(50)).expect("cut");
        assert_eq!(switch.wait(), Err(Errno::PERM));
        assert_eq!(switch.wait(), Err(Errno::ACCESS));
        switch.heal(Duration::ZERO).expect("healed");
        assert_eq!(switch.wait(), Ok(()));
        switch.stall(Duration::from_millis(50)).expect("stalled");
        assert_eq!(switch.wait(), Ok(()));
    }
}
