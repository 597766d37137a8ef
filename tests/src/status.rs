//! What `pinion status --json` says, as far as tests look at it.

use pinion_proto::{
    bundle::Fingerprint,
    clock::Timestamp,
    id::Guest,
    stage::{Stage, Trouble},
};
use serde::Deserialize;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct StatusJson {
    /// The controller's version.
    #[serde(default)]
    pub version: String,
    /// Every placement of the manifest.
    pub placements: Vec<PlacementJson>,
    /// Every guest that the controller knows.
    #[serde(default)]
    pub guests: Vec<GuestJson>,
    /// What the operator should know that belongs to no placement.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What is wrong with the host as a whole.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
}

impl StatusJson {
    /// The placement called `name`, such as `docker@1001`.
    #[must_use]
    pub fn placement(&self, name: &str) -> Option<&PlacementJson> {
        self.placements.iter().find(|placement| placement.placement == name)
    }

    /// The guest called `guest`, such as `1001`.
    #[must_use]
    pub fn guest(&self, guest: &str) -> Option<&GuestJson> {
        self.guests.iter().find(|known| known.guest.to_string() == guest)
    }

    /// Whether the guest `guest`, such as `1001`, has a link.
    #[must_use]
    pub fn is_linked(&self, guest: &str) -> bool {
        self.guest(guest).is_some_and(|known| known.linked)
    }
}

/// One placement.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PlacementJson {
    /// Its name.
    pub placement: String,
    /// How far it is.
    pub stage: Stage,
    /// How far it can come.
    #[serde(default)]
    pub goal: Option<Stage>,
    /// Whether it is no longer in the manifest.
    #[serde(default)]
    pub retired: bool,
    /// Files of earlier manifests that stay until they are purged.
    #[serde(default)]
    pub left_behind: Vec<String>,
    /// The leaf's serial number, upper-case hexadecimal; none while nothing is installed.
    #[serde(default)]
    pub serial: Option<String>,
    /// The leaf's last second.
    #[serde(default)]
    pub not_after: Option<Timestamp>,
    /// The roots in its files of roots.
    #[serde(default)]
    pub roots: Vec<Fingerprint>,
    /// When it is renewed.
    #[serde(default)]
    pub renew_at: Option<Timestamp>,
    /// The generation that is installed.
    #[serde(default)]
    pub generation: Option<u64>,
    /// Its names.
    #[serde(default, deserialize_with = "null_is_none")]
    pub names: Vec<String>,
    /// Who signs.
    #[serde(default)]
    pub issuer: Option<String>,
    /// What holds it up.
    #[serde(default)]
    pub trouble: Option<Trouble>,
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct GuestJson {
    /// Which one.
    pub guest: Guest,
    /// Whether its agent has a link now.
    pub linked: bool,
    /// Since when it is as it is.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The agent's version, as it last said.
    #[serde(default)]
    pub agent_version: Option<String>,
    /// Its name, where it has one.
    #[serde(default)]
    pub name: Option<String>,
    /// `lxc` or `qemu`, where Proxmox tells.
    #[serde(default)]
    pub kind: Option<String>,
    /// The node that it is on, when that is another one.
    #[serde(default)]
    pub node: Option<String>,
    /// Whether it runs, where somebody has said.
    #[serde(default)]
    pub running: Option<bool>,
    /// What Proxmox is doing with it.
    #[serde(default)]
    pub lock: Option<String>,
    /// Whether guests are made from it.
    #[serde(default)]
    pub template: bool,
    /// Whether the cluster has no such guest.
    #[serde(default)]
    pub missing: bool,
}

/// A retired placement of which nothing is installed has `null` for its names.
fn null_is_none<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
