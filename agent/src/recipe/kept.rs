//! What a placement keeps from before the guest's default allow-list became narrower.

use std::net::SocketAddr;

use pinion_proto::{
    containers::{ContainerName, ServiceName},
    spec::{GuestPath, Unit},
};
use serde::{Deserialize, Serialize};

/// What a placement had before the guest's default allow-list became narrower, and keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Its files.
    pub files: Vec<GuestPath>,
    /// The units that it notified.
    pub units: Vec<Unit>,
    /// The containers that it notified.
    pub containers: Vec<ContainerName>,
    /// The Swarm services that it notified.
    pub swarm_services: Vec<ServiceName>,
    /// What it touched.
    pub touch: Vec<GuestPath>,
    /// Where it was looked at.
    pub probe: Option<SocketAddr>,
    /// A private key of its belongs to `nobody`.
    pub nobody: bool,
    /// Everybody may write a file of its without a private key.
    pub writable: bool,
}

impl Kept {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
