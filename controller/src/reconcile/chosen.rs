//! Which of the manifest's placements a command means.

use pinion_proto::id::Guest;

use crate::{
    admin::protocol::{Answer, Selection},
    world::World,
};

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

    /// Whether it names anything.
    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// The guest, if only what is in one is meant.
    pub(super) fn guest(&self) -> Option<Guest> {
        self.guest
    }

    /// Whether this guest's placements are meant, and no other's.
    pub(super) fn is_guest(&self, guest: Guest) -> bool {
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
