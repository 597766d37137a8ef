//! Proxmox's own files: the only place that knows how they look.
//!
//! Answers: which guests does Proxmox say there are, and which of this node's run?
//! Invariant: everything here is untrusted bytes with limits; what cannot be understood leaves what was understood
//! last, and is reported. Only the root process looks (`channel`): nothing of it is open to the user that `pinion serve`
//! runs as.

mod conf;
mod health;
mod observer;
mod read;
mod running;
mod vmlist;

use serde::{Deserialize, Serialize};

pub use health::{ClusterHealth, cluster_health};
pub use observer::Observer;
pub use running::{Running, RunningGuests};
pub use vmlist::{Entry, MAX_GUESTS, VmList, VmListError};

/// Why the guests are not known as they are now, and what a person can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryProblem {
    /// What was looked at and how that ended.
    pub cause: String,
    /// What a person can do about it.
    pub remedy: String,
}
