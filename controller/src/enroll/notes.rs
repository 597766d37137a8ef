//! What enrolling needs, sees and says.

use std::sync::Arc;

use pinion_proto::{id::Vmid, stage::Trouble};

use super::{steps::EnrolStep, version::is_older};
use crate::{
    channel::{client::Client, protocol::Failure},
    config::{Proxmox, advertise::Reachable},
    events::GuestEvent,
    identity::Identities,
    world::Link,
};

/// What enrolling needs.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The root process.
    pub channel: Client,
    /// Who gives identities.
    pub identities: Arc<Identities>,
    /// Where agents dial.
    pub advertise: tokio::sync::watch::Receiver<Reachable>,
    /// Which guests, and which of them by themselves.
    pub proxmox: Proxmox,
}

/// How far a guest's task has come.
#[derive(Debug)]
pub(crate) enum Happened {
    /// It has done this.
    Step(Vmid, EnrolStep),
    /// It is over.
    Ended(Vmid, Result<(), Failure>),
}

/// What the loop is to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// Something happened, which becomes an event.
    Happened { guest: Vmid, what: GuestEvent },
    /// A guest is being enrolled: what its placements wait for.
    UnderWay { guest: Vmid, trouble: Trouble },
    /// What keeps a guest from being enrolled; none when nothing does.
    Trouble { guest: Vmid, trouble: Option<Trouble> },
}

/// A guest as enrolling sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'s> {
    pub(crate) link: Link,
    /// The version of the agent, while it is linked.
    pub(crate) version: Option<&'s str>,
    /// Whether everything that it says it holds has come to its goal.
    pub(crate) served: bool,
}

impl Seen<'_> {
    pub(super) fn is_older(&self) -> bool {
        self.version.is_some_and(|version| is_older(version, env!("CARGO_PKG_VERSION")))
    }
}
