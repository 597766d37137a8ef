//! What is known, as the command line shows it.
//!
//! Invariant: what is answered from a plan is answered from the one that the loop acts on, so that what a person is
//! shown is what is done.

mod ensure;
mod placement;
mod plan;
mod show;
mod status;

use pinion_proto::id::{Guest, PlacementId};

pub(super) use plan::plan;
pub(super) use show::show;
pub(super) use status::status;

use super::{Parts, troubles};
use crate::{
    admin::protocol::{Answer, Selection},
    world::World,
};

/// What answers are made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) world: &'a World,
    pub(super) parts: &'a Parts,
}

impl View<'_> {
    fn name(&self, guest: Guest) -> Option<String> {
        match guest {
            Guest::Host => None,
            Guest::Vmid(vmid) => self.world.inventory().name(vmid).map(ToOwned::to_owned),
        }
    }

    /// The placement, if its guest was destroyed and nobody has taken note.
    fn destroyed<'i>(&self, id: Option<&'i PlacementId>) -> Option<&'i PlacementId> {
        id.filter(|id| self.parts.departures.has(id.guest))
    }
}

/// Which of the manifest's placements a selection means.
#[derive(Debug)]
pub(super) struct Chosen {
    names: Vec<String>,
    guest: Option<Guest>,
}

impl Chosen {
    /// Resolves the guest of a selection.
    pub(super) fn new(world: &World, selection: &Selection) -> Result<Self, Answer> {
        let guest = match &selection.guest {
            None => None,
            Some(text) => Some(world.inventory().guest_of(text)?),
        };
        Ok(Self { names: selection.names.clone(), guest })
    }

    /// The guest, if only what is in one is meant.
    pub(super) fn guest(&self) -> Option<Guest> {
        self.guest
    }

    /// Whether this guest's placements are meant, and no other's.
    fn is_guest(&self, guest: Guest) -> bool {
        self.guest == Some(guest)
    }

    /// Whether a placement is meant.
    pub(super) fn means(&self, label: &str, certificate: &str, guest: Option<Guest>) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|name| name == label || name == certificate);
        named && (self.guest.is_none() || self.guest == guest)
    }

    /// The first name that means none of `placements`.
    pub(super) fn unknown<'a>(&self, placements: impl Iterator<Item = (String, &'a str)> + Clone) -> Option<&str> {
        self.names
            .iter()
            .map(String::as_str)
            .find(|name| !placements.clone().any(|(label, certificate)| label == *name || certificate == *name))
    }
}

#[cfg(test)]
mod tests;
