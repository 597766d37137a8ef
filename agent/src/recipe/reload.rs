//! The ways to notify a service that its files are new.
//!
//! Invariant: a way is a word and checked names, never a command line; which names it may have is the guest's to allow.

use std::fmt;

use pinion_proto::{
    containers::{ContainerName, ContainerSignal, SwarmSecrets},
    spec::{GuestPath, PlainName, Reload, Unit},
};
use serde::Deserialize;

/// One way to notify a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadAction {
    /// A unit is to read its files anew.
    Reload(Unit),
    /// A unit is to start anew.
    Restart(Unit),
    /// A hook knows how.
    Hook(PlainName),
    /// A container is to start anew.
    RestartContainer(ContainerName),
    /// A container is to read its files anew.
    Signal(ContainerSignal),
    /// Whoever watches a file is to see that it changed.
    Touch(GuestPath),
    /// A Swarm service is to have new versions of its secrets.
    Swarm(SwarmSecrets),
}

impl ReloadAction {
    /// As the manifest or a recipe writes it; none when no service is to be notified.
    pub(super) fn of(reload: &Reload) -> Option<Self> {
        match reload {
            Reload::Nothing => None,
            Reload::Reload(unit) => Some(Self::Reload(unit.clone())),
            Reload::Restart(unit) => Some(Self::Restart(unit.clone())),
            Reload::Hook(hook) => Some(Self::Hook(hook.clone())),
            Reload::Container(container) => Some(Self::RestartContainer(container.clone())),
            Reload::Signal(signal) => Some(Self::Signal(signal.clone())),
            Reload::Touch(path) => Some(Self::Touch(path.clone())),
            Reload::Swarm(swarm) => Some(Self::Swarm(swarm.clone())),
        }
    }

    /// Who is notified: placements of one service take turns at it.
    #[must_use]
    pub fn service(&self) -> &str {
        match self {
            Self::Reload(unit) | Self::Restart(unit) => unit.as_str(),
            Self::Hook(hook) => hook.as_str(),
            Self::RestartContainer(container) => container.as_str(),
            Self::Signal(signal) => signal.container.as_str(),
            Self::Touch(path) => path.as_str(),
            Self::Swarm(swarm) => swarm.service.as_str(),
        }
    }

    /// Whether the service may be disturbed by it. Pinion cannot tell whether a hook is disruptive, so a hook may.
    #[must_use]
    pub fn may_disturb(&self) -> bool {
        self.is_disruptive() || matches!(self, Self::Hook(_))
    }

    /// Whether the service is away for a moment.
    #[must_use]
    pub fn is_disruptive(&self) -> bool {
        match self {
            Self::Restart(_) | Self::RestartContainer(_) | Self::Swarm(_) => true,
            Self::Reload(_) | Self::Hook(_) | Self::Signal(_) | Self::Touch(_) => false,
        }
    }
}

impl fmt::Display for ReloadAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reload(unit) => write!(f, "reload {unit}"),
            Self::Restart(unit) => write!(f, "restart {unit}"),
            Self::Hook(hook) => write!(f, "run the hook {hook}"),
            Self::RestartContainer(container) => write!(f, "restart the container {container}"),
            Self::Signal(signal) => write!(f, "send {} to the container {}", signal.signal, signal.container),
            Self::Touch(path) => write!(f, "touch {path}"),
            Self::Swarm(swarm) => write!(f, "give the Swarm service {} its new secrets", swarm.service),
        }
    }
}

/// The ways to notify one service, the mildest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    first: ReloadAction,
    stronger: Vec<ReloadAction>,
}

impl Levels {
    /// These ways, in this order.
    #[must_use]
    pub fn new(first: ReloadAction, stronger: Vec<ReloadAction>) -> Self {
        Self { first, stronger }
    }

    /// The mildest way.
    #[must_use]
    pub fn mildest(&self) -> &ReloadAction {
        &self.first
    }

    /// The strongest way.
    #[must_use]
    pub fn strongest(&self) -> &ReloadAction {
        self.stronger.last().unwrap_or(&self.first)
    }

    /// The way of a level, from 0; the last one stays.
    #[must_use]
    pub fn at(&self, level: usize) -> &ReloadAction {
        let above = level.checked_sub(1).map(|above| self.stronger.get(above).unwrap_or(self.strongest()));
        above.unwrap_or(&self.first)
    }

    /// Every way.
    pub fn iter(&self) -> impl Iterator<Item = &ReloadAction> {
        [&self.first].into_iter().chain(&self.stronger)
    }
}

/// A stronger way, when the one before does not help.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "write \"restart\", or a value as for `reload`, for example { restart = \"x.service\" }")]
pub(super) enum EscalationLevel {
    /// The same unit or container.
    Word(Stronger),
    /// Another way altogether.
    Other(Reload),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stronger {
    Restart,
}

impl EscalationLevel {
    /// The action of this level above the first one; none when that is as strong already.
    pub(super) fn above(&self, first: &ReloadAction) -> Option<ReloadAction> {
        match (self, first) {
            (Self::Other(reload), _) => ReloadAction::of(reload),
            (Self::Word(Stronger::Restart), ReloadAction::Reload(unit)) => Some(ReloadAction::Restart(unit.clone())),
            (Self::Word(Stronger::Restart), ReloadAction::Signal(signal)) => {
                Some(ReloadAction::RestartContainer(signal.container.clone()))
            }
            (Self::Word(Stronger::Restart), _) => None,
        }
    }
}
