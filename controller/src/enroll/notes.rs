//! What enrolling needs, sees and says.

use std::{fmt, sync::Arc};

use pinion_proto::{id::Vmid, stage::Trouble};

use super::version::is_older;
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

/// How far a try has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnrolStep {
    /// The guest answers.
    Reached(String),
    /// The agent is being brought in.
    Installing,
    /// It is there and runs.
    Installed(Option<&'static str>),
    /// It is being given a token.
    Joining,
    /// It has its identity.
    Joined,
    /// Everything was there already: its agent only has to dial.
    Dialling,
    /// The agent of before is back.
    Restored,
}

impl EnrolStep {
    /// Whether it is worth an event: what changed something in the guest.
    pub(super) fn is_told(&self) -> bool {
        matches!(self, Self::Installed(_) | Self::Restored)
    }
}

impl fmt::Display for EnrolStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reached(what) => write!(f, "it answers: {what}"),
            Self::Installing => write!(f, "installing the agent"),
            Self::Installed(None) => write!(f, "agent {} is installed and runs", env!("CARGO_PKG_VERSION")),
            Self::Installed(Some(note)) => write!(f, "agent {} is installed; {note}", env!("CARGO_PKG_VERSION")),
            Self::Joining => write!(f, "joining"),
            Self::Joined => write!(f, "it has joined; waiting for its link"),
            Self::Dialling => write!(f, "its agent runs and has an identity; waiting for its link"),
            Self::Restored => write!(f, "the previous agent is back"),
        }
    }
}

/// How far a guest's task has come.
#[derive(Debug)]
pub(crate) enum Happened {
    /// It has done this.
    Step(Vmid, EnrolStep),
    /// It is over: what is in the guest now shows this identity.
    Ended(Vmid, Result<Identity, Failure>),
}

/// The identity that a guest shows after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The one that it had.
    AsBefore,
    /// It has joined.
    New,
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

    pub(super) fn is_newer(&self) -> bool {
        self.version.is_some_and(|version| is_older(env!("CARGO_PKG_VERSION"), version))
    }
}
