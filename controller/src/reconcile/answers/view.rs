//! What answers are made from.

use pinion_proto::{
    clock::Timestamp,
    id::{Guest, PlacementId},
};

use crate::{reconcile::parts::Parts, world::World};

/// What answers are made from.
#[derive(Debug, Clone, Copy)]
pub(in crate::reconcile) struct View<'a> {
    pub(in crate::reconcile) world: &'a World,
    pub(in crate::reconcile) parts: &'a Parts,
    /// This moment.
    pub(in crate::reconcile) now: Timestamp,
}

impl View<'_> {
    pub(super) fn name(&self, guest: Guest) -> Option<String> {
        match guest {
            Guest::Host => None,
            Guest::Vmid(vmid) => self.world.inventory().name(vmid).map(ToOwned::to_owned),
        }
    }

    /// The placement, if its guest was destroyed and nobody has taken note.
    pub(in crate::reconcile) fn destroyed<'i>(&self, id: Option<&'i PlacementId>) -> Option<&'i PlacementId> {
        id.filter(|id| self.parts.departures.has(id.guest))
    }
}
