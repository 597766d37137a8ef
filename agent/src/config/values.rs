//! What is configured, whether agent.toml says it or it is shipped.
//!
//! Invariant: every path of a [`Config`] is absolute and under its root.

use std::{path::PathBuf, time::Duration};

use pinion_proto::spec::GuestPath;

use super::allow::Allow;

/// Where the daemon's socket is, below the root.
pub const SOCKET: &str = "run/pinion-agent/agent.sock";

/// What the guest allows the agent, and how the agent works there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the agent takes for `/`, canonical.
    pub root: PathBuf,
    /// The directory of what the agent remembers.
    pub state: PathBuf,
    /// The socket of `await` and `status`.
    pub socket: PathBuf,
    /// The directory of the operator's hooks.
    pub hooks: PathBuf,
    /// The directory of the operator's recipes, `NAME.toml`.
    pub recipes: PathBuf,
    /// The socket of dockerd.
    pub docker: PathBuf,
    /// What a controller may name.
    pub allow: Allow,
    /// How failures are retried.
    pub retry: Retry,
    /// What `pinion doctor` may have looked at here.
    pub doctor: Doctor,
    /// How often installed files and the served certificate are looked at again.
    pub check_every: Duration,
    /// How long a hook, validation or service manager call may take.
    pub hook_timeout: Duration,
    /// How often a unit or container may be restarted in an hour, whatever the controller requests.
    pub restarts_per_hour: usize,
    /// How long a certificate that was ordered is waited for, so that several for one service are one reload.
    pub gather: Duration,
}

/// Delays between tries: doubled from `initial` up to `max`, or up to `blocked` where a person is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Before the second try.
    pub initial: Duration,
    /// The longest while waiting.
    pub max: Duration,
    /// The longest while blocked.
    pub blocked: Duration,
}

/// What `pinion doctor` may have looked at here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doctor {
    /// Whether the controller's addresses can be reached.
    pub controllers: bool,
    /// How much room there is.
    pub disk: bool,
    /// Owners and modes of the agent's own files.
    pub files: bool,
}

impl Default for Retry {
    fn default() -> Self {
        // Quick enough that a service which starts late is seen at once, slow enough to be unseen in a load graph.
        Self { initial: Duration::from_secs(1), max: Duration::from_secs(300), blocked: Duration::from_secs(3600) }
    }
}

impl Config {
    /// Where a path of the guest's is for this process.
    #[must_use]
    pub fn under_root(&self, path: &GuestPath) -> PathBuf {
        self.root.join(path.as_str().trim_start_matches('/'))
    }
}
