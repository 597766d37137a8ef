//! Which of the manifest's placements a command means.

use pinion_proto::{
    field_names::did_you_mean,
    id::{Guest, shown},
};

use crate::{
    admin::protocol::{Answer, Selection},
    world::World,
};

/// Which of the manifest's placements a selection means.
#[derive(Debug)]
pub(super) struct Chosen {
    names: Vec<String>,
    /// Only what is in these; in any where there are none.
    guests: Vec<Guest>,
}

impl Chosen {
    /// Resolves the guests of a selection.
    pub(super) fn new(world: &World, selection: &Selection) -> Result<Self, Answer> {
        let texts = selection.guest.iter().chain(&selection.more_guests);
        let guests = texts.map(|text| world.inventory().guest_of(text)).collect::<Result<_, _>>()?;
        Ok(Self { names: selection.names.clone(), guests })
    }

    /// The same, of guests of which something is known.
    pub(super) fn of_known_guests(world: &World, selection: &Selection) -> Result<Self, Answer> {
        let chosen = Self::new(world, selection)?;
        match chosen.guests.iter().find(|guest| !is_known(world, **guest)) {
            Some(unknown) => Err(Answer::NoSuchName(format!(
                "there is no guest {unknown}: Proxmox does not list it, the manifest does not name it, and it was never \
                 linked; `pinion status` lists the guests"
            ))),
            None => Ok(chosen),
        }
    }

    /// Whether it names anything.
    pub(super) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// The guest, if only what is in one is meant.
    pub(super) fn guest(&self) -> Option<Guest> {
        self.guests.first().copied()
    }

    /// Whether this guest's placements are meant, and no other's.
    pub(super) fn is_guest(&self, guest: Guest) -> bool {
        self.guests == [guest]
    }

    /// Whether a placement is meant.
    pub(super) fn means(&self, label: &str, certificate: &str, guest: Option<Guest>) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|name| name == label || name == certificate);
        named && (self.guests.is_empty() || guest.is_some_and(|guest| self.guests.contains(&guest)))
    }

    /// The first name that means none of `placements`.
    pub(super) fn unknown<'a>(&self, placements: impl Iterator<Item = (String, &'a str)> + Clone) -> Option<&str> {
        self.names
            .iter()
            .map(String::as_str)
            .find(|name| !placements.clone().any(|(label, certificate)| label == *name || certificate == *name))
    }
}

/// Nothing of the manifest has this name.
pub(super) fn no_such_name(world: &World, name: &str) -> Answer {
    let guest = name.rsplit_once('@').map(|(_, guest)| guest);
    let why = guest.and_then(|guest| world.inventory().guest_of(guest).err());
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let certificates = || world.manifest().certificates.iter().map(|certificate| certificate.name.as_str());
    let certificate = name.split_once('@').map_or(name, |(certificate, _)| certificate);
    let is_there = certificates().any(|known| known == certificate);
    let meant = if is_there { String::new() } else { did_you_mean(certificate, certificates()) };
    Answer::NoSuchName(format!("no certificate or placement of the manifest is called {}{why}{meant}", shown(name)))
}

/// Whether anybody has ever told of this guest.
fn is_known(world: &World, guest: Guest) -> bool {
    let Guest::Vmid(vmid) = guest else { return true };
    let placements = || world.manifest().certificates.iter().flat_map(|certificate| &certificate.placements);
    world.inventory().guest(vmid).is_some()
        || world.reports().guest(guest).is_some()
        || placements().any(|placement| world.inventory().resolve(&placement.guest) == Ok(guest))
}
