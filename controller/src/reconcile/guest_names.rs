//! Which guest each name in the manifest means, as the loop sees it: kept over restarts, changed by what Proxmox lists
//! and by a person.
//!
//! Invariant: what is known is written before a restart could forget it, or tried again with every pass until it is.

use pinion_proto::{causes::chain, id::Guest};
use tracing::warn;

use super::effects::Effects;
use crate::{
    admin::{caller::Caller, protocol::Answer},
    events::{GuestEvent, NameEvent, What},
    inventory::{KnownNames, NameChange},
    manifest::{GuestName, GuestRef},
    store::{Area, Store},
    world::{Change, KNOWN_NAMES, World},
};

/// What of the names is not written yet.
#[derive(Debug, Default)]
pub(super) struct GuestNames {
    unwritten: bool,
}

impl GuestNames {
    /// Takes in what the names in the manifest mean now.
    pub(super) fn step(&mut self, world: &World, store: &Store, effects: &mut Effects) {
        let (inventory, known) = (world.inventory(), world.inventory().known_names());
        let placements = world.manifest().certificates.iter().flat_map(|certificate| &certificate.placements);
        let used = placements.filter_map(|placement| match &placement.guest {
            GuestRef::Name(name) => Some(name),
            GuestRef::Host | GuestRef::Vmid(_) => None,
        });
        let (next, changes) = inventory.names_from_now(used, effects.now());
        for change in changes {
            effects.event(event(change));
        }
        if next != **known {
            self.set(next, store, effects);
        } else if self.unwritten {
            self.write(known, store);
        }
    }

    /// A person says that the manifest means the guest that has this name now.
    pub(super) fn accept(
        &mut self,
        name: &GuestName,
        world: &World,
        store: &Store,
        by: &Caller,
        effects: &mut Effects,
    ) -> Answer {
        let meant = GuestRef::Name(name.clone());
        let mut placements = world.manifest().certificates.iter().flat_map(|certificate| &certificate.placements);
        if !placements.any(|placement| placement.guest == meant) {
            return Answer::NoSuchName(format!("the manifest names no guest {name}"));
        }
        let inventory = world.inventory();
        match inventory.holders(name) {
            [one] => {
                let accepted = GuestEvent::Name(NameEvent::Accepted(name.to_string()));
                effects.asked(What::Guest(Guest::Vmid(*one), accepted), by);
                self.set(inventory.known_names().with(name.clone(), *one), store, effects);
                Answer::End
            }
            [] => Answer::NoSuchName(format!("no guest is named {name} now")),
            several => Answer::Refused(format!(
                "{} guests are named {name}: write the VMID into the manifest instead of the name",
                several.len()
            )),
        }
    }

    fn set(&mut self, next: KnownNames, store: &Store, effects: &mut Effects) {
        self.write(&next, store);
        effects.change(Change::KnownNames(next));
    }

    fn write(&mut self, names: &KnownNames, store: &Store) {
        let written = store.write(Area::Local, KNOWN_NAMES, names);
        if let (Err(error), false) = (&written, self.unwritten) {
            warn!(error = chain(error), "Cannot write which guests the manifest's names mean");
        }
        self.unwritten = written.is_err();
    }
}

fn event(change: NameChange) -> What {
    let (guest, event) = match change {
        NameChange::Renamed { guest, trouble } => (guest, NameEvent::Lost(trouble)),
        NameChange::Back { guest, name } => (guest, NameEvent::Again(name.to_string())),
        NameChange::Moved { name, from, to } => (to, NameEvent::TakenOver { name: name.to_string(), from }),
    };
    What::Guest(Guest::Vmid(guest), GuestEvent::Name(event))
}

#[cfg(test)]
mod tests;
